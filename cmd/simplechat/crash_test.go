package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/proxy"
)

// restarts is how many times the crash test ends the server. With the race detector they
// are fewer, because it makes each start slow.
func restarts() int {
	if raceDetector() {
		return 10
	}
	return 200
}

// When the server is killed or stopped at any time, no acknowledged message is lost, none
// is stored twice, and a client that watches all the time misses none.
func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	ledger.Report(t, crash(t, restarts(), "--data", filepath.Join(t.TempDir(), "data")))
}

// The crash test finds a server that does lose messages. Of eight ends, one at least comes
// when messages were acknowledged.
func TestCrashTestFindsLoss(t *testing.T) {
	t.Parallel()
	problems := strings.Join(crash(t, 8, "--memory"), "\n")
	if want := "lost: "; !strings.Contains(problems, want) {
		t.Errorf("no problem with %q was found, but:\n%.2000s", want, problems)
	}
}

// crash ends a server with further arguments again and again under load, most times by
// a kill, and returns what is wrong in the end.
func crash(t *testing.T, rounds int, args ...string) []string {
	chance := testkit.NewChance(t)
	args = slices.Concat([]string{"serve", "--listen", "127.0.0.1:0", "--users", load.UsersFile(t)}, load.Unlimited(), args)
	front := proxy.New(t, "")
	l := load.New(t, ledger.New())
	l.StartCrowd(front.URL(), func() int { return 100 })
	l.StartWatcher("left", front.URL)
	l.StartFollower("right", front.URL())
	l.StartProber(front.URL())
	for range rounds {
		cmd := exec.Command(simplechat(t), args...)
		p := startProcess(t, cmd, cmd.Start)
		// The time until the kill is nothing that the test waits for: any will do.
		if chance.IntN(5) == 0 {
			time.Sleep(time.Duration(chance.IntN(150)) * time.Millisecond)
		} else {
			p.awaitListening()
			front.To(p.addr)
			l.AwaitMore(1 + chance.IntN(300))
			time.Sleep(time.Duration(chance.IntN(3000)) * time.Microsecond)
		}
		front.Refuse()
		if chance.IntN(4) == 0 {
			p.signal(syscall.SIGTERM)
		} else {
			p.signal(syscall.SIGKILL)
		}
		p.wait(patience)
	}
	front.To(startServer(t, args[3:]...).addr)
	problems := l.Finish(front.URL())
	t.Logf("%d messages acknowledged", l.Count())
	return problems
}
