package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// accountTest does random things to a broker, as subscribers of all kinds do.
type accountTest struct {
	*testing.T

	random  *rand.Rand
	log     *readLog
	broker  *broker
	pending *pendingWrites
	readers map[*subscriber]*writeWatchdog
}

func newAccountTest(t *testing.T, seed uint64) *accountTest {
	t.Helper()
	a := &accountTest{
		T:       t,
		random:  rand.New(rand.NewPCG(seed, 1)),
		log:     &readLog{MemoryLog: NewMemoryLog(Retention{})},
		pending: newPendingWrites(1 << 40),
		readers: make(map[*subscriber]*writeWatchdog),
	}
	memory := memoryBounds{hot: 3 * chunkBytes, cold: 4 * chunkBytes, record: ownChunkBytes}
	a.broker = newBroker(a.log, State{Epoch: a.log.epoch, First: 1, Next: 1}, memory, Replay{}, slog.New(slog.DiscardHandler))
	t.Cleanup(a.broker.cold.end)
	return a
}

func (a *accountTest) append() {
	for range a.random.IntN(300) {
		size := a.random.IntN(400)
		if a.random.IntN(50) == 0 {
			size = ownChunkBytes
		}
		r := newRecord(a.T, strings.Repeat("x", size))
		got, err := a.log.Append(a.Context(), r, "")
		if err != nil {
			a.Fatal(err)
		}
		if err := a.broker.publish(Chunk{From: got.Offset, Next: got.Offset + 1, First: 1, Entries: []Entry{{Offset: got.Offset, Record: r}}}); err != nil {
			a.Fatal(err)
		}
	}
}

func (a *accountTest) redact() {
	next := a.broker.next()
	offset := 1 + a.random.Uint64N(next)
	if err := a.broker.publish(Chunk{From: next, Next: next, First: 1, Redacted: []uint64{offset}}); err != nil {
		a.Fatal(err)
	}
}

func (a *accountTest) subscribe() {
	s := a.broker.subscribe(fmt.Sprint(a.random.IntN(5)), 1+a.random.Uint64N(a.broker.next()), noUntil)
	a.readers[s] = &writeWatchdog{deadline: time.Hour}
	a.pending.add(a.readers[s], s.owner)
}

func (a *accountTest) leave(s *subscriber) {
	a.readers[s].end()
	a.pending.remove(a.readers[s])
	a.broker.leave(s)
	delete(a.readers, s)
}

// read ends the write of s, and begins another one if there is something to read.
func (a *accountTest) read(s *subscriber) {
	watchdog := a.readers[s]
	_ = watchdog.stop(batch{}, 0, false)
	got, _, err := a.broker.read(s)
	if err != nil {
		if !errors.Is(err, errCold) {
			a.Errorf("read: %v", err)
		}
		a.leave(s)
		return
	}
	write := pendingWrite{chunk: got.chunk}
	if a.random.IntN(2) == 0 {
		if _, write.array, err = got.json(); err != nil {
			a.Error(err)
		}
	}
	watchdog.start(write)
}

// step does one thing.
func (a *accountTest) step() {
	switch a.random.IntN(10) {
	case 0:
		a.append()
	case 1:
		a.subscribe()
	case 2:
		a.redact()
	case 3:
		synctest.Wait()
	case 4:
		a.broker.cold.trim(a.random.Uint64N(a.broker.next()))
	default:
		for s := range a.readers { // in any order
			if a.random.IntN(8) == 0 {
				a.leave(s)
			} else {
				a.read(s)
			}
			return
		}
	}
}

// isFree checks that no memory is counted that is not in use, and that the counts of the
// hot end and of the cold cache are right.
func (a *accountTest) isFree() {
	a.Helper()
	b, cold := a.broker, a.broker.cold
	bytes, json := int64(0), int64(0)
	for _, c := range b.hot.chunks {
		bytes += c.size()
		if array := c.json.array.Load(); array != nil {
			json += array.bytes
		}
	}
	if b.hot.bytes != bytes || b.hot.json.bytes.Load() != json {
		a.Errorf("the hot end has %d bytes and %d of JSON, %d and %d are counted", bytes, json, b.hot.bytes, b.hot.json.bytes.Load())
	}
	if writes := a.pending.held(); len(writes) > 0 || len(a.pending.streams) > 0 {
		a.Errorf("writes that are pending: %v, of %d streams", writes, len(a.pending.streams))
	}
	if b.waiting != 0 || b.parked != 0 || b.crowd != 0 {
		a.Errorf("%d subscribers wait, %d are parked, of %d", b.waiting, b.parked, b.crowd)
	}
	b.hot.restart(b.hot.next)
	cold.trim(math.MaxUint64)
	if b.hot.bytes != 0 || b.hot.json.bytes.Load() != 0 {
		a.Errorf("an empty hot end counts %d bytes and %d of JSON", b.hot.bytes, b.hot.json.bytes.Load())
	}
	if cold.used != 0 || cold.json.bytes.Load() != 0 || cold.reading != 0 || cold.unused.Len() != 0 || len(cold.pieces) != 0 || len(cold.owners) != 0 {
		a.Errorf("an empty cold cache counts %d bytes, %d of JSON, %d reads; pieces %v, owners %v",
			cold.used, cold.json.bytes.Load(), cold.reading, cold.pieces, cold.owners)
	}
}

// All memory that is counted for subscribers is given back, in any order of steps, when
// they have left.
func TestAccountsReturnToZero(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccountTest(t, seed)
			held := make(chan struct{})
			a.log.before = func() { <-held } // until the first reads have been waited for
			for range 100 {
				a.step()
			}
			close(held)
			for range 400 {
				a.step()
			}
			for s := range a.readers {
				a.leave(s)
			}
			synctest.Wait()
			a.isFree()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			a.broker.cold.end()
			a.broker.hold.Stop()
		})
	}
}

// A subscriber that waits for room in the cold cache ends when its call is cancelled,
// and leaves nothing behind.
func TestCancelledColdWaiterEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newColdTest(t, 4*coldBlock, 100, chunkBytes)
		holder := c.broker.subscribe("holder", 1, c.next)
		if _, err := c.read(holder); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		waiter := c.broker.subscribe("waiter", 2*coldBlock, c.next)
		go func() {
			defer c.broker.leave(waiter)
			_, err := c.broker.nextBatch(ctx, nil, waiter, newHeartbeat(time.Hour), true)
			ended <- err
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("there was room: %v", err)
		default:
		}
		began := time.Now()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		synctest.Wait()
		c.broker.leave(holder)
		c.isFree()
		if len(c.log.reads) != 1 {
			t.Errorf("reads at %v: nobody waits for the second", c.log.reads)
		}
		c.broker.cold.end()
	})
}
