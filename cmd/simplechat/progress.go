package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// terminalPause is the time between two changes of the progress on a terminal.
	terminalPause = 200 * time.Millisecond
	// linePause is the time between two lines of progress elsewhere.
	linePause = 5 * time.Second
)

// progress tells on stderr how much of a long work is done. It is safe for concurrent
// use.
type progress struct {
	out        io.Writer
	what       string
	isTerminal bool

	mu    sync.Mutex // guards all below
	shown time.Time
	isOn  bool // the terminal's last line is the progress
}

// newProgress returns the progress of a work that begins now.
func newProgress(out io.Writer, what string) *progress {
	file, isFile := out.(*os.File)
	return &progress{
		out:        out,
		what:       what,
		isTerminal: isFile && term.IsTerminal(int(file.Fd())),
		shown:      time.Now(),
	}
}

// show tells that done of total is done; zero is an unknown total. Most calls write
// nothing.
func (p *progress) show(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := linePause
	if p.isTerminal {
		pause = terminalPause
	}
	if time.Since(p.shown) < pause {
		return
	}
	p.shown = time.Now()
	text := fmt.Sprintf("%s: %d", p.what, done)
	if total > 0 {
		text = fmt.Sprintf("%s: %d%%", p.what, min(done, total)*100/total)
	}
	if p.isTerminal {
		p.isOn = true
		fmt.Fprintf(p.out, "\r%s\x1b[K", text) // to the line's end nothing is left (ECMA-48)
		return
	}
	fmt.Fprintf(p.out, "%s\n", text)
}

// end removes the progress from a terminal.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isOn {
		fmt.Fprintf(p.out, "\r\x1b[K")
		p.isOn = false
	}
}
