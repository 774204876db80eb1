// Package nosecret searches the logs of programs for the passwords that this repository's
// tests use.
package nosecret

import (
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Secrets are the texts to search for: a password, the parts of its base64 form behind
// user names of any length, other passwords, and the beginnings of tokens and hashes.
var Secrets = []string{"qwerty", "cXdlcnR5", "F3ZXJ0e", "d2VydHk", "s3cr3t", "wr0ng", "sct_", "$argon2id$"}

// Check fails a test if a secret is in log.
func Check(tb testing.TB, log string) {
	tb.Helper()
	if found := find(log); found != "" {
		tb.Errorf("a secret is in the log: %q", found)
	}
}

// find returns a secret in a text with the text around it, or the empty string.
func find(text string) string {
	for _, secret := range Secrets {
		if at := strings.Index(text, secret); at >= 0 {
			return text[max(0, at-200):min(len(text), at+100)]
		}
	}
	return ""
}

// Logger returns a logger of all levels for a test. At its end the test fails if a
// secret was logged. The lines go to each of to, too.
func Logger(tb testing.TB, to ...io.Writer) *slog.Logger {
	tb.Helper()
	w := &writer{to: to}
	tb.Cleanup(func() {
		if found := w.first(); found != "" {
			tb.Errorf("a secret is in the log: %q", found)
		}
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// writer looks at each line. It is safe for concurrent use.
type writer struct {
	to []io.Writer

	mu    sync.Mutex // guards found
	found string     // the first line with a secret
}

// Write implements [io.Writer].
func (w *writer) Write(p []byte) (int, error) {
	if found := find(string(p)); found != "" {
		w.mu.Lock()
		if w.found == "" {
			w.found = found
		}
		w.mu.Unlock()
	}
	for _, to := range w.to {
		if _, err := to.Write(p); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *writer) first() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found
}
