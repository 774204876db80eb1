package bench

import (
	"os"
	"slices"
	"time"
)

const (
	// SyncBytes is how much SyncTimes writes at a time.
	SyncBytes = 4 << 10
	// syncRounds is how often it does.
	syncRounds = 101
)

// SyncTimes measures what a write to a file in dir and its sync take. The file has
// its size before: to make it grow would take longer, and a server can avoid it.
func SyncTimes(dir string) ([]time.Duration, error) {
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is removed with its directory otherwise
	defer file.Close()           //nolint:errcheck // nothing in it is needed
	if _, err := file.Write(make([]byte, syncRounds*SyncBytes)); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	times, block := make([]time.Duration, syncRounds), make([]byte, SyncBytes)
	for i := range times {
		began := time.Now()
		if _, err := file.WriteAt(block, int64(i*SyncBytes)); err != nil {
			return nil, err
		}
		if err := syncData(file); err != nil {
			return nil, err
		}
		times[i] = time.Since(began)
	}
	return times, nil
}

// MedianTime returns the middle one of some times, 0 of none.
func MedianTime(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	times = slices.Sorted(slices.Values(times))
	return times[len(times)/2]
}
