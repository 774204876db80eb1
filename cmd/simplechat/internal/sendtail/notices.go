package sendtail

import (
	"fmt"
	"io"
	"sync"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/visible"
	"example.com/simplechat/cmd/simplechat/internal/login"
)

// notices are what a person should know while a command runs: lines on standard error.
// They are safe for concurrent use.
type notices struct {
	mu    sync.Mutex // guards all below
	w     io.Writer
	again bool // an attempt has failed, and none has succeeded since
}

func newNotices(w io.Writer) *notices { return &notices{w: w} }

// retry tells that an attempt has failed, the first time until one succeeds.
func (n *notices) retry(r chatclient.Retry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.again {
		n.again = true
		n.printf("%s: %v%s; trying again", r.Server, r.Err, login.Hint(r.Err))
	}
}

// success notes that an attempt has succeeded, and tells it if one has failed before.
func (n *notices) success() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.again {
		n.again = false
		n.printf("connected again")
	}
}

// tellf prints a notice.
func (n *notices) tellf(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.printf(format, args...)
}

// printf prints a notice: what servers say cannot control the terminal. The caller has
// locked mu.
func (n *notices) printf(format string, args ...any) {
	fmt.Fprintf(n.w, "simplechat: %s\n", visible.String(fmt.Sprintf(format, args...)))
}
