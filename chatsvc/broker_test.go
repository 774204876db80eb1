package chatsvc

import (
	"bytes"
	"context"
	"errors"
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
		c := newCrowdTest(t, 10)
		for range 3 {
			c.publish()
			if n := c.woken(0); n != 10 {
				t.Fatalf("%d of 10 were woken", n)
			}
			c.parkAll()
		}
		c.read(0) // one of ten still writes: the others do not wait for it
		c.publish()
		if n := c.woken(1); n != 9 {
			t.Errorf("%d of 9 were woken", n)
		}
	})
}

func TestBusyCrowdGetsLargerBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 10)
		c.publish() // all are on their way now
		for i := range 8 {
			c.park(i)
		}
		for range 5 {
			c.publish()
		}
		if n := c.woken(0) - 2; n != 0 { // two have not read the first record yet
			t.Fatalf("%d were woken while two of ten were on their way", n)
		}
		if n := c.read(8); n != 1 {
			t.Errorf("a batch of %d records: what is held was not released", n)
		}
		if n := c.read(8); n != 5 { // it parks as the ninth of ten, and so releases the rest
			t.Errorf("a batch of %d records, 5 were due", n)
		}
		if n := c.woken(0); n < 8 {
			t.Errorf("%d of 8 were woken", n)
		}
		if n := c.read(0); n != 5 {
			t.Errorf("a batch of %d records, 5 were due", n)
		}
	})
}

func TestCrowdRestsAfterARelease(t *testing.T) {
	t.Parallel()
	const busy = 20 * time.Millisecond
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
				c := newCrowdTest(t, 10)
				c.publish()
				if test.large {
					for range largeRelease {
						c.publish()
					}
					c.parkAll() // the ninth of ten releases them
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
				if n := c.woken(0); n != 10 {
					t.Errorf("%d of 10 were woken when the crowd had not been busy", n)
				}
			})
		})
	}
}

func TestSlowSubscribersDelayNobodyTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 10)
		c.publish()
		for i := range 5 { // the other five are stuck
			c.park(i)
		}
		start := time.Now()
		c.publish()
		<-c.waits[0]
		if held := time.Since(start); held != longestHold {
			t.Errorf("held for %v, %v was due", held, longestHold)
		}
		for range 3 {
			for i := range 5 {
				c.park(i)
			}
			c.publish()
			if n := c.woken(0) - 5; n != 5 {
				t.Fatalf("%d of 5 were woken at once", n)
			}
		}
		c.parkAll() // they recover, and count again
		c.publish()
		for i := range 5 {
			c.park(i)
		}
		c.publish()
		if n := c.woken(0) - 5; n != 0 {
			t.Errorf("%d were woken while half of the crowd was on its way", n)
		}
	})
}

// What is held for a large crowd is held for as long as a write to each takes.
func TestLargeCrowdIsAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 10_000)
		c.publish()
		c.park(0) // all others are on their way
		start := time.Now()
		c.publish()
		<-c.waits[0]
		if held, due := time.Since(start), 10_000*holdEach; held != due {
			t.Errorf("held for %v, %v was due", held, due)
		}
	})
}

func TestLastOneToLeaveReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdTest(t, 2)
		c.publish()
		c.park(0)
		c.publish()
		if n := c.woken(0) - 1; n != 0 {
			t.Fatal("released while half of the crowd was on its way")
		}
		c.broker.leave(c.subs[1])
		if n := c.read(0); n != 1 {
			t.Errorf("a batch of %d records after the other one left", n)
		}
		c.broker.leave(c.subs[0])
		if c.broker.crowd != 0 || c.broker.parked != 0 {
			t.Errorf("a crowd of %d with %d parked is left behind", c.broker.crowd, c.broker.parked)
		}
	})
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
