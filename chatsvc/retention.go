package chatsvc

import (
	"fmt"
	"time"
)

// Retention bounds a history. Beyond a bound, the oldest records are removed first. Zero
// means no bound.
type Retention struct {
	// Messages is the largest number of records.
	Messages int
	// Bytes is the largest sum of the records' sizes.
	Bytes int64
	// Age is how long a record is kept after the log stored it.
	Age time.Duration
}

const (
	// slackShare is the divisor of a bound: a log stores 1/slackShare more.
	slackShare = 16
	// The least that a log stores beyond a bound, so that a burst does not overtake a
	// subscriber that keeps up, even if the bound is small.
	slackMessages = 256
	slackBytes    = 1 << 20
)

// Stored returns the bounds for the records that a log stores to retain r: 1/16 more of
// each, and at least 256 messages and 1 MiB more. A log reports only the records that r
// allows.
func (r Retention) Stored() Retention {
	if r.Messages > 0 {
		r.Messages += max(r.Messages/slackShare, slackMessages)
	}
	if r.Bytes > 0 {
		r.Bytes += max(r.Bytes/slackShare, slackBytes)
	}
	r.Age += r.Age / slackShare
	return r
}

// Exceeded reports whether the oldest of count records with a sum of bytes and
// the given age must be removed.
func (r Retention) Exceeded(count uint64, bytes int64, age time.Duration) bool {
	return r.Messages > 0 && count > uint64(r.Messages) ||
		r.Bytes > 0 && bytes > r.Bytes ||
		r.Age > 0 && age >= r.Age
}

func (r Retention) validate() error {
	if r.Messages < 0 || r.Bytes < 0 || r.Age < 0 {
		return fmt.Errorf("%d messages, %d bytes, %v: no bound may be negative, zero for none", r.Messages, r.Bytes, r.Age)
	}
	return nil
}
