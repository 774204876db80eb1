package jetlog

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// The last message file is found wherever it is: after those that have come since,
// and where the retention has removed some of them. Only a directory that is gone
// is an error. That what is found is synced is for the test with power cuts.
func TestLastMessageFileIsFound(t *testing.T) {
	t.Parallel()
	b := &blocks{dir: t.TempDir()}
	for _, step := range []struct {
		name       string
		made, gone []int
		last       int
	}{
		{"none yet", nil, nil, 0},
		{"the first", []int{1}, nil, 1},
		{"nothing new", nil, nil, 1},
		{"two more", []int{2, 3}, nil, 3},
		{"older ones are gone", nil, []int{1, 2}, 3},
		{"some have come and gone", []int{9, 10}, []int{3}, 10},
		{"all are gone", nil, []int{9, 10}, 10},
		{"and there is a new one", []int{11}, nil, 11},
	} {
		for _, n := range step.made {
			if err := os.WriteFile(b.path(n), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range step.gone {
			if err := os.Remove(b.path(n)); err != nil {
				t.Fatal(err)
			}
		}
		before := b.last
		if next, err := b.sync(); err != nil || b.last != step.last || next != (b.last != before) {
			t.Errorf("%s: %d, %v, %v, %d was due", step.name, b.last, next, err, step.last)
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := b.sync(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}

// A sync that has failed makes the next one fail, until the files are written
// anew: it could succeed without what the system could not write.
func TestSyncAfterFailedSyncFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := &blocks{dir: filepath.Join(dir, "msgs"), spare: filepath.Join(dir, "spare")}
	var before []fs.FileInfo
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := os.WriteFile(b.path(n+1), []byte{byte(n)}, 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(b.path(n + 1))
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, info)
	}
	b.last = 2
	if err := b.mend(); err != nil {
		t.Fatal(err)
	}
	aside := b.dir + ".aside"
	if err := os.Rename(b.dir, aside); err != nil {
		t.Fatal(err)
	}
	if _, err := b.sync(); err == nil {
		t.Fatal("no error without a directory")
	}
	if err := os.Rename(aside, b.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := b.sync(); err == nil {
		t.Error("the second sync succeeds")
	}
	if err := b.mend(); err != nil {
		t.Error(err)
	}
	if _, err := b.sync(); err != nil || b.last != 3 {
		t.Errorf("after the files were written anew: %d, %v", b.last, err)
	}
	for i, info := range before {
		data, err := os.ReadFile(b.path(i + 1))
		if err != nil || !bytes.Equal(data, []byte{byte(i)}) {
			t.Errorf("file %d holds %v, %v", i+1, data, err)
		}
		after, err := os.Stat(b.path(i + 1))
		if anew := !os.SameFile(info, after); err != nil || anew != (i+1 >= 2) {
			t.Errorf("file %d was written anew: %v, %v", i+1, anew, err)
		}
	}
}
