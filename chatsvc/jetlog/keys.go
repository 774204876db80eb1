package jetlog

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"example.com/simplechat/chatsvc"
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

// keyUse is what became of the append with a key.
type keyUse struct {
	offset uint64
	time   time.Time
}

// recentKeys are the keys of the newest records of the stream, by whatever server
// they were sent. JetStream knows them too, but each NATS server in its memory:
// one that starts reads them from the messages that it still has. It is not safe
// for concurrent use.
type recentKeys struct {
	begun time.Time // of young
	// young has what was noted since begun, and old what was noted before that,
	// in a time of at least [chatsvc.KeyWindow]. Neither has pointers, for the
	// collector's sake.
	young, old map[keyHash]keyNote
}

// keyHash is what a message id says, in binary.
type keyHash [messageHashSize]byte

// keyNote is a keyUse, its time in nanoseconds since 1970.
type keyNote struct {
	offset uint64
	nanos  int64
}

// hashOf returns false for a message id that none of our servers has made.
func hashOf(id string) (keyHash, bool) {
	var hash keyHash
	if len(id) != messageIDSize {
		return hash, false
	}
	n, err := base64.RawURLEncoding.Decode(hash[:], []byte(id))
	return hash, err == nil && n == messageHashSize
}

// note notes that a record with the message id was stored.
func (k *recentKeys) note(id string, use keyUse) {
	hash, ok := hashOf(id)
	if !ok {
		return
	}
	now := time.Now()
	k.forget(now)
	if now.Sub(use.time) > chatsvc.KeyWindow {
		return
	}
	if k.young == nil {
		k.young, k.begun = make(map[keyHash]keyNote), now
	}
	at := earlier(use.time, now) // the clock of a NATS server may be ahead
	k.young[hash] = keyNote{use.offset, at.UnixNano()}
}

// find returns the offset of the record that was stored with the message id
// within [chatsvc.KeyWindow].
func (k *recentKeys) find(id string) (offset uint64, known bool) {
	hash, ok := hashOf(id)
	if !ok {
		return 0, false
	}
	use, ok := k.young[hash]
	if !ok {
		use, ok = k.old[hash]
	}
	return use.offset, ok && time.Since(time.Unix(0, use.nanos)) <= chatsvc.KeyWindow
}

// forget drops what is too old. It is called from time to time, so that no more than
// two windows' keys are in memory.
func (k *recentKeys) forget(now time.Time) {
	if now.Sub(k.begun) > chatsvc.KeyWindow {
		k.old, k.young = k.young, nil
		k.begun = now
	}
}
