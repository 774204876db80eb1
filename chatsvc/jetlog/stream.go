package jetlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// streamConfig returns the settings of a stream with the retention r.
func streamConfig(name string, r chatsvc.Retention, replicas int) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:        name,
		Subjects:    []string{name},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxMsgs:     -1,
		MaxBytes:    -1,
		MaxMsgSize:  -1,
		Replicas:    replicas,
		Duplicates:  chatsvc.KeyWindow,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true, // any replica answers reads
	}
	stored := r.Stored()
	if stored.Messages > 0 {
		c.MaxMsgs = int64(stored.Messages)
	}
	if stored.Bytes > 0 {
		c.MaxBytes = stored.Bytes
	}
	if stored.Age > 0 {
		c.MaxAge = max(stored.Age, chatsvc.KeyWindow) // JetStream requires that its window for keys is not longer
	}
	return c
}

// createStream creates the stream with a new epoch. If another process created it
// at the same moment, it returns that stream.
func (l *Log) createStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	config := l.config
	config.Metadata = map[string]string{epochKey: rand.Text()}
	stream, err := l.js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return l.leader(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", config.Name, err)
	}
	return stream.CachedInfo(), nil
}

// adapt gives the stream the limits that this server needs, and logs what it changes: the
// stream may come from another version or from other flags. Differences that it cannot or
// should not change are an error.
func (l *Log) adapt(ctx context.Context, info *jetstream.StreamInfo) (*jetstream.StreamInfo, error) {
	if err := mismatch(info.Config, l.config); err != nil {
		return nil, fmt.Errorf("stream %s has other settings than this server needs: %w: start the server with the settings of the stream, or change the stream with nats stream edit", l.stream, err)
	}
	different := limitsThatDiffer(info.Config, l.config)
	if len(different) == 0 {
		return info, nil
	}
	stream, err := l.js.UpdateStream(ctx, adapted(info.Config, l.config))
	if err != nil {
		return nil, fmt.Errorf("change the limits of stream %s (%s): %w", l.stream, strings.Join(different, ", "), err)
	}
	l.logger.Warn("changed the limits of the stream to those that this server's flags need", "stream", l.stream, "changes", strings.Join(different, ", "))
	return stream.CachedInfo(), nil
}

// adapted returns a stream's settings with the limits that this server needs. It does not
// change whether messages can be deleted: an operator may have allowed that.
func adapted(got, want jetstream.StreamConfig) jetstream.StreamConfig {
	got.Discard, got.MaxMsgs, got.MaxBytes, got.MaxAge = want.Discard, want.MaxMsgs, want.MaxBytes, want.MaxAge
	got.MaxMsgsPerSubject, got.MaxMsgSize, got.Duplicates = -1, want.MaxMsgSize, want.Duplicates
	got.AllowDirect, got.NoAck = true, false
	return got
}

// differences collects settings that differ.
type differences []string

func (d *differences) add(equal bool, name string, got, want any) {
	if !equal {
		*d = append(*d, fmt.Sprintf("%s is %v, but %v is needed", name, got, want))
	}
}

// limitsThatDiffer names the settings that adapted changes.
func limitsThatDiffer(got, want jetstream.StreamConfig) []string {
	var d differences
	d.add(got.Discard == want.Discard, "discard", got.Discard, want.Discard)
	d.add(got.MaxMsgs == want.MaxMsgs, "max_msgs", got.MaxMsgs, want.MaxMsgs)
	d.add(got.MaxBytes == want.MaxBytes, "max_bytes", got.MaxBytes, want.MaxBytes)
	d.add(got.MaxAge == want.MaxAge, "max_age", got.MaxAge, want.MaxAge)
	d.add(got.MaxMsgsPerSubject <= 0, "max_msgs_per_subject", got.MaxMsgsPerSubject, -1)
	d.add(got.MaxMsgSize < 0 || got.MaxMsgSize >= maxRecord, "max_msg_size", got.MaxMsgSize, -1)
	d.add(got.Duplicates == want.Duplicates, "duplicate_window", got.Duplicates, want.Duplicates)
	d.add(got.AllowDirect, "allow_direct", got.AllowDirect, true)
	d.add(!got.NoAck, "no_ack", got.NoAck, false)
	return d
}

// maxRecord is the largest size of a record with its headers, in bytes.
const maxRecord = chatsvc.MaxContentCeiling + 64<<10

// mismatch returns an error that names the different settings that this server
// does not change.
func mismatch(got, want jetstream.StreamConfig) error {
	var d differences
	d.add(slices.Equal(got.Subjects, want.Subjects), "subjects", got.Subjects, want.Subjects)
	d.add(got.Storage == want.Storage, "storage", got.Storage, want.Storage)
	d.add(got.Retention == want.Retention, "retention", got.Retention, want.Retention)
	d.add(got.Replicas == want.Replicas, "num_replicas", got.Replicas, want.Replicas)
	d.add(!got.Sealed, "sealed", got.Sealed, false)
	d.add(got.Mirror == nil && len(got.Sources) == 0, "mirror or sources", "set", "none")
	d.add(got.SubjectTransform == nil, "subject_transform", "set", "none")
	if len(d) == 0 {
		return nil
	}
	return errors.New(strings.Join(d, ", "))
}

// checkSubjects returns an error if the stream does not store this server's messages.
func (l *Log) checkSubjects(info *jetstream.StreamInfo) error {
	if slices.Equal(info.Config.Subjects, l.config.Subjects) {
		return nil
	}
	return fmt.Errorf("stream %s was changed: its subjects are %v, and must be %v", l.stream, info.Config.Subjects, l.config.Subjects)
}

// compare logs a warning if the stream's settings were changed since the start. The
// caller holds mu.
func (l *Log) compare(got jetstream.StreamConfig) {
	different := limitsThatDiffer(got, l.config)
	if err := mismatch(got, l.config); err != nil {
		different = append(different, err.Error())
	}
	text := strings.Join(different, ", ")
	if text != l.differ && text != "" {
		l.logger.Warn("the stream's settings were changed, by an operator or by a server with other flags: give all servers the same flags", "stream", l.stream, "settings", text)
	}
	l.differ = text
}
