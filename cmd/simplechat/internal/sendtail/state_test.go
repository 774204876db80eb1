package sendtail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc/chatclient"
)

func TestState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	s, err := openState(path)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := s.stored(); ok {
		t.Errorf("a new state has %v", p)
	}
	if _, err := openState(path); err == nil || !strings.Contains(err.Error(), "another simplechat tail") {
		t.Errorf("a second process: %v", err)
	}
	want := chatclient.At("E", 7)
	for range 2 {
		if err := s.save(want); err != nil {
			t.Error(err)
		}
	}
	s.close()
	if s, err = openState(path); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if got, ok := s.stored(); !ok || got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBadStates(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "no position": "x", "no epoch": "7", "relative": "-7", "end": "end"} {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openState(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A device, a directory and a large file are neither read nor replaced, and no lock is left
// beside them.
func TestStateIsAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat(" ", maxState+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{os.DevNull, filepath.Join(dir, "."), large} {
		if _, err := openState(path); err == nil || !strings.Contains(err.Error(), "name another one") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Stat(path + ".lock"); err == nil {
			t.Errorf("%s has a lock", path)
		}
	}
}
