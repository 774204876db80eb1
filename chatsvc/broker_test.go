package chatsvc

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc/internal/record"
)

// crowdTest is a broker with subscribers who have read everything and park.
type crowdTest struct {
	*testing.T

	broker *broker
	subs   []*subscriber
	waits  []<-chan struct{}
}

func newCrowdTest(t *testing.T, subscribers int) *crowdTest {
	t.Helper()
	c := &crowdTest{T: t, broker: newTestBroker(t, 1, memoryBounds{})}
	for range subscribers {
		c.subs = append(c.subs, c.broker.subscribe("", noUntil, noUntil))
		c.waits = append(c.waits, nil)
	}
	c.parkAll()
	return c
}

// read lets subscriber i read once, and returns how many records it got.
func (c *crowdTest) read(i int) int {
	c.Helper()
	b, wait, err := c.broker.read(c.subs[i])
	if err != nil {
		c.Fatal(err)
	}
	c.waits[i] = wait
	return b.count
}

// park lets subscriber i read until it is parked.
func (c *crowdTest) park(i int) {
	c.Helper()
	for c.read(i) > 0 {
	}
}

func (c *crowdTest) parkAll() {
	c.Helper()
	for i := range c.subs {
		c.park(i)
	}
}

func (c *crowdTest) publish() {
	c.Helper()
	publishOne(c, c.broker, "x")
}

// woken returns how many of the subscribers from i on may read on.
func (c *crowdTest) woken(i int) int {
	n := 0
	for _, wait := range c.waits[i:] {
		select {
		case <-wait:
			n++
		default:
		}
	}
	return n
}

func TestIdleCrowdGetsARecordAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 100)
		for range 3 {
			c.publish()
			if n := c.woken(0); n != 100 {
				t.Fatalf("%d of 100 were woken", n)
			}
			c.parkAll()
		}
		c.read(0) // one still writes: the others do not wait for it
		c.publish()
		if n := c.woken(1); n != 99 {
			t.Errorf("%d of 99 were woken", n)
		}
	})
}

// A crowd that gains nothing from batches waits for nobody.
func TestSmallCrowdNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, smallCrowd-1)
		for range 10 {
			c.publish()
			if n := c.woken(0); n < 3 {
				t.Fatalf("%d were woken", n)
			}
			for i := range 3 { // the others are stuck
				c.park(i)
			}
		}
	})
}

func TestBusyCrowdGetsLargerBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 100)
		c.publish() // all are on their way now
		for i := range 89 {
			c.park(i)
		}
		for range 5 {
			c.publish()
		}
		if n := c.woken(0) - 11; n != 0 { // eleven have not read the first record yet
			t.Fatalf("%d were woken while eleven of a hundred were on their way", n)
		}
		if n := c.read(89); n != 1 {
			t.Errorf("a batch of %d records: what is held was not released", n)
		}
		if n := c.read(89); n != 5 { // it parks as the ninetieth, and so releases the rest
			t.Errorf("a batch of %d records, 5 were due", n)
		}
		if n := c.woken(0); n < 89 {
			t.Errorf("%d of 89 were woken", n)
		}
		if n := c.read(0); n != 5 {
			t.Errorf("a batch of %d records, 5 were due", n)
		}
	})
}

func TestCrowdRestsAfterARelease(t *testing.T) {
	t.Parallel()
	const busy = 4 * time.Millisecond
	for _, test := range []struct {
		name  string
		large bool
		rest  time.Duration
	}{
		{"small", false, busy},
		{"large", true, 2 * busy},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCrowdTest(t, 100)
				c.publish()
				if test.large {
					for range largeRelease {
						c.publish()
					}
					c.parkAll() // the ninetieth releases them
				}
				time.Sleep(busy)
				c.parkAll()
				start := time.Now()
				c.publish()
				if n := c.woken(0); n != 0 {
					t.Fatalf("%d were woken at once", n)
				}
				<-c.waits[0]
				if rest := time.Since(start); rest != test.rest {
					t.Errorf("a rest of %v, %v was due", rest, test.rest)
				}
				c.parkAll()
				c.publish()
				if n := c.woken(0); n != 100 {
					t.Errorf("%d of 100 were woken when the crowd had not been busy", n)
				}
			})
		})
	}
}

// parkSome parks the subscribers below n.
func (c *crowdTest) parkSome(n int) {
	c.Helper()
	for i := range n {
		c.park(i)
	}
}

// A few late subscribers delay the others once. They count again only after they have
// kept up for a while, which is longer each time.
func TestLateSubscribersStayAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const honest = 80
		c := newCrowdTest(t, 100)
		absence := shortestAbsence
		for range 9 {
			c.publish()
			c.parkSome(honest) // the others are stuck
			start := time.Now()
			c.publish()
			<-c.waits[0]
			if held := time.Since(start); held != 100*holdEach {
				t.Fatalf("held for %v, %v was due", held, 100*holdEach)
			}
			for range 3 {
				c.parkAll() // the late ones recover, and are stuck again
				c.publish()
				c.parkSome(honest)
				c.publish()
				if n := c.woken(0); n < honest {
					t.Fatalf("%d of %d were woken at once", n, honest)
				}
			}
			c.parkAll()
			time.Sleep(absence - 1)
			c.publish()
			c.parkAll()
			if c.broker.crowd != honest {
				t.Fatalf("a crowd of %d before %v", c.broker.crowd, absence)
			}
			time.Sleep(time.Nanosecond)
			c.publish()
			c.parkAll()
			if c.broker.crowd != 100 {
				t.Fatalf("a crowd of %d after %v", c.broker.crowd, absence)
			}
			absence = min(2*absence, longestAbsence)
		}
		time.Sleep(lateMemory + longestAbsence)
		c.publish()
		c.parkSome(honest)
		c.publish()
		<-c.waits[0]
		c.parkAll()
		time.Sleep(shortestAbsence)
		c.publish()
		c.parkAll()
		if c.broker.crowd != 100 {
			t.Errorf("a crowd of %d: lateness is never forgotten", c.broker.crowd)
		}
	})
}

// Where many are late, the machine is to blame: they count again when they park.
func TestManyLateSubscribersAreExcused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 100)
		c.publish()
		c.parkSome(50)
		c.publish()
		<-c.waits[0]
		c.parkAll()
		if c.broker.crowd != 100 || c.broker.parked != 100 {
			t.Errorf("a crowd of %d, %d parked", c.broker.crowd, c.broker.parked)
		}
	})
}

// A record waits longer for a larger crowd, and never for longer than longestHold.
func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	for crowd, due := range map[int]time.Duration{
		smallCrowd - 1: 0, smallCrowd: smallCrowd * holdEach, 500: 50 * time.Millisecond, 1000: plateauHold,
		5000: plateauHold, 10_000: 10_000 * writeEach, 30_000: longestHold,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowdTest(t, crowd)
			c.publish()
			c.park(0) // all others are on their way
			start := time.Now()
			c.publish()
			<-c.waits[0]
			if held := time.Since(start); held != due {
				t.Errorf("%d: held for %v, %v was due", crowd, held, due)
			}
		})
	}
}

func TestLastOneToLeaveReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 100)
		c.publish()
		c.parkSome(89)
		c.publish()
		if n := c.woken(0) - 11; n != 0 {
			t.Fatal("released while eleven of a hundred were on their way")
		}
		for i := 89; i < 100; i++ {
			c.broker.leave(c.subs[i])
		}
		if n := c.read(0); n != 1 {
			t.Errorf("a batch of %d records after the others left", n)
		}
		for i := range 89 {
			c.broker.leave(c.subs[i])
		}
		if c.broker.crowd != 0 || c.broker.parked != 0 || c.broker.waiting != 0 {
			t.Errorf("a crowd of %d with %d parked and %d waiting is left behind", c.broker.crowd, c.broker.parked, c.broker.waiting)
		}
	})
}

// If the parking of a subscriber releases records that it has already read, it is still
// woken by the next record, also when all others have left.
func TestReleaserIsWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 79)
		c.publish()
		c.parkSome(71) // one less than nine in ten
		c.publish()    // held
		c.subs = append(c.subs, c.broker.subscribe("", 1, noUntil))
		c.waits = append(c.waits, nil)
		c.park(79) // it has read all, and is the ninth in ten
		for i := range 79 {
			c.broker.leave(c.subs[i])
		}
		c.publish()
		if n := c.woken(79); n != 1 {
			t.Error("the subscriber sleeps")
		}
	})
}

// A subscriber that falls out of memory while it parks reads from the log.
func TestHotEndMovesPastAParkingSubscriber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 100)
		c.publish()
		c.parkSome(80)
		for i := 80; i < 100; i++ {
			c.read(i)
		}
		for range 5 * spareChunks { // held, and more than the hot end keeps
			publishOne(c, c.broker, strings.Repeat("x", ownChunkBytes))
		}
		for i := 80; i < 90; i++ { // the last one releases what is not in memory any more
			if n := c.read(i); n != 0 {
				t.Errorf("subscriber %d got %d records", i, n)
			}
		}
		if c.subs[89].piece == nil {
			t.Error("the subscriber does not read from the log")
		}
		synctest.Wait()
		c.broker.cold.end()
	})
}

// A stream begins at the offset in its response, even if the log has removed records
// since.
func TestStreamBeginsWhereItWasTold(t *testing.T) {
	t.Parallel()
	c := newColdTest(t, 100, 20, 1<<20)
	if err := c.broker.publish(Chunk{From: 101, Next: 101, First: 50}); err != nil {
		t.Fatal(err)
	}
	s := c.broker.subscribe("", 40, noUntil)
	defer c.broker.leave(s)
	if got, err := c.read(s); err != nil || got.offset != 40 {
		t.Errorf("the stream begins at %d, %v", got.offset, err)
	}
}

// lateLog is a log whose Follow hands out records late: a replica that lags.
type lateLog struct {
	*MemoryLog

	delay time.Duration
}

func (l lateLog) Follow(ctx context.Context, epoch string, from uint64, yield func(Chunk) error) error {
	select {
	case <-time.After(l.delay):
	case <-ctx.Done():
	}
	return l.MemoryLog.Follow(ctx, epoch, from, yield)
}

// A subscriber that comes from a replica that was ahead gets nothing twice: it waits
// until this one has the records that it knows. It does not wait for ever, nor for
// records that were never stored.
func TestCatchUpWithAnotherReplica(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		other   bool // the epoch that is asked for
		offset  uint64
		delay   time.Duration // of the records
		first   uint64        // offset to begin at
		isReset bool
		waits   time.Duration
		err     error
	}{
		{"it is behind", false, 3, catchUpTime / 2, 3, false, catchUpTime / 2, nil},
		{"it is far behind", false, 3, 2 * catchUpTime, 0, false, catchUpTime, errBehind},
		{"beyond the end", false, 4, catchUpTime / 2, 1, true, 0, nil},
		{"another epoch", true, 3, catchUpTime / 2, 1, false, 0, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := lateLog{NewMemoryLog(Retention{}), test.delay}
				svc, err := New(WithLog(log))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = svc.Shutdown(context.Background()) }()
				for range 2 {
					if _, err := log.Append(t.Context(), newRecord(t, "x"), ""); err != nil {
						t.Fatal(err)
					}
				}
				asked := position{kind: fromOffset, n: test.offset, epoch: log.epoch}
				if test.other {
					asked.epoch = "OTHER"
				}
				began := time.Now()
				o, err := svc.open(t.Context(), asked)
				if !errors.Is(err, test.err) || err == nil && (o.from != test.first || o.isReset != test.isReset || o.isOther != test.other) {
					t.Errorf("%+v, %v", o, err)
				}
				if waited := time.Since(began); waited != test.waits {
					t.Errorf("waited for %v, %v was due", waited, test.waits)
				}
			})
		})
	}
}

// Records that the log no longer had when they were due are removed, not
// unreadable. A gap between records is.
func TestGaps(t *testing.T) {
	t.Parallel()
	b := newTestBroker(t, 5, memoryBounds{hot: 1 << 20})
	read := b.subscribe("", 5, noUntil)
	chunk := func(from, next uint64, offsets ...uint64) Chunk {
		c := Chunk{From: from, Next: next, First: 5}
		for _, offset := range offsets {
			c.Entries = append(c.Entries, Entry{Offset: offset, Record: newRecord(t, "x")})
		}
		return c
	}
	for _, c := range []Chunk{chunk(5, 6, 5), chunk(6, 10, 7, 9), chunk(10, 11)} {
		if err := b.publish(c); err != nil {
			t.Fatal(err)
		}
	}
	for offset := uint64(5); offset < 11; {
		got, _, err := b.read(read)
		if err != nil || got.offset != offset || got.count == 0 {
			t.Fatalf("read at %d: %+v, %v", offset, got, err)
		}
		for i := range got.count {
			r := got.records[start(got.index+i, got.ends):got.ends[got.index+i]]
			if isEmpty := bytes.Equal(r, record.Empty); isEmpty != (offset == 6 || offset == 8 || offset == 10) {
				t.Errorf("record %d is %q", offset, r)
			}
			offset++
		}
	}
	if len(b.reported) != 3 {
		t.Errorf("reported: %v", b.reported)
	}
	if err := b.publish(chunk(11, 11+longestGap+1)); !errors.Is(err, errGap) {
		t.Errorf("a gap of %d: %v", longestGap+1, err)
	}
	if err := b.publish(chunk(20, 21, 20)); err != nil || b.hot.floor() != 20 {
		t.Errorf("records removed before they came: %v, floor %d", err, b.hot.floor())
	}
	if err := b.publish(chunk(12, 13, 12)); err == nil {
		t.Error("a log that went back is believed")
	}
}
