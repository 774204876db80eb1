package jetlog_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
)

// collector collects the entries of a log.
type collector struct {
	mu      sync.Mutex // guards entries
	entries []chatsvc.Entry
	grown   chan struct{}
	failed  error
}

// collect follows log from the start until the test ends or Follow fails.
func collect(tb testing.TB, log chatsvc.Log) *collector {
	tb.Helper()
	state, err := log.State(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	c := &collector{grown: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := log.Follow(ctx, state.Epoch, 1, func(chunk chatsvc.Chunk) error {
			c.change(func() { c.entries = append(c.entries, chunk.Entries...) })
			return nil
		})
		c.change(func() { c.failed = err })
	}()
	tb.Cleanup(func() {
		cancel()
		<-ended
	})
	return c
}

func (c *collector) change(how func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how()
	close(c.grown)
	c.grown = make(chan struct{})
}

// await returns the entries when the record at offset is among them.
func (c *collector) await(tb testing.TB, offset uint64) []chatsvc.Entry {
	tb.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		entries, grown, failed := c.entries, c.grown, c.failed
		c.mu.Unlock()
		if n := len(entries); n > 0 && entries[n-1].Offset >= offset {
			return entries
		}
		if failed != nil {
			tb.Fatalf("follow ended with %v", failed)
		}
		select {
		case <-grown:
		case <-deadline:
			tb.Fatalf("offset %d did not come, %d records did", offset, len(entries))
		}
	}
}

// awaitEnd returns when Follow has failed.
func (c *collector) awaitEnd(tb testing.TB) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		grown, failed := c.grown, c.failed
		c.mu.Unlock()
		if failed != nil {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			tb.Fatal("follow does not end")
		}
	}
}

// appendWhenUp appends a record as soon as the log takes it, and returns its
// offset.
func appendWhenUp(t *testing.T, log *jetlog.Log) uint64 {
	t.Helper()
	return appendKeyWhenUp(t, log, "").Offset
}

// appendKeyWhenUp appends a record with a key as soon as the log takes it.
func appendKeyWhenUp(t *testing.T, log *jetlog.Log, key string) chatsvc.Appended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		got, err := log.Append(ctx, newRecord(t, "there is room again"), key)
		if err == nil {
			return got
		}
		if ctx.Err() != nil {
			t.Fatalf("the log did not come back: %v", err)
		}
		if connect.CodeOf(err) != connect.CodeResourceExhausted && connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatalf("append: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
