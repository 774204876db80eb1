package main

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"
)

// lookEvery is the time between looks at the files. A look is a stat of each; unlike
// notifications it also works for files behind symbolic links, as Kubernetes has
// them, and on network file systems.
const lookEvery = time.Second

// reloader reads files again when they change or when it is told to. What cannot be
// read is reported, and what was read before stays in force. The zero value has no
// files; add is called before run.
type reloader struct {
	sources []*source
}

// source is what is read from some files.
type source struct {
	name  string
	load  func() error
	files []string
	seen  []os.FileInfo // nil where a file is missing
}

// add makes load be called when one of the files has changed. It was called once
// already.
func (r *reloader) add(name string, load func() error, files ...string) {
	s := &source{name: name, load: load, files: files}
	s.look()
	r.sources = append(r.sources, s)
}

// run looks at the files until ctx is done, and reads all of them for each value of
// hangup.
func (r *reloader) run(ctx context.Context, hangup <-chan os.Signal, logger *slog.Logger) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			all = true
			logger.Info("reloading, as SIGHUP asks")
		case <-ticker.C:
		}
		for _, s := range r.sources {
			if !s.look() && !all {
				continue
			}
			if err := s.load(); err != nil {
				logger.Error("not reloaded: the "+s.name+" from before stays in force, until the file is right", "error", err)
				continue
			}
			logger.Info("reloaded the " + s.name)
		}
	}
}

// look reports whether a file has changed since the last look.
func (s *source) look() bool {
	seen := make([]os.FileInfo, len(s.files))
	for i, name := range s.files {
		seen[i], _ = os.Stat(name) // one that is missing is a change as well
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
