package jetlog_test

import (
	"sync"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/logtest"
)

// One process has the directory: its replicas share the log.
func TestEmbeddedResume(t *testing.T) {
	t.Parallel()
	logtest.Resume(t, func(tb testing.TB, r chatsvc.Retention) logtest.Opener {
		dir := tb.TempDir()
		var mu sync.Mutex // guards all below
		var log *jetlog.Log
		users := 0
		return func(tb testing.TB) (chatsvc.Log, func()) {
			mu.Lock()
			defer mu.Unlock()
			if users == 0 {
				opened, err := jetlog.Open(tb.Context(), dir, 0, jetlog.Options{Retention: r})
				if err != nil {
					tb.Fatal(err)
				}
				log = opened
			}
			users++
			return log, func() {
				mu.Lock()
				defer mu.Unlock()
				if users--; users > 0 {
					return
				}
				if err := log.Close(); err != nil {
					tb.Error(err)
				}
			}
		}
	})
}
