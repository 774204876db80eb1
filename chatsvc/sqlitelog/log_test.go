package sqlitelog_test

import (
	"sync"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/logtest"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// newOpener returns the opener of a log in a directory of its own. As one process has
// a directory, replicas share the log, which is closed with the last of them.
func newOpener(tb testing.TB, opts sqlitelog.Options) logtest.Opener {
	tb.Helper()
	dir := tb.TempDir()
	var mu sync.Mutex // guards all below
	var log *sqlitelog.Log
	users := 0
	return func(tb testing.TB) (chatsvc.Log, func()) {
		tb.Helper()
		mu.Lock()
		defer mu.Unlock()
		if log == nil {
			var err error
			if log, err = sqlitelog.Open(tb.Context(), dir, opts); err != nil {
				tb.Fatal(err)
			}
		}
		users++
		return log, sync.OnceFunc(func() {
			mu.Lock()
			defer mu.Unlock()
			if users--; users > 0 {
				return
			}
			if err := log.Close(); err != nil {
				tb.Errorf("close: %v", err)
			}
			log = nil
		})
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	newLog := func(tb testing.TB, r chatsvc.Retention) logtest.Opener {
		return newOpener(tb, sqlitelog.Options{Retention: r})
	}
	logtest.Log(t, newLog)
	logtest.Resume(t, newLog)
}
