package tui

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Images are sent from files, and messages written to files.
func TestImageAndSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	img := testPNG(t, 8, 8)
	s := newScreen(t, 200, 24, newServer(t).options())
	s.await("connected")
	for _, tt := range []struct{ command, says string }{
		{"/save", "there is no image"},
		{"/image", "name the file"},
		{"/image " + filepath.Join(dir, "none.png"), "no such file"},
		{"/image " + dir, "it is not a file"},
		{"/image " + write("text.png", []byte("hello")), "it is not a PNG, JPEG, GIF or WebP image"},
		{"/image " + write("large.png", append(img, make([]byte, maxContent)...)), "it has 1.0 MiB"},
		{"/image '" + write("an image.png", img) + "'", "[image 1: PNG, 8 × 8, "},
		{"/save " + filepath.Join(dir, "out.png"), "✓ saved"},
		{"/save " + filepath.Join(dir, "out.png"), "exists"},
		{"/save 1 " + filepath.Join(dir, "again.png"), "✓ saved"},
		{"/save 17", "no such image"},
		{"/save 1 " + filepath.Join(dir, "no", "dir"), "not saved"},
		{"/nothing", "there is no command /nothing"},
	} {
		s.press("ctrl+u")
		s.enter(tt.command)
		s.await(tt.says)
	}
	for _, name := range []string{"out.png", "again.png"} {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(content, img) {
			t.Errorf("%s has %d bytes: %v", name, len(content), err)
		}
	}
}

// A text that begins with a slash is sent with two.
func TestSlash(t *testing.T) {
	t.Parallel()
	s := newScreen(t, 80, 24, newServer(t).options())
	s.await("connected")
	s.enter("//etc/motd")
	s.until("sent", func() bool { return s.m.window.next == 2 })
	if got := string(s.m.window.find(1).msg.GetContent()); got != "/etc/motd" {
		t.Errorf("the message is %q", got)
	}
}

// A text that was written as one user is not sent as another one unless that is asked for.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	var o outbox
	o.add("user1", &chatpb.ChatMessage{Content: []byte("mine")}, noon)
	o.login("user2")
	if status := o.entries[0].status; !strings.Contains(status, "written as user1") || o.unsent() != 1 {
		t.Errorf("the status is %q", status)
	}
	o.retry("user2")
	if cmd := o.send(&session{}); cmd == nil {
		t.Error("it is not sent at all")
	}
}
