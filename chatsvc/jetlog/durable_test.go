package jetlog

import (
	"errors"
	"io/fs"
	"os"
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
		if err := b.sync(); err != nil || b.last != step.last {
			t.Errorf("%s: %d, %v, %d was due", step.name, b.last, err, step.last)
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	if err := b.sync(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}
