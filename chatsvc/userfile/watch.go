package userfile

import (
	"context"
	"os"
	"time"
)

// pollInterval is the time between two checks of the files by [Authenticator.Watch].
// Unlike notifications, polling works on network file systems, and if a directory is
// replaced by a link, as Kubernetes does.
const pollInterval = 250 * time.Millisecond

// Watch reloads the files when they change, until ctx is done. If a file cannot be
// read or is not valid, that is logged once for each change.
func (a *Authenticator) Watch(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.reloadChanged()
		}
	}
}

// fileState is the state of the users' and the tokens' file, to notice changes.
type fileState [2]os.FileInfo // nil for a missing file

func stateOf(path string) (s fileState) {
	for i, path := range []string{path, path + tokensSuffix} {
		if info, err := os.Stat(path); err == nil {
			s[i] = info
		}
	}
	return s
}

func (s fileState) equals(other fileState) bool {
	for i, info := range s {
		now := other[i]
		if (info == nil) != (now == nil) {
			return false
		}
		if info != nil && (!os.SameFile(info, now) || info.Size() != now.Size() || !info.ModTime().Equal(now.ModTime())) {
			return false
		}
	}
	return true
}
