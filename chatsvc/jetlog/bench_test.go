package jetlog_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
)

// appendMany appends n records by as many goroutines as there are senders.
func appendMany(b *testing.B, log *jetlog.Log, senders, n int) {
	b.Helper()
	record := newRecord(b, strings.Repeat("x", 100))
	var left atomic.Int64
	left.Store(int64(n))
	var work sync.WaitGroup
	for range senders {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := log.Append(b.Context(), record, ""); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
}

func BenchmarkAppend(b *testing.B) {
	for _, interval := range []time.Duration{0, time.Second} {
		for _, senders := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("sync=%v/senders=%d", interval, senders), func(b *testing.B) {
				log, err := jetlog.Open(b.Context(), b.TempDir(), interval, jetlog.Options{Retention: chatsvc.DefaultRetention()})
				if err != nil {
					b.Fatal(err)
				}
				defer closeLog(b, log)
				b.ReportAllocs()
				b.ResetTimer()
				appendMany(b, log, senders, b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

// BenchmarkStart measures from Open to the last retained record.
func BenchmarkStart(b *testing.B) {
	for _, records := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprint("records=", records), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "data")
			log, err := jetlog.Open(b.Context(), dir, time.Minute, jetlog.Options{})
			if err != nil {
				b.Fatal(err)
			}
			appendMany(b, log, 64, records)
			closeLog(b, log)
			b.ResetTimer()
			for range b.N {
				log, err := jetlog.Open(b.Context(), dir, 0, jetlog.Options{})
				if err != nil {
					b.Fatal(err)
				}
				readAll(b, log)
				b.StopTimer()
				closeLog(b, log)
				b.StartTimer()
			}
		})
	}
}

var errEnd = errors.New("all are read")

// readAll follows a log to its end.
func readAll(b *testing.B, log *jetlog.Log) {
	b.Helper()
	state, err := log.State(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if state.First == state.Next {
		return
	}
	err = log.Follow(b.Context(), state.First, func(e chatsvc.Entry) error {
		if e.Offset == state.Next-1 {
			return errEnd
		}
		return nil
	})
	if !errors.Is(err, errEnd) {
		b.Fatal(err)
	}
}
