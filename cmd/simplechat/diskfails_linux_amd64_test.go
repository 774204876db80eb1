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
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/simplechat/internal/tracer"
)

func diskFails(t *testing.T, says *promise) {
	tr := tracer.New(t.TempDir())
	cmd := exec.Command(simplechat(t), "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(tr.Root, "data"))
	var ended <-chan error
	p := startProcess(t, cmd, func() (err error) {
		ended, err = tr.Start(cmd)
		return err
	})
	p.awaitListening()
	was := store(t, p, "before", "")

	tr.SetFailing(true)
	send := func(key string) error {
		ctx, call := connect.NewClientContext(chattest.Context(t, patience))
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
	tr.SetFailing(false)
	awaitHealth(t, p, serving)
	for _, key := range []string{"first", "second"} {
		if got := store(t, p, key, key); got.Epoch != was.Epoch {
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
	if err := tr.Disk.Restore(root, nil); err != nil {
		t.Fatal(err)
	}
	left := history(t, startServer(t, "--data", filepath.Join(root, "data")))
	if slices.Sort(left); !slices.Equal(left, got) {
		t.Errorf("history after a power cut: %q", left)
	}
	says.isKept("The server opens the database again, and acknowledges again only when all of it is on the disk.")
}
