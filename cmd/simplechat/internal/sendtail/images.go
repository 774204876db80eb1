package sendtail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// imageTypes are the ends of the names of image files, by their content.
var imageTypes = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
}

const (
	// maxImageName bounds the part of a file's name that is the sender's, in bytes.
	maxImageName = 32
	// partial is what the name of a file begins with until all of it was written.
	partial = ".partial-"
)

// images is a directory for images. Nothing outside it is written, whatever a name or
// a link in the directory says. A nil one saves nothing.
type images struct {
	path string
	root *os.Root
}

// openImages opens a directory, which is made if it is missing.
func openImages(path string) (*images, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &images{path, root}, nil
}

// save saves a message's image, and returns the path of the file; it is empty if the
// message is no image. An image that was saved before is not saved again.
func (i *images) save(e chatclient.Event) (string, error) {
	if i == nil || e.Message.GetType() != chatpb.ChatMessage_Image {
		return "", nil
	}
	content := e.Message.GetContent()
	kind, ok := imageTypes[http.DetectContentType(content)]
	if !ok {
		kind = ".bin"
	}
	base := fmt.Sprintf("%d-%s", e.Offset, safeName(e.Message.GetFrom()))
	for n := 1; ; n++ {
		name := base + kind
		if n > 1 {
			name = base + "-" + strconv.Itoa(n) + kind
		}
		err := i.write(name, content)
		if errors.Is(err, fs.ErrExist) && !i.has(name, content) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("save the image of message %d: %w", e.Offset, err)
		}
		return filepath.Join(i.path, name), nil
	}
}

// write makes a file, whole or not at all. It fails with [fs.ErrExist] if the name is
// taken.
func (i *images) write(name string, content []byte) error {
	if _, err := i.root.Lstat(name); err == nil {
		return fs.ErrExist
	}
	_ = i.root.Remove(partial + name) // of a process that was killed
	file, err := i.root.OpenFile(partial+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer i.root.Remove(partial + name) //nolint:errcheck // the file has another name, or the error is known
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return i.root.Link(partial+name, name) // unlike a rename, it overwrites nothing
}

// has reports whether a file has this content.
func (i *images) has(name string, content []byte) bool {
	info, err := i.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(content)) {
		return false
	}
	existing, err := i.root.ReadFile(name)
	return err == nil && bytes.Equal(existing, content)
}

// safeName returns what of a user's name is harmless in the name of a file.
func safeName(user string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, user)
	return safe[:min(len(safe), maxImageName)]
}
