package jetlog_test

import (
	"errors"
	"fmt"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
)

// BenchmarkRead reads records of 130 bytes in chunks.
func BenchmarkRead(b *testing.B) {
	const records = 10_000
	for _, servers := range []int{1, 3} {
		c := newCluster(b, servers)
		log := c.connect(b, "chat", jetlog.Options{})
		defer closeLog(b, log)
		fillWith(b, log, records, string(make([]byte, 118)))
		for _, size := range []uint64{64, 512} {
			b.Run(fmt.Sprintf("servers=%d/chunk=%d", servers, size), func(b *testing.B) {
				epoch := state(b, log).Epoch
				at := uint64(1)
				b.ReportAllocs()
				for read := uint64(0); read < uint64(b.N); {
					got, err := log.Read(b.Context(), epoch, at, at+size, 1<<20)
					if err != nil {
						b.Fatal(err)
					}
					read += uint64(len(got.Entries))
					if at = got.Next; at > records {
						at = 1
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkFollow follows 10,000 records of 130 bytes from the first one.
func BenchmarkFollow(b *testing.B) {
	const records = 10_000
	for _, servers := range []int{1, 3} {
		c := newCluster(b, servers)
		log := c.connect(b, "chat", jetlog.Options{})
		defer closeLog(b, log)
		fillWith(b, log, records, string(make([]byte, 118)))
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			epoch := state(b, log).Epoch
			chunks := 0
			for range b.N {
				err := log.Follow(b.Context(), epoch, 1, func(got chatsvc.Chunk) error {
					chunks++
					if got.Next > records {
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(b.N*records)/float64(chunks), "records/chunk")
		})
	}
}
