package jetlog_test

import (
	"sync"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/logtest"
)

// embedded returns what opens a log in a directory of its own. One process has
// the directory: its replicas share the log.
func embedded(interval time.Duration) func(testing.TB, chatsvc.Retention) logtest.Opener {
	return func(tb testing.TB, r chatsvc.Retention) logtest.Opener {
		dir := tb.TempDir()
		var mu sync.Mutex // guards all below
		var log *jetlog.Log
		users := 0
		return func(tb testing.TB) (chatsvc.Log, func()) {
			mu.Lock()
			defer mu.Unlock()
			if users == 0 {
				opened, err := jetlog.Open(tb.Context(), dir, interval, jetlog.Options{Retention: r, Logger: logger(tb)})
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
	}
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	logtest.Log(t, embedded(0))
}

func TestEmbeddedWithInterval(t *testing.T) {
	t.Parallel()
	logtest.Log(t, embedded(time.Minute))
}

func TestEmbeddedResume(t *testing.T) {
	t.Parallel()
	logtest.Resume(t, embedded(0))
}
