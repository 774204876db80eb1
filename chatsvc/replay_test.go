package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// plainLog is a log that does not know the sizes of its records.
type plainLog struct{ Log }

// A replay begins within its bounds, whether its records are in memory or in the
// log, and whether the log knows their sizes.
func TestReplay(t *testing.T) {
	t.Parallel()
	const cold, hot = 1200, 50
	size := int64(len(newRecord(t, "0000")))
	for _, test := range []struct {
		replay Replay
		first  uint64 // that the log retains
		want   uint64
	}{
		{Replay{}, 1, 1},
		{Replay{}, 7, 7},
		{Replay{Messages: 10}, 1, 1241},
		{Replay{Messages: 1000}, 1, 251},
		{Replay{Messages: 5000}, 3, 3},
		{Replay{Bytes: 20 * size}, 1, 1231},
		{Replay{Bytes: 20*size - 1}, 1, 1232},
		{Replay{Bytes: 700 * size}, 1, 551},
		{Replay{Messages: 600, Bytes: 700 * size}, 1, 651},
		{Replay{Messages: 800, Bytes: 700*size + 1}, 1, 551},
		{Replay{Bytes: 5000 * size}, 1, 1},
		{Replay{Bytes: 1}, 1, 1251},
	} {
		for _, isSized := range []bool{true, false} {
			t.Run(fmt.Sprintf("%+v from %d, sized %v", test.replay, test.first, isSized), func(t *testing.T) {
				t.Parallel()
				memory := NewMemoryLog(Retention{})
				var log Log = memory
				if !isSized {
					log = plainLog{memory}
				}
				add := func(n int) Entry {
					r := newRecord(t, fmt.Sprintf("%04d", n))
					got, err := memory.Append(t.Context(), r, "")
					if err != nil {
						t.Fatal(err)
					}
					return Entry{Offset: got.Offset, Record: r}
				}
				for n := range cold {
					add(n)
				}
				state := State{Epoch: memory.epoch, First: test.first, Next: cold + 1}
				b := newBroker(log, state, memoryBounds{hot: 1 << 20}, test.replay, slog.New(slog.DiscardHandler))
				defer b.cold.end()
				for n := range hot {
					e := add(n)
					if err := b.publish(Chunk{From: e.Offset, Next: e.Offset + 1, Entries: []Entry{e}, First: test.first}); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					if got, err := b.replayFrom(t.Context()); err != nil || got != test.want {
						t.Fatalf("begins at %d, %v; %d was due", got, err, test.want)
					}
				}
			})
		}
	}
}

// The log is asked for the begin of a replay at most once a second, and as much is
// sent beyond the bound as was added since, up to 1/16.
func TestReplayAsksRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newColdTest(t, 1000, 0, 1<<20)
		record := int64(len(newRecord(t, "123x")))
		c.broker.replay.bounds = Replay{Bytes: 320 * record}
		asked := 0
		log := &countingLog{MemoryLog: c.log.MemoryLog, asked: &asked}
		c.broker.log = log
		from := func() uint64 {
			got, err := c.broker.replayFrom(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		begin := from()
		for range 20 { // 1/16 of the bound
			publishOne(t, c.broker, "123x")
			if _, err := log.Append(t.Context(), newRecord(t, "123x"), ""); err != nil {
				t.Fatal(err)
			}
			if got := from(); got != begin {
				t.Fatalf("begins at %d, %d was due", got, begin)
			}
		}
		if asked != 1 {
			t.Errorf("the log was asked %d times", asked)
		}
		time.Sleep(viewAge)
		if got := from(); got <= begin || asked != 2 {
			t.Errorf("a second later it begins at %d, asked %d times", got, asked)
		}
		log.err = errors.New("away")
		time.Sleep(viewAge)
		publishOne(t, c.broker, "123x")
		if got, err := c.broker.replayFrom(t.Context()); !errors.Is(err, errCold) {
			t.Errorf("a log that does not answer: %d, %v", got, err)
		}
		c.broker.cold.end()
	})
}

// countingLog counts how often it is asked where a replay begins.
type countingLog struct {
	*MemoryLog

	asked *int
	err   error
}

func (l *countingLog) LastBytes(ctx context.Context, epoch string, bytes int64) (uint64, error) {
	*l.asked++
	if l.err != nil {
		return 0, l.err
	}
	return l.MemoryLog.LastBytes(ctx, epoch, bytes)
}
