package sim

import (
	"bytes"
	"fmt"
	"time"

	"example.com/simplechat/chatsvc/linear"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// track compares the records of one reader with the truth: each record once, in the order
// of all, and none left out that was retained. It is not safe for concurrent use.
type track struct {
	w     *world
	name  string
	epoch string // the last one
	seen  *linear.Read
	next  map[string]uint64 // by epoch: the offset that is due
}

func newTrack(w *world, name string) *track {
	return &track{w: w, name: name, seen: w.history.Read(), next: make(map[string]uint64)}
}

// begin takes the place where a stream begins: lost records were retained no longer. IsAny
// means that the reader has not asked for a certain record if it does not know the epoch.
func (t *track) begin(epoch string, offset uint64, isAny bool) {
	due, known := t.next[epoch]
	switch {
	case !known && isAny:
		due = offset
	case !known:
		due = 1
	}
	if offset < due {
		t.problemf("a stream begins at %d of %s, and %d was due", offset, epoch, due)
	}
	t.gone(epoch, due, offset)
	t.epoch = epoch
	t.next[epoch] = max(offset, due)
}

// gone checks that the records from an offset to below another one are not retained.
func (t *track) gone(epoch string, from, to uint64) {
	if from >= to {
		return
	}
	if first := t.w.store.retained(epoch); to > first {
		t.problemf("records %d to %d of %s are left out, and %d is retained", from, to-1, epoch, first)
	}
	t.w.reached.addN("reader: records lost to retention", int(to-from))
}

// record takes the next record.
func (t *track) record(epoch string, offset uint64, msg *chatpb.ChatMessage) {
	due := t.next[epoch]
	if epoch != t.epoch || offset != due {
		t.problemf("record %d of %s came where %d of %s was due", offset, epoch, due, t.epoch)
	}
	t.next[epoch] = offset + 1
	t.seen.Return(epoch, offset, msg.GetFrom()+": "+string(msg.GetContent()))
	t.w.store.note(epoch, offset, stored{msg: msg, at: time.Now()})
	truth, ok := t.w.store.find(epoch, offset)
	switch {
	case !ok:
		t.problemf("record %d of %s came, and was never stored: %.40q", offset, epoch, msg.GetContent())
	case !equal(truth.msg, msg):
		t.problemf("record %d of %s came as %.40q from %s, and was stored as %.40q", offset, epoch, msg.GetContent(), msg.GetFrom(), truth.msg.GetContent())
	}
	t.w.reached.add("reader: records")
}

func (t *track) problemf(format string, args ...any) {
	t.w.problemf("%s: %s", t.name, fmt.Sprintf(format, args...))
}

// equal is proto.Equal for messages without unknown fields, which no server sends.
func equal(a, b *chatpb.ChatMessage) bool {
	return a.GetTimestamp() == b.GetTimestamp() && bytes.Equal(a.GetContent(), b.GetContent()) &&
		a.GetType() == b.GetType() && a.GetFrom() == b.GetFrom() && len(b.ProtoReflect().GetUnknown()) == 0
}
