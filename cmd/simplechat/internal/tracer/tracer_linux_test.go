//go:build !race

package tracer

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/cmd/simplechat/internal/disk"
)

// stepsVariable makes this program do the steps, so that a tracer has a program to follow.
const stepsVariable = "TEST_DISK_STEPS"

func TestMain(m *testing.M) {
	if os.Getenv(stepsVariable) == "" {
		os.Exit(m.Run())
	}
	if err := runDiskSteps(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// diskSteps are operations of a program on files, one after the other, and the files that
// remain if the power is cut after each.
var diskSteps = []struct {
	name string
	do   func() error
	left map[string]string // contents of files, "/" for a directory
}{
	{"a directory and a file without a sync", func() error {
		return doAll(os.Mkdir("d", 0o700), os.WriteFile("d/f", []byte("one"), 0o600))
	}, map[string]string{}},
	{"the file is synced, its name is not", func() error { return syncPath("d/f") }, map[string]string{}},
	{"the file's name is synced, its directory's is not", func() error { return syncPath("d") }, map[string]string{}},
	{"the directory's name too", func() error { return syncPath(".") }, map[string]string{"d": "/", "d/f": "one"}},
	{"more is written", func() error { return writeTo("d/f", os.O_WRONLY, 3, "two") }, map[string]string{"d": "/", "d/f": "one"}},
	{"and synced", func() error { return syncPath("d/f") }, map[string]string{"d": "/", "d/f": "onetwo"}},
	{"the beginning is overwritten", func() error { return writeTo("d/f", os.O_WRONLY, 0, "ONE") }, map[string]string{"d": "/", "d/f": "onetwo"}},
	{"in a synchronous write", func() error { return writeTo("d/f", os.O_WRONLY|os.O_SYNC, 6, "three") }, map[string]string{"d": "/", "d/f": "ONEtwothree"}},
	{"the file is cut", func() error { return cutTo("d/f", 6) }, map[string]string{"d": "/", "d/f": "ONEtwothree"}},
	{"and synced", func() error { return syncPath("d/f") }, map[string]string{"d": "/", "d/f": "ONEtwo"}},
	{"a name without data", func() error {
		return doAll(os.WriteFile("d/g", []byte("lost"), 0o600), syncPath("d"))
	}, map[string]string{"d": "/", "d/f": "ONEtwo", "d/g": ""}},
	{"the file is emptied and written again", func() error { return os.WriteFile("d/f", []byte("four"), 0o600) }, map[string]string{"d": "/", "d/f": "ONEtwo", "d/g": ""}},
	{"and synced again", func() error { return syncPath("d/f") }, map[string]string{"d": "/", "d/f": "four", "d/g": ""}},
	{"it is renamed over another", func() error { return os.Rename("d/f", "d/g") }, map[string]string{"d": "/", "d/f": "four", "d/g": ""}},
	{"the renaming is synced", func() error { return syncPath("d") }, map[string]string{"d": "/", "d/g": "four"}},
	{"it is moved elsewhere and removed there", func() error {
		return doAll(os.Rename("d/g", "g"), os.Remove("g"))
	}, map[string]string{"d": "/", "d/g": "four"}},
	{"one directory knows", func() error { return syncPath("d") }, map[string]string{"d": "/"}},
	{"everything is removed", func() error { return os.RemoveAll("d") }, map[string]string{"d": "/"}},
	{"and both know", func() error { return syncPath(".") }, map[string]string{}},
}

func doAll(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// syncPath syncs a file or a directory.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return doAll(f.Sync(), f.Close())
}

func cutTo(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return doAll(f.Truncate(size), f.Close())
}

// writeTo writes text at an offset, the first half with a write, the rest with a
// pwrite.
func writeTo(path string, flags int, offset int64, text string) error {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	half := len(text) / 2
	_, err = f.Seek(offset, io.SeekStart)
	_, err2 := f.WriteString(text[:half])
	_, err3 := f.WriteAt([]byte(text[half:]), offset+int64(half))
	return doAll(err, err2, err3, f.Close())
}

// runDiskSteps does the steps in the working directory, and shows where each
// ends by a new directory.
func runDiskSteps() error {
	for i, step := range diskSteps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if err := os.Mkdir(fmt.Sprintf("step-%d", i), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// After a power cut, the data that a traced program has synced remains, and the other
// data does not.
func TestTracerKnowsWhatIsDurable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), stepsVariable+"=true")
	var output strings.Builder
	cmd.Stderr = &output
	tr := New(root)
	ended, err := tr.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	t.Logf("%d events", len(tr.Events))
	d, step := disk.New(), 0
	for _, e := range tr.Events {
		d.Apply(e)
		if _, ok := e.Names[fmt.Sprintf("step-%d", step)]; !ok {
			continue
		}
		if left, want := leftOn(t, d, nil), diskSteps[step].left; !maps.Equal(left, want) {
			t.Errorf("after %q there is %v, %v was due", diskSteps[step].name, left, want)
		}
		step++
	}
	if step != len(diskSteps) {
		t.Fatalf("%d of %d steps were traced: %s", step, len(diskSteps), output.String())
	}
}

// leftOn returns the files that remain on a disk after a power cut.
func leftOn(tb testing.TB, d *disk.Disk, chance *rand.Rand) map[string]string {
	tb.Helper()
	dir, left := tb.TempDir(), map[string]string{}
	if err := d.Restore(dir, chance); err != nil {
		tb.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || name == "." || strings.HasPrefix(name, "step-"):
			return err
		case entry.IsDir():
			left[name] = "/"
			return nil
		}
		content, err := os.ReadFile(path)
		left[name] = string(content)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return left
}
