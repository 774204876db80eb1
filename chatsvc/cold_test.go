package chatsvc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc/internal/record"
)

// readLog is a log that counts its reads, and changes their results.
type readLog struct {
	*MemoryLog

	mu     sync.Mutex // guards all below
	reads  []uint64   // where each began
	change func(Chunk, error) (Chunk, error)
	before func() // called by each read, without mu
}

func (l *readLog) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (Chunk, error) {
	l.mu.Lock()
	l.reads = append(l.reads, from)
	change, before := l.change, l.before
	l.mu.Unlock()
	if before != nil {
		before()
	}
	c, err := l.MemoryLog.Read(ctx, epoch, from, to, maxBytes)
	if change != nil {
		return change(c, err)
	}
	return c, err
}

// coldTest is a broker whose log has records that are not in memory.
type coldTest struct {
	*testing.T

	log    *readLog
	broker *broker
	want   []byte // all records
	next   uint64
}

func newColdTest(t *testing.T, records, size int, cold int64) *coldTest {
	t.Helper()
	c := &coldTest{T: t, log: &readLog{MemoryLog: NewMemoryLog(Retention{})}, next: uint64(records) + 1}
	for n := range records {
		r := newRecord(t, fmt.Sprint(n)+strings.Repeat("x", size))
		c.want = append(c.want, r...)
		if _, err := c.log.Append(t.Context(), r, ""); err != nil {
			t.Fatal(err)
		}
	}
	state := State{Epoch: c.log.epoch, First: 1, Next: c.next}
	c.broker = newBroker(c.log, state, memoryBounds{cold: cold}, Replay{}, slog.New(slog.DiscardHandler))
	t.Cleanup(c.broker.cold.end)
	return c
}

// read returns the next batch for a subscriber that is behind.
func (c *coldTest) read(s *subscriber) (batch, error) {
	for {
		got, more, err := c.broker.read(s)
		if err != nil || got.count > 0 {
			return got, err
		}
		<-more
	}
}

// readAll reads all records as one subscriber, and returns their bytes.
func (c *coldTest) readAll(owner string) []byte {
	s := c.broker.subscribe(owner, 1, c.next)
	defer c.broker.leave(s)
	var all []byte
	for {
		got, err := c.read(s)
		if errors.Is(err, errUntil) {
			return all
		}
		if err != nil {
			c.Errorf("%s at %d: %v", owner, s.next, err)
			return nil
		}
		all = append(all, got.data...)
	}
}

// isFree checks that the cache counts nothing that nobody holds beyond its limit.
func (c *coldTest) isFree() {
	c.Helper()
	cold := c.broker.cold
	cold.mu.Lock()
	defer cold.mu.Unlock()
	sum := int64(0)
	for e := cold.unused.Front(); e != nil; e = e.Next() {
		sum += e.Value.(*piece).bytes
	}
	if sum != cold.used || cold.used > cold.limit || len(cold.owners) != 0 {
		c.Errorf("%d bytes are counted, %d cached, of %d; owners %v", cold.used, sum, cold.limit, cold.owners)
	}
}

func TestColdReadsAreShared(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 20, "cut blocks": 1000, "large": 100_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newColdTest(t, min(3000, 20_000_000/size), size, 64<<20)
			var work sync.WaitGroup
			for n := range 50 {
				work.Go(func() {
					if got := c.readAll(fmt.Sprint(n)); !bytes.Equal(got, c.want) {
						t.Errorf("subscriber %d got %d bytes, %d were due", n, len(got), len(c.want))
					}
				})
			}
			work.Wait()
			seen := make(map[uint64]int)
			for _, from := range c.log.reads {
				if seen[from]++; seen[from] > 1 {
					t.Fatalf("the chunk at %d was read %d times", from, seen[from])
				}
			}
			c.isFree()
		})
	}
}

// Subscribers at nearby positions read the same chunks, in whichever order they arrive.
func TestColdChunksAreAligned(t *testing.T) {
	t.Parallel()
	c := newColdTest(t, 2*coldBlock, 20, 1<<20)
	for _, from := range []uint64{300, 310, 290, 1, 511} {
		s := c.broker.subscribe("", from, c.next)
		if got, err := c.read(s); err != nil || got.offset != from {
			t.Fatalf("read at %d: %+v, %v", from, got, err)
		}
		c.broker.leave(s)
	}
	if len(c.log.reads) != 1 || c.log.reads[0] != 1 {
		t.Errorf("reads at %v", c.log.reads)
	}
}

// However many positions are read at a time, memory is bounded, and all get their
// records.
func TestColdReadsAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 4 * chunkBytes
	c := newColdTest(t, 20_000, 500, limit)
	var work sync.WaitGroup
	for n := range 200 {
		work.Go(func() {
			s := c.broker.subscribe(fmt.Sprint(n%20), uint64(1+97*n), c.next)
			defer c.broker.leave(s)
			for range 3 {
				got, err := c.read(s)
				if err != nil {
					t.Errorf("subscriber %d: %v", n, err)
					return
				}
				if _, _, err := got.json(); err != nil {
					t.Error(err)
				}
				cold := c.broker.cold
				cold.mu.Lock()
				if cold.used > limit+chunkBytes { // a chunk may turn out larger than the reservation
					t.Errorf("%d bytes are held", cold.used)
				}
				cold.mu.Unlock()
			}
		})
	}
	work.Wait()
	c.isFree()
	if n := c.broker.cold.json.bytes.Load(); n > limit {
		t.Errorf("JSON forms take %d bytes", n)
	}
}

// Waiting reads are granted to the owner that holds the least, and one owner cannot
// hold everything.
func TestColdReadsAreFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newColdTest(t, 40*coldBlock, 100, 8*chunkBytes)
		var greedy []*subscriber
		hold := func(owner string, n int) bool {
			s := c.broker.subscribe(owner, uint64(n*coldBlock+1), c.next)
			greedy = append(greedy, s)
			_, more, err := c.broker.read(s)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			select {
			case <-more:
				return true
			default:
				return false
			}
		}
		held := 0
		for n := range 20 {
			if hold("greedy", n) {
				held++
			}
		}
		if held < 4 || held > 6 {
			t.Errorf("one owner holds %d of 8 chunks", held)
		}
		if !hold("modest", 30) {
			t.Error("another owner waits for the greedy one")
		}
		for _, s := range greedy {
			c.broker.leave(s)
		}
		synctest.Wait()
		if got := c.readAll("greedy"); !bytes.Equal(got, c.want) {
			t.Errorf("%d bytes, %d were due", len(got), len(c.want))
		}
		c.isFree()
		c.broker.cold.end()
	})
}

// A read that returns less than there must be is repeated, and one that fails for
// good ends the stream.
func TestShortColdReadsAreRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newColdTest(t, 1000, 20, 1<<20)
		calls := 0
		c.log.change = func(got Chunk, err error) (Chunk, error) {
			switch calls++; calls {
			case 1:
				return Chunk{}, errors.New("busy")
			case 2: // a replica that lags
				return Chunk{From: got.From, Next: got.From, First: 1}, nil
			case 3: // one that has lost its begin
				return Chunk{From: got.From + 5, Next: got.Next, Entries: got.Entries[5:], First: 1}, nil
			}
			return got, err
		}
		if got := c.readAll(""); !bytes.Equal(got, c.want) {
			t.Errorf("%d bytes, %d were due", len(got), len(c.want))
		}
		c.log.change = func(Chunk, error) (Chunk, error) { return Chunk{}, errors.New("gone for good") }
		c.broker.cold.trim(c.next)
		s := c.broker.subscribe("", 1, c.next)
		began := time.Now()
		if _, err := c.read(s); !errors.Is(err, errCold) || time.Since(began) != coldReadTime {
			t.Errorf("a log that fails: %v after %v", err, time.Since(began))
		}
		c.broker.leave(s)
		c.isFree()
		c.broker.cold.end()
	})
}

// Records that the log has removed are not passed over, and a reader of one epoch gets
// no records of another.
func TestColdReadsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(Chunk, error) (Chunk, error)
		want   error
	}{
		"all is removed": {func(_ Chunk, _ error) (Chunk, error) { return Chunk{From: 5000, Next: 5000, First: 5000}, nil }, errFellBehind},
		"the begin is": {func(c Chunk, _ error) (Chunk, error) {
			return Chunk{From: 5, Next: c.Next, Entries: c.Entries[4:], First: 10}, nil
		}, errFellBehind},
		"the epoch is another": {func(Chunk, error) (Chunk, error) { return Chunk{}, fmt.Errorf("%w: it is X", ErrEpoch) }, errNewEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newColdTest(t, 1000, 20, 1<<20)
			c.log.change = test.change
			s := c.broker.subscribe("", 1, c.next)
			if got, err := c.read(s); !errors.Is(err, test.want) {
				t.Errorf("%d records at %d, %v", got.count, got.offset, err)
			}
			c.broker.leave(s)
			c.isFree()
		})
	}
}

// A redacted record is not read from memory again: not from the hot end, a cached
// chunk, or one that is being read.
func TestRedaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newColdTest(t, 100, 20, 1<<20)
		before := c.readAll("") // now cached
		publishOne(t, c.broker, "hot secret")
		redact := func(offset uint64) {
			c.log.mu.Lock()
			c.log.change = func(got Chunk, err error) (Chunk, error) {
				for i, e := range got.Entries {
					if e.Offset == 7 || e.Offset == 8 && offset == 8 {
						got.Entries[i].Record = record.Empty
					}
				}
				return got, err
			}
			c.log.mu.Unlock()
			if err := c.broker.publish(Chunk{From: 102, Next: 102, First: 1, Redacted: []uint64{offset}}); err != nil {
				t.Fatal(err)
			}
		}
		redact(7)
		after := c.readAll("")
		if bytes.Contains(after, newRecord(t, "6"+strings.Repeat("x", 20))) || len(before)-len(after) != len(newRecord(t, "6"+strings.Repeat("x", 20)))-2 {
			t.Errorf("a cached record was served after its redaction")
		}
		c.broker.cold.trim(101)
		held := make(chan struct{})
		c.log.before = func() { <-held }
		s := c.broker.subscribe("", 1, 101)
		_, more, err := c.broker.read(s)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		redact(8)
		close(held)
		<-more
		if got, err := c.read(s); err != nil || bytes.Contains(got.data, newRecord(t, "7"+strings.Repeat("x", 20))) {
			t.Errorf("a record was served that was redacted while it was read: %v", err)
		}
		c.broker.leave(s)
		if err := c.broker.publish(Chunk{From: 102, Next: 102, First: 1, Redacted: []uint64{101}}); err != nil {
			t.Fatal(err)
		}
		s = c.broker.subscribe("", 101, noUntil)
		if got, _, err := c.broker.read(s); err != nil || !bytes.Equal(got.data, record.Empty) {
			t.Errorf("the hot end has %q, %v", got.data, err)
		}
		c.broker.leave(s)
		c.broker.cold.end()
	})
}

// A cached piece counts as that of the owner that holds it now, not of the one for
// which it was read.
func TestCachedPieceCountsForItsHolder(t *testing.T) {
	t.Parallel()
	c := newColdTest(t, coldBlock, 100, 8*chunkBytes)
	c.readAll("first")
	s := c.broker.subscribe("second", 1, c.next)
	if got, err := c.read(s); err != nil || got.count == 0 {
		t.Fatalf("%d records, %v", got.count, err)
	}
	cold := c.broker.cold
	cold.mu.Lock()
	first, second := cold.owners["first"], cold.owners["second"]
	cold.mu.Unlock()
	if first != nil || second == nil || second.held == 0 {
		t.Errorf("the first reader has %+v, the holder %+v", first, second)
	}
	c.broker.leave(s)
	c.isFree()
}

// Those that wait for room are told at once that the cache has ended.
func TestColdWaitersEndWithTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newColdTest(t, 4*coldBlock, 100, chunkBytes)
		holder := c.broker.subscribe("holder", 1, c.next)
		if _, err := c.read(holder); err != nil {
			t.Fatal(err)
		}
		p := c.broker.cold.hold("waiter", 2*coldBlock, c.next, false)
		synctest.Wait()
		if p.isLoaded() {
			t.Fatal("there was room")
		}
		c.broker.cold.end()
		synctest.Wait()
		if !p.isLoaded() || !errors.Is(p.err, errCold) {
			t.Errorf("loaded %v, %v", p.isLoaded(), p.err)
		}
		c.broker.cold.release(p)
		c.broker.leave(holder)
		c.isFree()
	})
}

// Memory for the largest record is reserved before a read: reads of large records
// together stay within the limit.
func TestColdReadsReserveTheLargestRecord(t *testing.T) {
	t.Parallel()
	for name, bound := range map[string]int64{"known": 8 * chunkBytes, "seen": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newColdTest(t, 30, 8*chunkBytes-chunkOverhead-100, 0)
				c.broker.cold.end()
				const limit = 4 * 8 * chunkBytes
				c.broker.cold = newColdCache(c.log, c.log.epoch, memoryBounds{cold: limit, record: bound}, c.broker.reportUnreadable, c.broker.giveWay)
				defer func() { c.broker.cold.end() }()
				s := c.broker.subscribe("", 30, c.next)
				s.begun = true
				if _, err := c.read(s); err != nil {
					t.Fatal(err)
				}
				c.broker.leave(s)

				held, reads := make(chan struct{}), 0
				c.log.before = func() {
					c.log.mu.Lock()
					reads++
					c.log.mu.Unlock()
					<-held
				}
				for offset := uint64(20); offset > 0; offset-- { // from the end: none is a part of one before
					s := c.broker.subscribe(fmt.Sprint(offset), offset, c.next)
					defer c.broker.leave(s)
					s.begun = true
					if _, _, err := c.broker.read(s); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if reads == 0 || reads > limit/(8*chunkBytes) {
					t.Errorf("%d records of 512 KiB are read at a time, of at most %d bytes", reads, limit)
				}
				close(held)
			})
		})
	}
}
