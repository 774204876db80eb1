package jetlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
)

func BenchmarkAppend(b *testing.B) {
	for _, sync_ := range []time.Duration{0, time.Second} {
		for _, senders := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("sync=%v/senders=%d", sync_, senders), func(b *testing.B) {
				log, err := jetlog.Open(context.Background(), b.TempDir(), sync_, jetlog.Options{Retention: chatsvc.DefaultRetention()})
				if err != nil {
					b.Fatal(err)
				}
				defer log.Close()
				record := bytes.Repeat([]byte("x"), 120)
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				var n atomic.Int64
				for range senders {
					wg.Go(func() {
						for n.Add(1) <= int64(b.N) {
							if _, err := log.Append(context.Background(), record, ""); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for _, records := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprint("records=", records), func(b *testing.B) {
			dir := b.TempDir()
			opts := jetlog.Options{}
			log, err := jetlog.Open(context.Background(), dir, time.Minute, opts)
			if err != nil {
				b.Fatal(err)
			}
			record := bytes.Repeat([]byte("x"), 120)
			var wg sync.WaitGroup
			var n atomic.Int64
			for range 64 {
				wg.Go(func() {
					for n.Add(1) <= int64(records) {
						log.Append(context.Background(), record, "")
					}
				})
			}
			wg.Wait()
			log.Close()
			if os.Getenv("CRASH") != "" {
				os.Remove(dir + "/nats/jetstream/$G/streams/chat/msgs/index.db")
			}
			b.ResetTimer()
			for b.Loop() {
				log, err := jetlog.Open(context.Background(), dir, time.Minute, opts)
				if err != nil {
					b.Fatal(err)
				}
				state, err := log.State(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				enough := errors.New("enough")
				if state.Next > 1 {
					err = log.Follow(context.Background(), 1, func(e chatsvc.Entry) error {
						if e.Offset == state.Next-1 {
							return enough
						}
						return nil
					})
					if err != enough {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				log.Close()
				b.StartTimer()
			}
		})
	}
}
