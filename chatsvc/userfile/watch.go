package userfile

import (
	"context"
	"os"
	"time"
)

// lookEvery is how often [Authenticator.Watch] looks at the files. Looking works where
// notifications do not: on network file systems, and where a directory is replaced by
// a link, as Kubernetes does.
const lookEvery = 250 * time.Millisecond

// Watch reloads the files when they change, until ctx is done. A file that cannot be
// read, or is not valid, is logged once for each change of it.
func (a *Authenticator) Watch(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
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

// fileState tells whether files were changed: the users', and the tokens'.
type fileState [2]os.FileInfo // nil: there is none

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
