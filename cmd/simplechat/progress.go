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

// progress reports the progress of long work on stderr. It is safe for concurrent use.
type progress struct {
	out        io.Writer
	what       string
	isTerminal bool

	mu    sync.Mutex // guards all below
	shown time.Time
	isOn  bool // the last line of the terminal shows the progress
}

// newProgress returns the progress of work that begins now.
func newProgress(out io.Writer, what string) *progress {
	file, isFile := out.(*os.File)
	return &progress{
		out:        out,
		what:       what,
		isTerminal: isFile && term.IsTerminal(int(file.Fd())),
		shown:      time.Now(),
	}
}

// show reports that done of total is finished. A total of zero is unknown. Most calls
// write nothing.
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
		fmt.Fprintf(p.out, "\r%s\x1b[K", text) // erases to the end of the line (ECMA-48)
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
