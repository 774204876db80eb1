package sendtail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// imageEvent returns the event of an image.
func imageEvent(from, content string) chatclient.Event {
	e := event(from, content)
	e.Message.Type = chatpb.ChatMessage_Image
	return e
}

const (
	png  = "\x89PNG\x0D\x0A\x1A\x0A"
	jpeg = "\xff\xd8\xff"
)

func TestImages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "images")
	images, err := openImages(dir)
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Symlink(outside, filepath.Join(dir, "7-link.png")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		event chatclient.Event
		want  string
	}{
		{"a PNG", imageEvent("ada", png), "7-ada.png"},
		{"the same again", imageEvent("ada", png), "7-ada.png"},
		{"another of that name", imageEvent("ada", png+"2"), "7-ada-2.png"},
		{"a JPEG", imageEvent("ada", jpeg), "7-ada.jpg"},
		{"something else", imageEvent("ada", "<svg>"), "7-ada.bin"},
		{"a path as the name", imageEvent("../../etc/passwd", png), "7-______etc_passwd.png"},
		{"a hidden name", imageEvent(".\x00\n", png), "7-___.png"},
		{"a long name", imageEvent(strings.Repeat("ä", 300), png), "7-" + strings.Repeat("_", 32) + ".png"},
		{"a link in the directory", imageEvent("link", png), "7-link-2.png"},
	} {
		got, err := images.save(tt.event)
		if err != nil || got != filepath.Join(dir, tt.want) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
			continue
		}
		if content, err := os.ReadFile(got); string(content) != string(tt.event.Message.GetContent()) {
			t.Errorf("%s: the file has %q, %v", tt.name, content, err)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file outside the directory was written")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 9 {
		t.Errorf("%d files, %v: %v", len(entries), err, entries)
	}
	if path, err := images.save(event("ada", "a text")); path != "" || err != nil {
		t.Errorf("a text: %q, %v", path, err)
	}
}
