package main

import (
	"context"
	"fmt"
	"math"
	"syscall"
	"time"
)

// history is what a server finds when its start is measured.
type history struct {
	messages int
	killed   bool     // the server that stored it was
	flags    []string // of simplechat, to retain it
}

func (h *history) title(size int) string {
	end := "a stop"
	if h.killed {
		end = "SIGKILL"
	}
	if h.messages == 0 {
		return "start with no messages, after " + end
	}
	return fmt.Sprintf("start with %s × %s bytes, after %s", thousands(h.messages), thousands(size), end)
}

// restart measures the start of a system after one that has stored a history in
// dir.
func (cmp *comparison) restart(ctx context.Context, l load, name, dir string) (*result, error) {
	h, server := l.history, cmp.flags.Server
	first, err := systems[name].start(ctx, server, dir, h.flags...)
	if err != nil {
		return nil, err
	}
	defer first.stop() // once more, for errors
	if err := newBench(l.workload, first.addr, demoUser).store(ctx, h.messages); err != nil {
		return nil, fmt.Errorf("store the history: %w", err)
	}
	if h.killed {
		_ = first.end(syscall.SIGKILL) // the error is that
	} else if err := first.end(syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("stop the server that stored the history: %w", err)
	}
	second, err := systems[name].start(ctx, server, dir, h.flags...)
	if err != nil {
		return nil, err
	}
	defer second.stop()
	peak, err := target{second.pid()}.peak()
	if err != nil {
		return nil, err
	}
	if err := newBench(l.workload.reading(), second.addr, demoUser).recall(ctx, h.messages); err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	return &result{startTime: second.took, Server: &serverResult{PeakBytes: peak}}, nil
}

// storing is the workload that stores a history: as fast as the server takes it,
// on whichever connection is free.
func storing(size int) workload {
	w := crowd(0, math.Inf(1))
	w.Size = size
	return w
}

// reading is the workload of one who reads the history.
func (w workload) reading() workload {
	w.Subscribers, w.Publishers, w.History = 1, 0, historyAll
	return w
}

// Bounds for a history to be stored and read: a server that died does not answer.
const (
	storeTime  = time.Minute
	recallTime = 10 * time.Second
)

// store sends n messages, and returns when all are acknowledged.
func (b *bench) store(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	defer b.close()
	if err := b.connectPublishers(ctx); err != nil {
		return err
	}
	if err := b.pubs.openLoop(ctx, b.pubs.conns[0].free, b.workload.Rate, n); err != nil {
		return err
	}
	b.drain(ctx)
	if err := b.pubs.broken(); err != nil {
		return err
	}
	if stored := b.pubs.stored.Load(); stored != int64(n) {
		return fmt.Errorf("%d of %d messages were acknowledged", stored, n)
	}
	return nil
}

// recall returns when it has read n messages of others.
func (b *bench) recall(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	defer b.close()
	if err := b.subscribe(ctx); err != nil {
		return err
	}
	for {
		c, _ := b.tallies.counts()
		if c.foreign == int64(n) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the server has %d messages, not %d", c.foreign, n)
		}
		wait(ctx, pollTime)
	}
}
