package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/simplechat/chatsvc/chatclient"
)

// What README says of an older copy of the directory.
func TestOlderCopyGetsAnotherEpoch(t *testing.T) {
	t.Parallel()
	data, older := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "older")
	send := func(dir string) chatclient.Sent {
		p := startServer(t, "--data", dir)
		client, err := chatclient.New("http://"+p.addr, chatclient.WithBasicAuth("user1", "qwerty"))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		sent, err := client.SendText(testContext(t), "hello")
		if err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGTERM)
		p.wait(patience)
		return sent
	}
	first := send(data)
	if err := os.CopyFS(older, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	send(data)
	settings, err := filepath.Glob(filepath.Join(older, "nats/jetstream/$G/streams/chat/meta.*"))
	if err != nil || len(settings) == 0 {
		t.Fatalf("%q, %v", settings, err)
	}
	for _, path := range settings {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if got := send(older); got.Epoch == first.Epoch || got.Offset != 2 {
		t.Errorf("the copy goes on with %+v after %+v", got, first)
	}
}
