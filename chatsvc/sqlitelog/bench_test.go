package sqlitelog_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// BenchmarkAppend stores records of about 130 bytes, with so many waiting at a time.
func BenchmarkAppend(b *testing.B) {
	data := record.Message{Timestamp: 1_790_000_000_000, Content: bytes.Repeat([]byte{'x'}, 100), Type: 1, From: "user1"}.Append(nil)
	for _, waiting := range []int{1, 16, 240, 960} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			log, err := sqlitelog.Open(b.Context(), b.TempDir(), sqlitelog.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var work sync.WaitGroup
			b.ResetTimer()
			for range waiting {
				work.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := log.Append(b.Context(), data, ""); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			work.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// BenchmarkRead reads records of about 130 bytes in chunks of 64 KiB.
func BenchmarkRead(b *testing.B) {
	data := record.Message{Timestamp: 1_790_000_000_000, Content: bytes.Repeat([]byte{'x'}, 100), Type: 1, From: "user1"}.Append(nil)
	log, err := sqlitelog.Open(b.Context(), b.TempDir(), sqlitelog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	const records = 200_000
	var work sync.WaitGroup
	for range 200 {
		work.Go(func() {
			for range records / 200 {
				if _, err := log.Append(b.Context(), data, ""); err != nil {
					b.Error(err)
				}
			}
		})
	}
	work.Wait()
	state, _ := log.State(b.Context())
	b.ReportAllocs()
	read := 0
	for b.Loop() {
		for at := uint64(1); at < state.Next; {
			got, err := log.Read(b.Context(), state.Epoch, at, at+512, 64<<10)
			if err != nil {
				b.Fatal(err)
			}
			read += len(got.Entries)
			at = got.Next
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "records/s")
}
