package jetlog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"

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

// messageID returns what stands for a key in a header: keys may have any bytes.
func messageID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func streamConfig(name string, r chatsvc.Retention) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:        name,
		Subjects:    []string{name},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxMsgs:     -1,
		MaxBytes:    -1,
		Replicas:    1,
		Duplicates:  chatsvc.KeyWindow,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true,
	}
	if r.Messages > 0 {
		c.MaxMsgs = int64(r.Messages) + spareMessages
	}
	if r.Bytes > 0 {
		records := int64(r.Messages)
		if records == 0 {
			records = r.Bytes / smallestRecord
		}
		c.MaxBytes = r.Bytes + spareBytes + records*recordOverhead
	}
	if r.Age > 0 {
		c.MaxAge = max(r.Age, chatsvc.KeyWindow) // JetStream's window is no longer than its age
	}
	return c
}

// openStream makes the stream, or gives it the retention, and returns its epoch.
func openStream(ctx context.Context, js jetstream.JetStream, name string, r chatsvc.Retention) (string, error) {
	config := streamConfig(name, r)
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		config.Metadata = map[string]string{epochKey: rand.Text()}
		stream, err = js.CreateStream(ctx, config)
	} else if err == nil {
		config.Metadata = stream.CachedInfo().Config.Metadata
		stream, err = js.UpdateStream(ctx, config)
	}
	if err != nil {
		return "", err
	}
	return stream.CachedInfo().Config.Metadata[epochKey], nil
}
