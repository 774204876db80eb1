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
	// epochKey is where the stream's metadata has the epoch.
	epochKey = "simplechat-epoch"
	// settleTime is how long a stream may have less than was seen of it before it
	// counts as gone back: a new leader takes a moment to know what it stored.
	settleTime = 5 * time.Second
	// settlePause is the time between two looks at it.
	settlePause = 250 * time.Millisecond
)

// errNotFoundYet means that a NATS server has not heard of the stream yet.
var errNotFoundYet = errors.New("a nats server does not know the stream yet")

// epochOf returns the epoch of a stream's incarnation: that of its metadata, or,
// where somebody else made the stream, the moment when that was.
func epochOf(info *jetstream.StreamInfo) string {
	if epoch := info.Config.Metadata[epochKey]; epoch != "" {
		return epoch
	}
	return "created-" + info.Created.UTC().Format("20060102T150405.000000000")
}

// checkEpoch fails with [errReplaced] if the stream is not the one with epoch that
// has had a record at offset last.
func (l *Log) checkEpoch(ctx context.Context, epoch string, last uint64) (*jetstream.StreamInfo, error) {
	for deadline := time.Now().Add(settleTime); ; {
		info, err := l.leaderInfo(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case epochOf(info) != epoch:
			l.noteReplaced(info)
			return nil, errReplaced
		case info.State.LastSeq >= last:
			return info, nil
		case time.Now().After(deadline):
			return nil, l.wentBack(ctx, epoch, fmt.Errorf("offset %d was there, the last one is %d", last, info.State.LastSeq))
		}
		if err := l.pause(ctx, settlePause); err != nil {
			return nil, err
		}
	}
}

// wentBack gives the stream another epoch, as offsets that were seen will mean
// something else. It returns [errReplaced] when that is done.
func (l *Log) wentBack(ctx context.Context, epoch string, why error) error {
	info, err := l.leader(ctx)
	if err != nil {
		return err
	}
	if epochOf(info) != epoch {
		return errReplaced
	}
	l.logger.Error("the stream went back and records are lost: a new epoch begins",
		"stream", l.stream, "error", why, "first", info.State.FirstSeq, "last", info.State.LastSeq)
	return l.beginEpoch(ctx, info)
}

// beginEpoch gives the stream another epoch. It returns [errReplaced] when that is
// done.
func (l *Log) beginEpoch(ctx context.Context, info *jetstream.StreamInfo) error {
	identities := l.servers.identities()
	err := l.setMetadata(ctx, info, map[string]string{
		epochKey:   nextEpoch(epochOf(info), identities.String()),
		serversKey: identities.String(),
	})
	if err != nil {
		return fmt.Errorf("give the stream another epoch: %w", err)
	}
	return errReplaced
}

// nextEpoch returns the epoch that follows another one. All of our servers that
// notice at the same time that one is needed agree on it. NATS servers have another
// identity after each start, so that they do not give the same epoch once more if they
// have lost it.
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

// recreate makes the stream with epoch again after somebody has removed it, unless
// another server has done so. It returns [errReplaced] when there is another one.
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
	if err := l.checkServers(ctx, info); err != nil && !errors.Is(err, errReplaced) {
		return err
	}
	l.noteReplaced(info)
	return errReplaced
}

// noteReplaced ends those that follow another epoch than that of the stream.
func (l *Log) noteReplaced(info *jetstream.StreamInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compareEpoch(info)
}

// compareEpoch is noteReplaced; the caller holds mu.
func (l *Log) compareEpoch(info *jetstream.StreamInfo) {
	if epochOf(info) != l.epoch {
		l.endFollows(info)
	}
}

// endFollows ends those that follow the epoch that State returned last, because the
// stream has another one. The caller holds mu.
func (l *Log) endFollows(info *jetstream.StreamInfo) {
	if l.isReplaced() {
		return
	}
	close(l.replaced)
	message := "the stream has another epoch: its messages are a new conversation"
	if !info.Created.Equal(l.created) {
		message = "the stream was removed, and all messages with it, and made again: a new conversation begins"
	}
	l.logger.Error(message, "stream", l.stream, "was", l.epoch, "is", epochOf(info))
}

// isReplaced reports whether the stream was seen with another epoch than State
// returned last. The caller holds mu.
func (l *Log) isReplaced() bool {
	select {
	case <-l.replaced:
		return true
	default:
		return false
	}
}
