//go:build !race

package main

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"example.com/simplechat/chatsvc"
)

// failSync makes the sync that a thread is about to begin fail. The caller holds mu.
func (t *tracer) failSync(thread int) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
	regs.Orig_rax = ^uint64(0) // no system call
	if err := unix.PtraceSetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
	t.failed[thread] = true
}

// failedSync makes EIO the result of a sync that was to fail.
func (t *tracer) failedSync(thread int) {
	delete(t.failed, thread)
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
	result := -int64(unix.EIO)
	regs.Rax = uint64(result)
	if err := unix.PtraceSetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
}

func diskFails(t *testing.T, says *promise) {
	tr := newTracer(t.TempDir())
	cmd := exec.Command(simplechat(t), "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(tr.root, "data"))
	var ended <-chan error
	p := startProcess(t, cmd, func() (err error) {
		ended, err = tr.start(cmd)
		return err
	})
	p.awaitListening()
	was := store(t, p, "before", "")

	tr.setFailing(true)
	send := func(key string) error {
		ctx, call := connect.NewClientContext(testContext(t))
		call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, key)
		_, err := p.client("user1").SendMessage(ctx, text(key))
		return err
	}
	if err := send("first"); codeOf(t, err) != connect.CodeUnavailable || !strings.Contains(err.Error(), http.CanonicalHeaderKey(chatsvc.HeaderIdempotencyKey)) {
		t.Errorf("a send whose sync fails: %v", err)
	}
	says.isKept("Sends get `unavailable`: the message may have been stored or not, so send it again with its `Idempotency-Key`.")
	for range 5 { // earlier writes are not trusted, so each send must fail
		if err := send("second"); codeOf(t, err) != connect.CodeUnavailable {
			t.Errorf("a send while syncs fail: %v", err)
		}
	}
	awaitHealth(t, p, notServing)
	tr.setFailing(false)
	awaitHealth(t, p, serving)
	for _, key := range []string{"first", "second"} {
		if got := store(t, p, key, key); got.epoch != was.epoch {
			t.Errorf("%s is at %v after %v", key, got, was)
		}
	}
	got := history(t, p)
	p.signal(unix.SIGKILL)
	p.wait(patience)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"before", "first", "second"}; !slices.Equal(got, want) {
		t.Errorf("history %q", got)
	}
	// All of it remains after a power cut.
	root := t.TempDir()
	if err := tr.disk.restore(root, nil); err != nil {
		t.Fatal(err)
	}
	left := history(t, startServer(t, "--data", filepath.Join(root, "data")))
	if slices.Sort(left); !slices.Equal(left, got) {
		t.Errorf("history after a power cut: %q", left)
	}
	says.isKept("The server opens the database again, and acknowledges again only when all of it is on the disk.")
}
