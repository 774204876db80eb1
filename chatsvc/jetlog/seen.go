package jetlog

import (
	"time"
)

// stamp identifies a record that was seen.
type stamp struct {
	offset uint64
	time   time.Time
}

// note notes a record that is about to be yielded.
func (l *Log) note(epoch string, r queued) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == epoch {
		l.seen = stamp{r.Offset, r.Time}
		l.highest = max(l.highest, r.Offset)
		l.keys.note(r.id, keyUse{r.Offset, r.Time})
	}
}
