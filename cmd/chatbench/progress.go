package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress shows on a terminal what goes on, in one line. A nil progress shows
// nothing. It is not safe for concurrent use; the run's phases use it in turn.
type progress struct {
	w    io.Writer
	last time.Time
}

// progressTick is the shortest time between two updates.
const progressTick = 100 * time.Millisecond

// newProgress returns a progress if w is a terminal.
func newProgress(w io.Writer) *progress {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return &progress{w: w}
	}
	return nil
}

func (p *progress) showf(format string, args ...any) {
	if p == nil || time.Since(p.last) < progressTick {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...) // back, and clear the line
}

func (p *progress) subscribed(n, of int) { p.showf("subscribed: %d of %d", n, of) }

func (p *progress) loading(s sample, w workload) {
	phase := "measuring"
	if s.At < w.Warmup.Seconds() {
		phase = "warming up"
	}
	p.showf("%s: %.1f of %.1f s, %s sends/s, %s deliveries/s", phase, s.At, (w.Warmup + w.Duration).Seconds(), humanCount(s.Sends), humanCount(s.Deliveries))
}

// clear takes the line away.
func (p *progress) clear() {
	if p != nil {
		fmt.Fprintf(p.w, "\r\x1b[K")
	}
}
