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
	// messageHashSize is the length of the hash in a message id, in bytes.
	messageHashSize = 16
)

// messageID returns the text that represents a key in a header, because keys may have any
// bytes.
func messageID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:messageHashSize])
}

// keyUse is the result of the append with a key.
type keyUse struct {
	offset uint64
	time   time.Time
}

// recentKeys are the keys of the newest records of the stream, from all processes that
// send to it. JetStream knows the keys too, but each NATS server has them in memory, and
// after a start only the keys of the messages that it still has. It is not safe
// for concurrent use.
type recentKeys struct {
	begun time.Time // of young
	// young has the keys that were noted since begun, and old the keys that were noted
	// before, over at least [chatsvc.KeyWindow]. Neither has pointers, which would make
	// garbage collection slower.
	young, old map[keyHash]packedKeyUse
}

// keyHash stands for a key of any length: 16 bytes of its SHA-256, as in a message id.
type keyHash [messageHashSize]byte

// packedKeyUse is a keyUse without pointers; its time is in nanoseconds since 1970.
type packedKeyUse struct {
	offset uint64
	nanos  int64
}

// hashOf returns the hash in a message id, and false if messageID has not made the id.
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
		k.young, k.begun = make(map[keyHash]packedKeyUse), now
	}
	at := earlier(use.time, now) // the clock of a NATS server may be ahead
	k.young[hash] = packedKeyUse{use.offset, at.UnixNano()}
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

// forget drops keys that are too old. It is called regularly, so that the keys of at most
// two windows are in memory.
func (k *recentKeys) forget(now time.Time) {
	if now.Sub(k.begun) > chatsvc.KeyWindow {
		k.old, k.young = k.young, nil
		k.begun = now
	}
}
