// Package web is the chat as a page: the files under dist, which Vite builds
// from src, and the handler that serves them.
package web

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed dist
var dist embed.FS

// Option sets what the page is told of its server.
type Option func(*options)

type options struct{ maxContent int }

// WithMaxContent tells the page how many bytes the content of a message may
// have, to which it scales images down. Default: 1 MiB, as the service's.
func WithMaxContent(n int) Option {
	return func(o *options) { o.maxContent = n }
}

// Handler serves the page at / and its files beside it. It may stand below
// another path behind [http.StripPrefix], together with the service: the page
// calls the service below its own URL. Whatever else is asked for is not found. The handler
// is safe for concurrent use, and allocates nothing that lasts for a request.
func Handler(opts ...Option) http.Handler {
	o := options{maxContent: 1 << 20}
	for _, opt := range opts {
		opt(&o)
	}
	p := page{}
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(fmt.Sprintf("web: %v", err)) // the folder's name is a constant
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		p.add(name, content, o)
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("web: %v", err)) // the files are in the binary
	}
	return p
}

// page is the files by path.
type page map[string]*file

// file is one file in each of its encodings.
type file struct {
	contentType string
	immutable   bool       // its name changes with its content
	encodings   []encoding // the smallest first
}

type encoding struct {
	name    string // as in Content-Encoding; empty for the plain file
	etag    string
	content []byte
}

// contentTypes are those of the files in dist. The machine's own table is not
// asked: on some a script is text/plain, which nosniff refuses to run.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".md":          "text/plain; charset=utf-8",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

// add takes in a file of dist. What ends in .br or .gz is an encoding of the
// file without that ending, which comes before it in lexical order.
func (p page) add(name string, content []byte, o options) {
	switch ext := path.Ext(name); ext {
	case ".br":
		p["/"+strings.TrimSuffix(name, ext)].encode("br", content)
	case ".gz":
		p["/"+strings.TrimSuffix(name, ext)].encode("gzip", content)
	case ".html":
		content = bytes.Replace(content, []byte(`name="max-content" content="1048576"`),
			fmt.Appendf(nil, `name="max-content" content="%d"`, o.maxContent), 1)
		f := &file{contentType: "text/html; charset=utf-8"}
		f.encode("", content)
		f.encode("gzip", compress(content))
		p["/"] = f
	default:
		f := &file{contentType: contentTypes[ext], immutable: strings.HasPrefix(name, "assets/")}
		f.encode("", content)
		p["/"+name] = f
	}
}

func (f *file) encode(name string, content []byte) {
	sum := sha256.Sum256(content)
	f.encodings = append(f.encodings, encoding{name, `"` + hex.EncodeToString(sum[:12]) + `"`, content})
	slices.SortFunc(f.encodings, func(a, b encoding) int { return cmp.Compare(len(a.content), len(b.content)) })
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, _ = w.Write(content)                               // a buffer takes all
	_ = w.Close()
	return b.Bytes()
}
