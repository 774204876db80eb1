package jetlog

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// epochKey is the key of the epoch in the stream's metadata.
	epochKey = "simplechat-epoch"
	// settleTime is how long a stream may lack records that were seen before the log
	// concludes that it went back: a new leader needs a moment to know what it has.
	settleTime = 5 * time.Second
	// settlePause is the time between two checks in that time.
	settlePause = 250 * time.Millisecond
)

// errNotFoundYet means that a NATS server has not heard of the stream yet.
var errNotFoundYet = errors.New("a nats server does not know the stream yet")

// epochOf returns the epoch of a stream: the one in its metadata or, if another program
// created the stream, one that is made of the time of its creation.
func epochOf(info *jetstream.StreamInfo) string {
	if epoch := info.Config.Metadata[epochKey]; epoch != "" {
		return epoch
	}
	return "created-" + info.Created.UTC().Format("20060102T150405.000000000")
}

// checkEpoch returns the stream if it is in the given epoch and has a record at offset
// last. It fails with [errNewEpoch] otherwise.
func (l *Log) checkEpoch(ctx context.Context, epoch string, last uint64) (*jetstream.StreamInfo, error) {
	for deadline := time.Now().Add(settleTime); ; {
		info, err := l.leaderInfo(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case epochOf(info) != epoch:
			l.noteEpoch(info)
			return nil, errNewEpoch
		case info.State.LastSeq >= last:
			return info, nil
		case time.Now().After(deadline):
			return nil, l.beginEpochAfterLoss(ctx, epoch, fmt.Errorf("offset %d existed, but the last one is %d now", last, info.State.LastSeq))
		}
		if err := l.pause(ctx, settlePause); err != nil {
			return nil, err
		}
	}
}

// beginEpochAfterLoss gives the stream another epoch, because records that were seen are
// lost and their offsets will be used again. It returns [errNewEpoch] when that is done.
func (l *Log) beginEpochAfterLoss(ctx context.Context, epoch string, why error) error {
	info, err := l.leader(ctx)
	if err != nil {
		return err
	}
	if epochOf(info) != epoch {
		return errNewEpoch
	}
	l.logger.Error("the stream went back and records are lost: a new epoch begins",
		"stream", l.stream, "error", why, "first", info.State.FirstSeq, "last", info.State.LastSeq)
	return l.beginEpoch(ctx, info)
}

// beginEpoch gives the stream another epoch. It returns [errNewEpoch] when that is done.
func (l *Log) beginEpoch(ctx context.Context, info *jetstream.StreamInfo) error {
	identities := l.servers.identities()
	err := l.setMetadata(ctx, info, map[string]string{
		epochKey:   nextEpoch(epochOf(info), identities.String()),
		serversKey: identities.String(),
	})
	if err != nil {
		return fmt.Errorf("give the stream another epoch: %w", err)
	}
	return errNewEpoch
}

// nextEpoch returns the epoch that follows another one. All processes that notice at the
// same time that a new epoch is needed compute the same one. It depends on the identities
// of the NATS servers, which change at each start: so the same epoch is not used again if
// they have lost it.
func nextEpoch(epoch, identities string) string {
	sum := sha256.Sum256([]byte(epoch + " " + identities))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:26]
}

// setMetadata changes the stream's metadata.
func (l *Log) setMetadata(ctx context.Context, info *jetstream.StreamInfo, changes map[string]string) error {
	config := info.Config
	config.Metadata = maps.Clone(config.Metadata)
	if config.Metadata == nil {
		config.Metadata = make(map[string]string)
	}
	maps.Copy(config.Metadata, changes)
	ctx, cancel := context.WithTimeout(ctx, 2*requestTime)
	defer cancel()
	_, err := l.js.UpdateStream(ctx, config)
	return err
}

// recreate creates the stream again after it was removed, unless another process has done
// so. It returns [errNewEpoch] when the stream has another epoch than the given one.
func (l *Log) recreate(ctx context.Context, epoch string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTime)
	defer cancel()
	info, err := l.createStream(ctx)
	if err != nil {
		return err
	}
	if epochOf(info) == epoch {
		return errNotFoundYet
	}
	if err := l.checkServers(ctx, info); err != nil && !errors.Is(err, errNewEpoch) {
		return err
	}
	l.noteEpoch(info)
	return errNewEpoch
}

// noteEpoch ends the Follows if the stream has another epoch than State returned last.
func (l *Log) noteEpoch(info *jetstream.StreamInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteEpochLocked(info)
}

// noteEpochLocked is noteEpoch for a caller that holds mu.
func (l *Log) noteEpochLocked(info *jetstream.StreamInfo) {
	if epochOf(info) != l.epoch {
		l.endFollows(info)
	}
}

// endFollows ends the Follows of the epoch that State returned last, because the
// stream has another one. The caller holds mu.
func (l *Log) endFollows(info *jetstream.StreamInfo) {
	if l.isEpochOver() {
		return
	}
	close(l.epochOver)
	message := "the stream has another epoch: its messages are a new conversation"
	if !info.Created.Equal(l.created) {
		message = "the stream was removed with all its messages and created again: a new conversation begins"
	}
	l.logger.Error(message, "stream", l.stream, "was", l.epoch, "is", epochOf(info))
}

// isEpochOver reports whether the stream was seen with another epoch than State
// returned last. The caller holds mu.
func (l *Log) isEpochOver() bool {
	select {
	case <-l.epochOver:
		return true
	default:
		return false
	}
}
