package tui

import (
	"slices"
)

const (
	// openWith is how many messages a conversation opens with.
	openWith = 200
	// pageSize is how many messages are read at a time when the user scrolls.
	pageSize = 100
	// maxEntries and maxBytes bound the part of the conversation that is in memory.
	maxEntries, maxBytes = 2000, 32 << 20
)

// window is the part of the conversation that is in memory: the messages [first, next) of
// an epoch, oldest first, with notes between them. Where the user reads old messages, newer
// ones may be missing up to end, which is the conversation's.
type window struct {
	epoch       string
	first, next uint64
	end         uint64 // the next offset of the log, as far as known
	entries     []*entry
	bytes       int
	complete    bool // nothing older is retained
}

// reset empties the window. Messages from an offset on will come.
func (w *window) reset(epoch string, next uint64) {
	*w = window{epoch: epoch, first: next, next: next, end: next, complete: next <= 1}
}

// atEnd reports whether the newest message is in the window.
func (w *window) atEnd() bool { return w.next == w.end }

// append adds the message that follows, or a note with the offset of the message that
// follows it.
func (w *window) append(e *entry) {
	w.entries = append(w.entries, e)
	w.bytes += e.size()
	if e.note == "" {
		w.next = e.offset + 1
	}
	w.end = max(w.end, w.next)
}

// skip moves over messages that are not retained.
func (w *window) skip(next uint64) {
	if len(w.entries) == 0 {
		w.first = next
	}
	w.next = next
	w.end = max(w.end, next)
}

// prepend adds messages that end where the window begins. It returns how many there are.
func (w *window) prepend(first uint64, entries []*entry) int {
	w.entries = slices.Insert(w.entries, 0, entries...)
	for _, e := range entries {
		w.bytes += e.size()
	}
	w.first = first
	return len(entries)
}

// dropOldest removes entries until the window is within its bounds, but not those from
// index keep on. It returns how many it has removed.
func (w *window) dropOldest(keep int) int {
	n := 0
	for entries, bytes := len(w.entries), w.bytes; n < keep && (entries > maxEntries || bytes > maxBytes); n++ {
		entries--
		bytes -= w.entries[n].size()
	}
	for _, e := range w.entries[:n] {
		w.bytes -= e.size()
	}
	w.entries = slices.Delete(w.entries, 0, n)
	if n > 0 {
		w.complete = false
		w.first = w.next
		if len(w.entries) > 0 {
			w.first = w.entries[0].offset
		}
	}
	return n
}

// dropNewest is dropOldest for the other end, and keeps the entries up to index keep.
func (w *window) dropNewest(keep int) {
	n := len(w.entries)
	for n > keep+1 && (n > maxEntries || w.bytes > maxBytes) {
		n--
		w.bytes -= w.entries[n].size()
	}
	if n < len(w.entries) {
		w.next = w.entries[n].offset
	}
	w.entries = slices.Delete(w.entries, n, len(w.entries))
}

// find returns the message with an offset, or nil.
func (w *window) find(offset uint64) *entry {
	i := slices.IndexFunc(w.entries, func(e *entry) bool { return e.msg != nil && e.offset == offset })
	if i < 0 {
		return nil
	}
	return w.entries[i]
}

// lastImage returns the newest image, or nil.
func (w *window) lastImage() *entry {
	for _, e := range slices.Backward(w.entries) {
		if e.pic != nil {
			return e
		}
	}
	return nil
}
