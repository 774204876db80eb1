package chatsvc

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
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
	c := &crowdTest{T: t, broker: newBroker("E", 1, Retention{})}
	for range subscribers {
		sub, _ := c.broker.subscribe(position{kind: fromEnd})
		c.subs = append(c.subs, sub)
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
	if err := c.broker.publish(Entry{Offset: c.broker.next(), Time: time.Now(), Record: newRecord(c, "x")}); err != nil {
		c.Fatal(err)
	}
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

// A subscriber who comes from a replica that was ahead gets nothing twice: it
// waits until this one has what it knows. It does not wait for ever, nor for
// what another log had.
func TestCatchUpWithAnotherReplica(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		epoch string
		delay time.Duration // of the records
		first uint64        // offset to begin at
		waits time.Duration
	}{
		{"it is behind", "E", lagTime / 2, 3, lagTime / 2},
		{"it is far behind", "E", 2 * lagTime, 1, lagTime},
		{"another epoch", "OTHER", lagTime / 2, 1, 0},
		{"no epoch", "", lagTime / 2, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBroker("E", 1, Retention{})
				time.AfterFunc(test.delay, func() {
					for n := range uint64(2) {
						if err := b.publish(Entry{Offset: 1 + n, Record: newRecord(t, "x")}); err != nil {
							t.Error(err)
						}
					}
				})
				began := time.Now()
				from := position{kind: fromOffset, n: 3, epoch: test.epoch}
				if err := b.catchUp(t.Context(), from); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited != test.waits {
					t.Errorf("waited for %v, %v was due", waited, test.waits)
				}
				if _, first := b.subscribe(from); first.offset != test.first {
					t.Errorf("begins at %d, %d was due", first.offset, test.first)
				}
			})
		})
	}
}

// The log may let go of its oldest records between the question what it has and
// their arrival: that is no gap. One between records is.
func TestFirstRecordMayBeLaterThanAsked(t *testing.T) {
	t.Parallel()
	b := newBroker("epoch", 5, Retention{Messages: 100})
	for _, step := range []struct {
		offset uint64
		gap    bool
	}{{8, false}, {9, false}, {11, true}, {12, false}} {
		err := b.publish(Entry{Offset: step.offset, Time: time.Now(), Record: newRecord(t, "x")})
		if gap := errors.Is(err, errGap); gap != step.gap || err != nil && !gap {
			t.Errorf("offset %d: %v", step.offset, err)
		}
	}
}
