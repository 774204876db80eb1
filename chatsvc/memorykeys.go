package chatsvc

import (
	"time"
)

// keyHash stands for a key of any length: 16 bytes of its SHA-256.
type keyHash [16]byte

type keyUse struct {
	key  keyHash
	time time.Time
}

// MaxKeys is the largest number of idempotency keys that a log knows at a time: enough for
// 8,000 sends per second. In a [MemoryLog] they take about 200 MB. An append with a further
// key gets resource_exhausted with [HeaderRetryAfter] and stores nothing. Forgetting a key
// early instead could store a message twice.
const MaxKeys = 1_000_000

// TooManyKeys returns the error for an append to a [Log] that knows the largest number of
// keys. It tells the sender that the message was not stored, and may be sent again after
// wait, or without a key.
func TooManyKeys(wait time.Duration) error {
	return limited(wait, "too many idempotency keys are in use, and the message was not stored: send it again later, or without a key")
}

// forgetKeys drops the keys that left the window. The caller holds mu.
func (l *MemoryLog) forgetKeys(now time.Time) {
	for len(l.keyOrder) > 0 && now.Sub(l.keyOrder[0].time) > KeyWindow {
		delete(l.keys, l.keyOrder[0].key)
		l.keyOrder = l.keyOrder[1:]
	}
}
