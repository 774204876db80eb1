package main

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"
)

// pollInterval is the time between two checks of the files. Unlike notifications, polling
// also works for files behind symbolic links, as in Kubernetes, and on network file
// systems.
const pollInterval = time.Second

// reloader reads files again when they change, or on a signal. If a file cannot be used,
// it logs the reason, and the content from before stays in force. The zero value has no
// files. Add must be called before run.
type reloader struct {
	sources []*source
}

// source is a setting that is read from some files.
type source struct {
	name  string
	load  func() error
	files []string
	seen  []os.FileInfo // nil for a missing file
}

// add makes run call load when one of the files has changed. The caller has called load
// once already.
func (r *reloader) add(name string, load func() error, files ...string) {
	s := &source{name: name, load: load, files: files}
	s.look()
	r.sources = append(r.sources, s)
}

// run checks the files until ctx is done, and reloads all of them for each value of
// hangup.
func (r *reloader) run(ctx context.Context, hangup <-chan os.Signal, logger *slog.Logger) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			all = true
			logger.Info("reloading because of SIGHUP")
		case <-ticker.C:
		}
		for _, s := range r.sources {
			if !s.look() && !all {
				continue
			}
			if err := s.load(); err != nil {
				logger.Error("not reloaded: the old "+s.name+" stays in force until the file is valid", "error", err)
				continue
			}
			logger.Info("reloaded the " + s.name)
		}
	}
}

// look reports whether a file has changed since the last call.
func (s *source) look() bool {
	seen := make([]os.FileInfo, len(s.files))
	for i, name := range s.files {
		seen[i], _ = os.Stat(name) // a file that has disappeared is a change too
	}
	same := slices.EqualFunc(seen, s.seen, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
	})
	s.seen = seen
	return !same
}
