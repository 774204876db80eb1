package chatsvc

import (
	"time"
)

// trim moves first past the entries beyond the retention, and removes the entries that
// need not be stored any longer and that every cursor has passed. The caller holds mu.
func (l *MemoryLog) trim(now time.Time) {
	for l.first < l.next && l.exceeds(l.retention, l.first, now) {
		l.first++
	}
	for len(l.entries) > 0 && l.exceeds(l.stored, l.floor(), now) && l.isPassed(l.floor()) {
		l.entries[0] = storedRecord{} // the array lives on: free the record
		l.entries = l.entries[1:]
	}
	if l.retention.Age > 0 && len(l.entries) > 0 && l.expiry == nil {
		due := max(l.stored.Age-now.Sub(l.entries[0].Time), 100*time.Millisecond)
		l.expiry = time.AfterFunc(due, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.expiry = nil
			l.trim(time.Now())
		})
	}
}

// exceeds reports whether r does not allow the record at offset, which is stored.
// The caller holds mu.
func (l *MemoryLog) exceeds(r Retention, offset uint64, now time.Time) bool {
	e := &l.entries[offset-l.floor()]
	return r.Exceeded(l.next-offset, l.total-e.before, now.Sub(e.Time))
}

// isPassed reports whether every Follow has read the record at offset. The caller
// holds mu.
func (l *MemoryLog) isPassed(offset uint64) bool {
	for cursor := range l.cursors {
		if *cursor <= offset {
			return false
		}
	}
	return true
}
