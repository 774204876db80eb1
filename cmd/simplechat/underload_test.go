package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/proxy"
)

// If the files of a server change under load, it acknowledges no message that is only in
// a removed file. Either it recovers by itself, and a crash then loses no acknowledged
// message, or it acknowledges no more messages until the file is put back as it was.
func TestFilesChangeUnderLoad(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file string
		change     func(path, aside string) error // aside gets the content of the file at that moment
		recovers   bool                           // without that
	}{
		{"database removed", "chat.db", takeAway, false},
		{"database replaced", "chat.db", replace, true},
		{"log removed", "chat.db-wal", takeAway, true},
		{"log replaced", "chat.db-wal", replace, true},
		{"log cut", "chat.db-wal", cutHalf, true},
		{"directory removed", "", takeAway, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// A cut file loses messages, so the log begins a new epoch.
			problems := changeUnderLoad(t, test.file, test.change, test.recovers)
			if test.name == "log cut" {
				problems = slices.DeleteFunc(problems, isOfNewEpoch)
			}
			ledger.Report(t, problems)
		})
	}
}

// isOfNewEpoch matches the problems that a ledger finds if messages were lost and a new
// epoch began.
func isOfNewEpoch(problem string) bool {
	return regexp.MustCompile("^lost: |^watcher .* (asked for|began with|saw)|^follower .* new epoch true").MatchString(problem)
}

// takeAway gives a file or a directory another name, and puts a copy of what it holds
// at that moment aside.
func takeAway(path, aside string) error {
	gone := aside + ".gone"
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	if info, err := os.Stat(gone); err != nil || info.IsDir() {
		return errors.Join(err, os.CopyFS(aside, os.DirFS(gone)))
	}
	return copyFile(aside, gone)
}

// cutHalf cuts half of a file off.
func cutHalf(path, _ string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()/2)
}

// replace puts a copy of a file in its place and aside. The copy comes at once and whole:
// the server may have made a new file there, which must not be overwritten.
func replace(path, aside string) error {
	whole := aside + ".whole"
	if err := errors.Join(takeAway(path, aside), copyFile(whole, aside)); err != nil {
		return err
	}
	return os.Rename(whole, path)
}

// changeUnderLoad changes a file of a server's directory under load, kills the server,
// and puts what the file held back, unless the server recovers. It returns what is
// wrong then.
func changeUnderLoad(t *testing.T, file string, change func(path, aside string) error, recovers bool) []string {
	chance := testkit.NewChance(t)
	data := filepath.Join(t.TempDir(), "data")
	args := append(load.Unlimited(), "--users", load.UsersFile(t), "--data", data)
	front := proxy.New(t, "")
	l := load.New(t, ledger.New())
	l.StartCrowd(front.URL(), func() int { return 100 })
	l.StartWatcher("watcher", front.URL)
	for range 3 {
		p := startServer(t, args...)
		front.To(p.addr)
		l.AwaitMore(50 + chance.IntN(300))
		path, aside := filepath.Join(data, file), filepath.Join(t.TempDir(), "aside")
		if err := change(path, aside); err != nil {
			t.Fatal(err)
		}
		if recovers { // later acknowledged messages must be stored, too
			l.AwaitMore(100)
		} else {
			awaitHealth(t, p, notServing)
			l.Wait(5 * pause) // time in which nothing may be acknowledged that is lost below
		}
		front.Refuse()
		p.signal(syscall.SIGKILL)
		p.wait(patience)
		if recovers {
			continue
		}
		if err := errors.Join(os.RemoveAll(path), os.Rename(aside, path)); err != nil {
			t.Fatal(err)
		}
	}
	p := startServer(t, args...)
	front.To(p.addr)
	return l.Finish(front.URL())
}

// copyFile copies a file over another one or to where none is.
func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
