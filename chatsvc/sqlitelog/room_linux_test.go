package sqlitelog

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
)

// limitedDir names the directory of a process that tests itself with a limit.
const limitedDir = "SQLITELOG_TEST_LIMITED_DIR"

// A file that may not grow, as with a quota, is a full disk for senders: they are told
// that the message was not stored, it is not, and sends succeed once there is room. The
// limit applies to a process, so the test runs in one of its own.
func TestFileSizeLimit(t *testing.T) {
	if dir := os.Getenv(limitedDir); dir != "" {
		fillFile(t, dir)
		return
	}
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFileSizeLimit$", "-test.v")
	child.Env = append(os.Environ(), limitedDir+"="+t.TempDir())
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFileSizeLimit") {
		t.Errorf("%v: %s", err, out)
	}
}

// fillFile appends until the limit of this process ends that, and after it was raised.
func fillFile(t *testing.T, dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	low := syscall.Rlimit{Cur: 512 << 10, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	log := openLog(t, dir, Options{})
	acknowledged := 0
	large := strings.Repeat("x", 8<<10)
	for acknowledged < 1000 {
		if _, err := log.Append(context.Background(), newRecord(large), ""); err != nil {
			if connect.CodeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "was not stored") {
				t.Errorf("with the file as large as it may be: %v", err)
			}
			break
		}
		acknowledged++
	}
	if acknowledged == 0 || acknowledged == 1000 {
		t.Errorf("%d messages were acknowledged", acknowledged)
	}
	if log.Err() == nil {
		t.Error("the log does not say that it is full")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	add(t, log, "room", "")
	closeLog(t, log)
	log = openLog(t, dir, Options{})
	if got := contents(t, log); len(got) != acknowledged+1 || got[uint64(acknowledged+1)] != "room" {
		t.Errorf("%d messages, %d were acknowledged and one more", len(got), acknowledged)
	}
}
