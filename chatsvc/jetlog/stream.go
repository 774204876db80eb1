package jetlog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

const (
	// epochKey is where the stream's metadata has the epoch.
	epochKey = "simplechat-epoch"
	// spareMessages and spareBytes are what the stream keeps beyond the
	// retention, so that a burst does not outrun those who follow.
	spareMessages = 4096
	spareBytes    = 16 << 20
	// recordOverhead is what JetStream counts for a record at most, beyond the
	// record: its place in the file, the subject and the headers.
	recordOverhead = 256
	// smallestRecord is the size of the smallest record that a service stores.
	smallestRecord = 12
)

const (
	// messageIDSize is the length of a message id in bytes.
	messageIDSize = 22
	// messageHashSize is that of the hash that it is made of.
	messageHashSize = 16
)

// messageID returns what stands for a key in a header: keys may have any bytes.
func messageID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:messageHashSize])
}

// streamConfig returns the stream's settings. What fits in the retention fits
// in the stream, though JetStream counts more than the records' bytes.
func streamConfig(name string, r chatsvc.Retention, replicas int) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:       name,
		Subjects:   []string{name},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		MaxMsgs:    -1,
		MaxBytes:   -1,
		Replicas:   replicas,
		Duplicates: chatsvc.KeyWindow,
		DenyDelete: true,
		DenyPurge:  true,
	}
	if r.Messages > 0 {
		c.MaxMsgs = int64(r.Messages) + spareMessages
	}
	if r.Bytes > 0 {
		records := r.Bytes / smallestRecord
		if r.Messages > 0 {
			records = min(records, int64(r.Messages))
		}
		c.MaxBytes = r.Bytes + spareBytes + records*recordOverhead
	}
	if r.Age > 0 {
		c.MaxAge = max(r.Age, chatsvc.KeyWindow) // JetStream's window is no longer than its age
	}
	return c
}

// createStream creates the stream with an epoch of its own. If another server
// did so in the same moment, it returns that one's.
func (l *Log) createStream(ctx context.Context, config jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	return l.createEpoch(ctx, config, rand.Text())
}

// createEpoch is createStream with an epoch that the caller gives. What it returns
// has it unless the stream is another server's.
func (l *Log) createEpoch(ctx context.Context, config jetstream.StreamConfig, epoch string) (*jetstream.StreamInfo, error) {
	config.Metadata = map[string]string{epochKey: epoch}
	stream, err := l.js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return l.info(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", config.Name, err)
	}
	return stream.CachedInfo(), nil
}

// epochOf returns the epoch of a stream's incarnation: that of its metadata, or,
// where somebody else made the stream, the moment when that was.
func epochOf(info *jetstream.StreamInfo) string {
	if epoch := info.Config.Metadata[epochKey]; epoch != "" {
		return epoch
	}
	return "created-" + info.Created.UTC().Format("20060102T150405.000000000")
}

// nextEpoch returns the epoch that follows another one. All servers that see a
// stream go back agree on it.
func nextEpoch(epoch string) string {
	sum := sha256.Sum256([]byte(epoch))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:26]
}

// advanceEpoch gives the stream the epoch that follows the one it has: its
// offsets up to now mean nothing any more.
func (l *Log) advanceEpoch(ctx context.Context, info *jetstream.StreamInfo) error {
	config := info.Config
	config.Metadata = map[string]string{epochKey: nextEpoch(epochOf(info))}
	_, err := l.js.UpdateStream(ctx, config)
	return err
}

// differences names the settings of a stream that are not those that this
// server needs.
func differences(got, want jetstream.StreamConfig) error {
	var all []string
	differ := func(equal bool, name string, got, want any) {
		if !equal {
			all = append(all, fmt.Sprintf("%s is %v where %v is needed", name, got, want))
		}
	}
	differ(slices.Equal(got.Subjects, want.Subjects), "subjects", got.Subjects, want.Subjects)
	differ(got.Storage == want.Storage, "storage", got.Storage, want.Storage)
	differ(got.Retention == want.Retention, "retention", got.Retention, want.Retention)
	differ(got.Discard == want.Discard, "discard", got.Discard, want.Discard)
	differ(got.Replicas == want.Replicas, "num_replicas", got.Replicas, want.Replicas)
	differ(got.MaxMsgs == want.MaxMsgs, "max_msgs", got.MaxMsgs, want.MaxMsgs)
	differ(got.MaxBytes == want.MaxBytes, "max_bytes", got.MaxBytes, want.MaxBytes)
	differ(got.MaxAge == want.MaxAge, "max_age", got.MaxAge, want.MaxAge)
	differ(got.MaxMsgsPerSubject <= 0, "max_msgs_per_subject", got.MaxMsgsPerSubject, -1)
	differ(got.MaxMsgSize < 0 || got.MaxMsgSize >= maxRecord, "max_msg_size", got.MaxMsgSize, -1)
	differ(got.Duplicates == want.Duplicates, "duplicate_window", got.Duplicates, want.Duplicates)
	differ(got.DenyDelete, "deny_delete", got.DenyDelete, true)
	differ(got.DenyPurge, "deny_purge", got.DenyPurge, true)
	differ(!got.NoAck, "no_ack", got.NoAck, false)
	differ(!got.Sealed, "sealed", got.Sealed, false)
	differ(got.Mirror == nil && len(got.Sources) == 0, "mirror or sources", "set", "none")
	differ(got.SubjectTransform == nil, "subject_transform", "set", "none")
	if len(all) == 0 {
		return nil
	}
	return errors.New(strings.Join(all, ", "))
}
