package bench

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Progress shows the state of a run in one line of a terminal. A nil progress shows
// nothing. It is not safe for concurrent use; the run's phases use it in turn.
type Progress struct {
	w    io.Writer
	last time.Time
}

// progressTick is the shortest time between two updates.
const progressTick = 100 * time.Millisecond

// NewProgress returns a progress if w is a terminal.
func NewProgress(w io.Writer) *Progress {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return &Progress{w: w}
	}
	return nil
}

func (p *Progress) showf(format string, args ...any) {
	if p == nil || time.Since(p.last) < progressTick {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...) // back, and clear the line
}

func (p *Progress) subscribed(n, of int) { p.showf("subscribed: %d of %d", n, of) }

func (p *Progress) loading(s Sample, w Workload) {
	phase := "measuring"
	if s.At < w.Warmup.Seconds() {
		phase = "warming up"
	}
	p.showf("%s: %.1f of %.1f s, %s sends/s, %s deliveries/s", phase, s.At, (w.Warmup + w.Duration).Seconds(), human.Count(s.Sends), human.Count(s.Deliveries))
}

// Clear takes the line away.
func (p *Progress) Clear() {
	if p != nil {
		fmt.Fprintf(p.w, "\r\x1b[K")
	}
}
