package chatsvc

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

func newRecord(tb testing.TB, content string) []byte {
	tb.Helper()
	record, err := encodeRecord(&chatpb.ChatMessage{Content: []byte(content), From: "user1"})
	if err != nil {
		tb.Fatal(err)
	}
	return record
}

// A tail is compared with a plain slice of records while records of all sizes
// come and go: each batch is a ChatMessages of just the records that are due.
func TestTailAgainstSlice(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, retention := range []Retention{{}, {Messages: 7}, {Bytes: 100_000}, {Age: 50 * time.Second}, {Messages: 300, Bytes: 1 << 20}} {
		tail := &tail{retention: retention, first: 5, next: 5}
		var records []Entry // all of them; records[i] has the offset 5+i
		now := time.Unix(1_000_000, 0)
		for range 600 {
			now = now.Add(time.Second)
			size := random.IntN(300)
			if random.IntN(20) == 0 {
				size = random.IntN(3 * ownChunkBytes)
			}
			e := Entry{Offset: tail.next, Time: now, Record: newRecord(t, strings.Repeat("x", size))}
			records = append(records, e)
			tail.append(e)
			tail.trim(now)
			checkFirst(t, tail, records, now)
			from := tail.floor() + uint64(random.IntN(int(tail.next-tail.floor())+1))
			checkBatch(t, tail.batch(from, tail.next), from, records, tail.next)
		}
		if retained := tail.bytes; retention.Bytes > 0 && retained > retention.Bytes {
			t.Errorf("%v: %d bytes are retained", retention, retained)
		}
	}
}

// checkFirst checks that the tail's first is the oldest record that its
// retention allows.
func checkFirst(t *testing.T, tail *tail, records []Entry, now time.Time) {
	t.Helper()
	first, bytes := tail.next, int64(0)
	for i, record := range slices.Backward(records) {
		bytes += int64(len(record.Record))
		if tail.retention.exceeded(uint64(len(records)-i), bytes, record.Time, now) {
			break
		}
		first = record.Offset
	}
	if tail.first != first {
		t.Fatalf("%v: first = %d, %d was due", tail.retention, tail.first, first)
	}
	if tail.floor() > tail.first {
		t.Fatalf("%v: floor = %d, above first = %d", tail.retention, tail.floor(), tail.first)
	}
}

func checkBatch(t *testing.T, b batch, from uint64, records []Entry, next uint64) {
	t.Helper()
	if b.offset != from || b.count == 0 != (from == next) {
		t.Fatalf("batch at %d of %d: offset %d with %d records", from, next, b.offset, b.count)
	}
	var want []byte
	for i := range b.count {
		want = append(want, records[int(from-5)+i].Record...)
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
func TestTailSharesLargeRecords(t *testing.T) {
	t.Parallel()
	record := newRecord(t, strings.Repeat("x", 1<<20))
	tail := &tail{first: 1, next: 1}
	tail.append(Entry{Offset: 1, Record: record})
	if got := tail.batch(1, tail.next).data; &got[0] != &record[0] {
		t.Error("a record of 1 MiB was copied")
	}
}

// A batch stays as it is while others append to its chunk.
func TestTailBatchIsImmutable(t *testing.T) {
	t.Parallel()
	tail := &tail{first: 1, next: 1}
	tail.append(Entry{Offset: 1, Record: newRecord(t, "one")})
	b := tail.batch(1, tail.next)
	before := bytes.Clone(b.data)
	for n := range 5_000 {
		tail.append(Entry{Offset: tail.next, Record: newRecord(t, fmt.Sprint(n))})
	}
	if !bytes.Equal(b.data, before) || b.count != 1 {
		t.Error("the batch changed")
	}
	if got, err := b.json(); err != nil || string(got) != `{"content":"b25l","from":"user1"}` {
		t.Errorf("JSON form %s, %v", got, err)
	}
}

// The JSON of a batch is made of its records alone, whoever asked first.
func TestTailJSON(t *testing.T) {
	t.Parallel()
	tail := &tail{first: 1, next: 1}
	var want []string
	for n := range 100 {
		m := &chatpb.ChatMessage{Timestamp: uint64(n), Content: []byte{byte(n)}, Type: chatpb.ChatMessage_ContentType(n % 3)}
		record, err := encodeRecord(m)
		if err != nil {
			t.Fatal(err)
		}
		tail.append(Entry{Offset: tail.next, Record: record})
		parsed, err := parseRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		data, err := parsed.appendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		checkJSON(t, parsed, m)
		want = append(want, string(data))
		if n%7 == 0 {
			from := uint64(1 + n/2)
			got, err := tail.batch(from, tail.next).json()
			if err != nil || string(got) != strings.Join(want[from-1:], ",") {
				t.Fatalf("JSON from %d: %s, %v", from, got, err)
			}
		}
	}
}

func TestNotARecord(t *testing.T) {
	t.Parallel()
	record := string(newRecord(t, "hi"))
	for _, b := range []string{
		"", "x", record + record, record[:len(record)-1], "\x12\x00", "\x0a\x02\x18\x03", "\x0a\x03\x22\x01\xff",
		"\x0a\x02\x28\x01", "\x0a\x05\x0d\x00\x00\x00\x00", "\x0a\x01\x08", "\x0a\x01\xff", "\x0a\x03\x18\xff\xff",
	} {
		if m, err := parseRecord([]byte(b)); err == nil {
			t.Errorf("%x is taken for a record of %v", b, m)
		}
	}
}

// Small records between large ones do not cost a chunk each.
func TestTailWastesLittle(t *testing.T) {
	t.Parallel()
	tail := &tail{first: 1, next: 1}
	for range 500 {
		tail.append(Entry{Offset: tail.next, Record: newRecord(t, strings.Repeat("x", ownChunkBytes))})
		tail.append(Entry{Offset: tail.next, Record: newRecord(t, "x")})
	}
	held := 0
	for _, c := range tail.chunks {
		held += cap(c.data)
	}
	if int64(held) > 2*tail.bytes {
		t.Errorf("%d bytes are held for %d", held, tail.bytes)
	}
}

// After close a subscriber who is behind is served for drainTime, and no longer.
func TestBrokerDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker("E", 1, Retention{Age: time.Hour})
		for n := range uint64(2) {
			if err := b.publish(Entry{Offset: 1 + n, Time: time.Now(), Record: newRecord(t, strings.Repeat("x", ownChunkBytes))}); err != nil {
				t.Fatal(err)
			}
		}
		reader := func(offset uint64) *subscriber {
			sub, _ := b.subscribe(position{kind: fromEnd})
			sub.next = offset
			return sub
		}
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

// The tail forgets what is too old also when nothing else happens.
func TestBrokerExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker("E", 1, Retention{Age: time.Hour})
		if err := b.publish(Entry{Offset: 1, Time: time.Now(), Record: newRecord(t, "x")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.tail.first != 2 {
			t.Errorf("the record is still there after its time")
		}
	})
}
