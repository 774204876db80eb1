package tui

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// testImage returns an image that is red above and blue below.
func testImage(width, height int) image.Image {
	img := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}})
	for y := height / 2; y < height; y++ {
		for x := range width {
			img.SetColorIndex(x, y, 1)
		}
	}
	return img
}

func testPNG(tb testing.TB, width, height int) []byte {
	tb.Helper()
	var buffer bytes.Buffer
	if err := png.Encode(&buffer, testImage(width, height)); err != nil {
		tb.Fatal(err)
	}
	return buffer.Bytes()
}

// hugePNG returns the beginning of a PNG that claims to have 65,536 × 65,536 pixels.
func hugePNG() []byte {
	header := []byte("IHDR\x00\x00\x00\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00")
	binary.BigEndian.PutUint32(header[4:], 1<<16)
	binary.BigEndian.PutUint32(header[8:], 1<<16)
	file := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(header))
}

// The formats that are sent are recognized, and others are not.
func TestCheckImage(t *testing.T) {
	t.Parallel()
	var asGIF, asJPEG bytes.Buffer
	if err := gif.Encode(&asGIF, testImage(8, 8), nil); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, testImage(8, 8), nil); err != nil {
		t.Fatal(err)
	}
	webp := []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00")
	for _, tt := range []struct {
		name    string
		content []byte
		ok      bool
	}{
		{"PNG", testPNG(t, 8, 8), true},
		{"GIF", asGIF.Bytes(), true},
		{"JPEG", asJPEG.Bytes(), true},
		{"WebP", webp, true},
		{"text", []byte("hello"), false},
		{"nothing", nil, false},
		{"the beginning of a PNG", testPNG(t, 8, 8)[:20], false},
	} {
		if err := checkImage(tt.content); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// An image is not decoded if it has more pixels than there is memory for, nor shown if it
// is broken.
func TestBrokenImages(t *testing.T) {
	t.Parallel()
	whole := testPNG(t, 64, 64)
	for _, content := range [][]byte{hugePNG(), whole[:len(whole)*3/4], []byte("no image"), nil} {
		if preview, err := decodePreview(content); err == nil {
			t.Errorf("%q has a preview of %v", content, preview.Bounds())
		}
	}
	server := newServer(t)
	server.publish(t, "user2", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: hugePNG()})
	server.publish(t, "user2", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: whole[:len(whole)*3/4]})
	server.publish(t, "user2", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: []byte("no image")})
	s := newScreen(t, 60, 40, server.options())
	s.send(tea.ColorProfileMsg{Profile: colorprofile.TrueColor})
	s.await("[image 1: PNG, 65536 × 65536, 33 B]")
	s.await("[image, 8 B]")
	s.until("decoded", func() bool { return s.m.decoding == nil && s.m.window.next == 4 && s.m.window.find(2).pic.broken })
	if strings.Contains(s.text(), "▀") {
		t.Error("a broken image has a preview")
	}
}

// An image is drawn in half blocks: two pixels in each cell.
func TestPreview(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.publish(t, "user2", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: testPNG(t, 400, 200)})
	s := newScreen(t, 80, 40, server.options())
	s.await("[image 1: PNG, 400 × 200, ")
	if strings.Contains(s.text(), "▀") {
		t.Error("there is a preview without colours")
	}
	s.send(tea.ColorProfileMsg{Profile: colorprofile.TrueColor})
	s.await(strings.Repeat("▀", maxPreviewColumns))
	if rows := strings.Count(s.text(), strings.Repeat("▀", maxPreviewColumns)); rows != 12 {
		t.Errorf("it has %d rows", rows)
	}
	const red, blue = "\x1b[38;2;255;0;0;48;2;255;0;0m▀", "\x1b[38;2;0;0;255;48;2;0;0;255m▀"
	content := s.m.View().Content
	if top, bottom := strings.Index(content, red), strings.Index(content, blue); top < 0 || bottom < top {
		t.Errorf("red is at %d, blue at %d: %q", top, bottom, content)
	}
}

// Where an image is transparent the terminal shows.
func TestTransparent(t *testing.T) {
	t.Parallel()
	img := image.NewNRGBA(image.Rect(0, 0, 1, 6))
	img.Set(0, 1, color.NRGBA{255, 0, 0, 255})
	img.Set(0, 2, color.NRGBA{255, 0, 0, 255})
	if got := ansi.Strip(strings.Join(halfBlocks(img, 1, 3), "|")); got != "▄|▀| " {
		t.Errorf("it is drawn as %q", got)
	}
}
