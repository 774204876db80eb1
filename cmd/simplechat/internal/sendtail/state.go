package sendtail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gofrs/flock"

	"example.com/simplechat/chatsvc/chatclient"
)

// maxState bounds the size of a state in bytes. A position is far smaller.
const maxState = 4096

// state is a file with a position, which one process has at a time. The zero value keeps
// nothing.
type state struct {
	path  string
	lock  *flock.Flock
	known chatclient.Position // what the file has
	has   bool                // it has a position
}

// openState opens the state in a file, which may be missing. The caller closes it.
func openState(path string) (*state, error) {
	// A device would be read for ever, and replaced by a file.
	if info, err := os.Stat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > maxState) {
		return nil, fmt.Errorf("%s is not a file with a position: name another one", path)
	}
	s := &state{path: path, lock: flock.New(path + ".lock")} // the file itself is replaced
	switch locked, err := s.lock.TryLock(); {
	case err != nil:
		return nil, err
	case !locked:
		return nil, fmt.Errorf("another simplechat tail uses %s: give each a file of its own", path)
	}
	if err := s.read(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// read reads the file.
func (s *state) read() error {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.known.UnmarshalText([]byte(strings.TrimSpace(string(text))))
	if epoch, _, ok := s.known.Offset(); err != nil || !ok || epoch == "" {
		return fmt.Errorf("%s does not hold a position, NUMBER@EPOCH: name another file, or remove it to begin again", s.path)
	}
	s.has = true
	return nil
}

// stored returns the position in the file; ok is false if there is none yet.
func (s *state) stored() (p chatclient.Position, ok bool) { return s.known, s.has }

// save replaces the file. After a crash, also of the machine, it has the position from
// before or this one.
func (s *state) save(p chatclient.Position) error {
	if s.path == "" || s.has && p == s.known {
		return nil
	}
	if err := s.replace(p.String() + "\n"); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	s.known, s.has = p, true
	return nil
}

func (s *state) replace(text string) error {
	next := s.path + ".new"                                                   // the lock keeps others from it
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(next, s.path)
}

// close lets another process have the file.
func (s *state) close() {
	if s.lock != nil {
		_ = s.lock.Close() // the end of the process would do the same
	}
}
