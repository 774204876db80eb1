package chattest

import (
	"context"
	"testing"
	"time"
)

// Context returns a context that ends with the test, or after patience: how long the
// test waits for what must happen.
func Context(tb testing.TB, patience time.Duration) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}
