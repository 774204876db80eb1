package chatsvc

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc/internal/record"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

func newRecord(tb testing.TB, content string) []byte {
	tb.Helper()
	return record.Message{Content: []byte(content), From: "user1"}.Append(nil)
}

// newTestBroker returns a broker in the epoch E of an empty log, which it begins at
// offset next.
func newTestBroker(tb testing.TB, next uint64, memory memoryBounds) *broker {
	tb.Helper()
	b := newBroker(NewMemoryLog(Retention{}), State{Epoch: "E", First: next, Next: next}, memory, Replay{}, slog.New(slog.DiscardHandler))
	tb.Cleanup(b.cold.end)
	return b
}

// publishOne publishes the next record.
func publishOne(tb testing.TB, b *broker, content string) {
	tb.Helper()
	next := b.next()
	if err := b.publish(Chunk{From: next, Next: next + 1, Entries: []Entry{{Offset: next, Record: newRecord(tb, content)}}}); err != nil {
		tb.Fatal(err)
	}
}

// A hot end is compared with a plain slice of records while records of all sizes
// come: each batch is a ChatMessages of just the records that are due, and memory is
// bounded.
func TestHotEndAgainstSlice(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []int64{0, 300 << 10, 1 << 40} {
		hot := &hotEnd{limit: limit, next: 5}
		var records [][]byte // all of them; records[i] has the offset 5+i
		for range 3000 {
			size := random.IntN(300)
			if random.IntN(20) == 0 {
				size = random.IntN(3 * ownChunkBytes)
			}
			r := newRecord(t, strings.Repeat("x", size))
			records = append(records, r)
			hot.add(r)
			hot.evict()
			from := hot.floor() + uint64(random.IntN(int(hot.next-hot.floor())+1))
			checkBatch(t, hot.batch(from, hot.next), from, records, hot.next)
			if limit := random.Int64N(200_000); hot.lastBytes(limit) != lastBytesOf(records, hot.floor(), limit) {
				t.Fatalf("the last %d bytes begin at %d, %d was due", limit, hot.lastBytes(limit), lastBytesOf(records, hot.floor(), limit))
			}
		}
		held := int64(0)
		for _, c := range hot.chunks {
			held += c.size()
		}
		if held != hot.bytes || len(hot.chunks) > spareChunks && held > limit || len(hot.chunks) < spareChunks {
			t.Errorf("limit of %d: %d chunks of %d bytes, %d are counted", limit, len(hot.chunks), held, hot.bytes)
		}
	}
}

// lastBytesOf returns where the last bytes of records begin, floor at the lowest.
func lastBytesOf(records [][]byte, floor uint64, bytes int64) uint64 {
	offset := 5 + uint64(len(records))
	for offset > floor {
		if bytes -= int64(len(records[offset-6])); bytes < 0 {
			break
		}
		offset--
	}
	return offset
}

func checkBatch(t *testing.T, b batch, from uint64, records [][]byte, next uint64) {
	t.Helper()
	if b.offset != from || b.count == 0 != (from == next) {
		t.Fatalf("batch at %d of %d: offset %d with %d records", from, next, b.offset, b.count)
	}
	var want []byte
	for i := range b.count {
		want = append(want, records[int(from-5)+i]...)
	}
	if !bytes.Equal(b.data, want) {
		t.Fatalf("batch at %d has other bytes than its %d records", from, b.count)
	}
	if b.count > 1 && len(b.data) > chunkBytes {
		t.Fatalf("batch of %d records has %d bytes", b.count, len(b.data))
	}
	var messages chatpb.ChatMessages
	if err := proto.Unmarshal(b.data, &messages); err != nil || len(messages.GetMessages()) != b.count {
		t.Fatalf("batch at %d: %d messages, %v; %d were due", from, len(messages.GetMessages()), err, b.count)
	}
}

// A record that is a chunk of its own is not copied.
func TestHotEndSharesLargeRecords(t *testing.T) {
	t.Parallel()
	r := newRecord(t, strings.Repeat("x", 1<<20))
	hot := &hotEnd{limit: 1 << 40, next: 1}
	hot.add(r)
	if got := hot.batch(1, hot.next).data; &got[0] != &r[0] {
		t.Error("a record of 1 MiB was copied")
	}
}

// A batch stays as it is while others append to its chunk.
func TestHotBatchIsImmutable(t *testing.T) {
	t.Parallel()
	hot := &hotEnd{limit: 1 << 40, next: 1}
	hot.add(newRecord(t, "one"))
	b := hot.batch(1, hot.next)
	before := bytes.Clone(b.data)
	for n := range 5_000 {
		hot.add(newRecord(t, fmt.Sprint(n)))
	}
	if !bytes.Equal(b.data, before) || b.count != 1 {
		t.Error("the batch changed")
	}
	if got, _, err := b.json(); err != nil || string(got) != `{"content":"b25l","from":"user1"}` {
		t.Errorf("JSON form %s, %v", got, err)
	}
}

// The JSON of a batch depends only on its records, not on the first request.
func TestHotJSON(t *testing.T) {
	t.Parallel()
	hot := &hotEnd{limit: 1 << 40, next: 1}
	var want []string
	for n := range 100 {
		m := &chatpb.ChatMessage{Timestamp: uint64(n), Content: []byte{byte(n)}, Type: chatpb.ChatMessage_ContentType(n % 3)}
		r, err := proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{m}})
		if err != nil {
			t.Fatal(err)
		}
		hot.add(r)
		parsed, err := record.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		data, err := parsed.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		checkJSON(t, parsed, m)
		want = append(want, string(data))
		if n%7 == 0 {
			from := uint64(1 + n/2)
			got, _, err := hot.batch(from, hot.next).json()
			if err != nil || string(got) != strings.Join(want[from-1:], ",") {
				t.Fatalf("JSON from %d: %s, %v", from, got, err)
			}
		}
	}
}

func TestNotARecord(t *testing.T) {
	t.Parallel()
	r := string(newRecord(t, "hi"))
	for _, b := range []string{
		"", "x", r + r, r[:len(r)-1], "\x12\x00", "\x0a\x02\x18\x03", "\x0a\x03\x22\x01\xff",
		"\x0a\x02\x28\x01", "\x0a\x05\x0d\x00\x00\x00\x00", "\x0a\x01\x08", "\x0a\x01\xff", "\x0a\x03\x18\xff\xff",
	} {
		if m, err := record.Parse([]byte(b)); err == nil {
			t.Errorf("%x is taken for a record of %v", b, m)
		}
	}
}

// Small records between large ones do not cost a chunk each.
func TestHotEndWastesLittle(t *testing.T) {
	t.Parallel()
	hot := &hotEnd{limit: 1 << 40, next: 1}
	for range 500 {
		hot.add(newRecord(t, strings.Repeat("x", ownChunkBytes)))
		hot.add(newRecord(t, "x"))
	}
	held := 0
	for _, c := range hot.chunks {
		held += cap(c.data)
	}
	if int64(held) > 2*hot.total {
		t.Errorf("%d bytes are held for %d", held, hot.total)
	}
}

// After close a subscriber who is behind is served for drainTime, and no longer.
func TestBrokerDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t, 1, memoryBounds{})
		for range 2 {
			publishOne(t, b, strings.Repeat("x", ownChunkBytes))
		}
		reader := func(offset uint64) *subscriber { return b.subscribe("", offset, noUntil) }
		b.close(errShutdown)
		if got, _, err := b.read(reader(1)); err != nil || got.count != 1 {
			t.Errorf("right after close: %d records, %v", got.count, err)
		}
		if _, _, err := b.read(reader(3)); !errors.Is(err, errShutdown) {
			t.Errorf("at the end: %v", err)
		}
		time.Sleep(drainTime + 1)
		if _, _, err := b.read(reader(2)); !errors.Is(err, errShutdown) {
			t.Errorf("after drainTime: %v", err)
		}
	})
}

// The JSON forms of the last chunks stay while the hot end is full: all that keep up
// share them.
func TestFullHotEndKeepsItsNewestJSON(t *testing.T) {
	t.Parallel()
	hot := &hotEnd{limit: 1, next: 1}
	for range 4 {
		hot.add(newRecord(t, strings.Repeat("x", ownChunkBytes)))
	}
	hot.evict()
	if len(hot.chunks) != spareChunks {
		t.Fatalf("%d chunks are held, %d are due", len(hot.chunks), spareChunks)
	}
	b := hot.batch(hot.next-1, hot.next)
	first, _, err := b.json()
	if err != nil {
		t.Fatal(err)
	}
	if hot.isFull() {
		t.Error("it is full, but nothing can be freed")
	}
	hot.evict()
	again, _, err := b.json()
	if err != nil || &first[0] != &again[0] {
		t.Errorf("the newest JSON form was made again (%v)", err)
	}
}

// A chunk that leaves while its JSON form is made leaves nothing in the account.
func TestChunkLeavesWhileItsJSONIsMade(t *testing.T) {
	t.Parallel()
	hot := &hotEnd{limit: 1 << 40, next: 1}
	hot.add(newRecord(t, "x"))
	b := hot.batch(1, 2)
	if _, _, _, err := b.makeJSON(); err != nil {
		t.Fatal(err)
	}
	b.chunk.json.mu.Lock() // as a subscriber does that makes the form
	hot.restart(1)
	b.chunk.json.mu.Unlock()
	if _, _, err := b.json(); err != nil {
		t.Fatal(err)
	}
	if n := hot.json.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted", n)
	}
}

// A write counts the JSON form that it holds, if that was dropped or has grown since,
// once for all that write it; a form that is the chunk's own is counted there.
func TestDroppedJSONCountsWhileItIsWritten(t *testing.T) {
	t.Parallel()
	hot := &hotEnd{limit: 1 << 40, next: 1}
	pending := newPendingWrites(1 << 40)
	freed := int64(0)
	hot.json.freed = func(bytes int64) { freed += bytes }
	hot.add(newRecord(t, "x"))
	write := func(owner string) *jsonArray {
		b := hot.batch(1, hot.next)
		_, array, err := b.json()
		if err != nil {
			t.Fatal(err)
		}
		w := &writeWatchdog{deadline: time.Hour}
		t.Cleanup(w.end)
		w.start(pendingWrite{chunk: b.chunk, array: array})
		pending.add(w, owner)
		return array
	}
	expect := func(when string, want int64, owners map[string]int64) {
		t.Helper()
		if total, perOwner := sum(pending.held()); total != want || !maps.Equal(perOwner, owners) {
			t.Errorf("%s: %d bytes, %v; %d, %v are due", when, total, perOwner, want, owners)
		}
	}
	first := write("a")
	write("a")
	write("b")
	expect("a form in use", 0, map[string]int64{})
	hot.chunks[0].json.drop()
	expect("dropped", first.bytes, map[string]int64{"a": first.bytes, "b": first.bytes})
	second := write("c")
	expect("made again", first.bytes, map[string]int64{"a": first.bytes, "b": first.bytes})
	for hot.next < 100 {
		hot.add(newRecord(t, strings.Repeat("x", 100)))
	}
	if third := write("d"); third == second {
		t.Fatal("the form did not grow")
	}
	both := first.bytes + second.bytes
	expect("grown", both, map[string]int64{"a": first.bytes, "b": first.bytes, "c": second.bytes})
	if freed != both {
		t.Errorf("%d bytes were told, %d are due", freed, both)
	}
	c, third := hot.chunks[0], hot.chunks[0].json.array.Load()
	hot.restart(1)
	expect("left", both+third.bytes+c.size(), map[string]int64{
		"a": first.bytes + c.size(), "b": first.bytes + c.size(), "c": second.bytes + c.size(), "d": third.bytes + c.size(),
	})
	if freed != both+third.bytes || hot.json.bytes.Load() != 0 {
		t.Errorf("%d bytes were told, %d are counted", freed, hot.json.bytes.Load())
	}
}
