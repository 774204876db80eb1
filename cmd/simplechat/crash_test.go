package main

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// crashes is how many times the crash test kills the server.
const crashes = 50

// Whenever the server is killed, nothing that it acknowledged is lost, nothing
// is there twice, and who watches across all of it misses nothing.
func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	chance := newChance(t)
	args := []string{"serve", "--listen", "127.0.0.1:0", "--retain-messages", "0", "--retain-bytes", "0",
		"--data", filepath.Join(t.TempDir(), "data")}
	front := newProxy(t, "")
	l := newLoad(t)
	size := func() int { return 100 }
	for i := range 4 {
		l.startSender("user"+strconv.Itoa(i+1), front.url(), i > 0, size)
	}
	for _, name := range []string{"left", "right"} {
		l.startWatcher(name, front.url)
	}
	for round := range crashes {
		cmd := exec.Command(simplechat(t), args...)
		p := startProcess(t, cmd, cmd.Start)
		if chance.IntN(5) == 0 {
			time.Sleep(time.Duration(chance.IntN(150)) * time.Millisecond) // the moment of the kill, not a wait for something
		} else {
			p.awaitListening()
			front.to(p.addr)
			l.awaitMore(1 + chance.IntN(300))
			time.Sleep(time.Duration(chance.IntN(3000)) * time.Microsecond)
		}
		p.signal(syscall.SIGKILL)
		p.wait(patience)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	p := startServer(t, args[3:]...)
	front.to(p.addr)
	l.finish(front.url())
}
