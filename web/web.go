// Package web is the chat page for browsers: the files under dist, which Vite builds
// from src, and a handler that serves them:
//
//	mux.Handle(svc.Handler())
//	mux.Handle("/", web.Handler())
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

	"example.com/simplechat/chatsvc"
)

//go:embed dist
var dist embed.FS

// Option configures the page. Options are applied in order; if two set the same
// thing, the last one wins.
type Option interface {
	apply(c *config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct{ maxContent int }

// WithMaxContent tells the page the largest content of a message in bytes: the page
// scales larger images down. It should be the value of the service. The default is
// [chatsvc.DefaultMaxContent].
func WithMaxContent(bytes int) Option {
	return optionFunc(func(c *config) { c.maxContent = bytes })
}

// Handler serves the page at / and its files beside it. All other paths are not found.
// The page and the service may be mounted below the same prefix with
// [http.StripPrefix], because the page calls the service at its own URL. The handler is safe
// for concurrent use.
func Handler(opts ...Option) http.Handler {
	c := config{maxContent: chatsvc.DefaultMaxContent}
	for _, opt := range opts {
		opt.apply(&c)
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
		p.add(name, content, c)
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("web: %v", err)) // the files are in the binary
	}
	return p
}

// page is the files by their paths.
type page map[string]*file

// file is one file in each of its encodings.
type file struct {
	contentType string
	immutable   bool       // the name changes with the content
	encodings   []encoding // the smallest first
}

type encoding struct {
	name    string // as in Content-Encoding; empty for the plain file
	etag    string
	content []byte
}

// contentTypes are the types of the files in dist. The machine's own table is not used:
// on some machines a script is text/plain, and with nosniff browsers do not run it.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".md":          "text/plain; charset=utf-8",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

// add adds a file of dist. A name that ends in .br or .gz is an encoding of the
// file without that ending, which comes before it in lexical order.
func (p page) add(name string, content []byte, c config) {
	switch ext := path.Ext(name); ext {
	case ".br":
		p["/"+strings.TrimSuffix(name, ext)].encode("br", content)
	case ".gz":
		p["/"+strings.TrimSuffix(name, ext)].encode("gzip", content)
	case ".html":
		content = bytes.Replace(content, []byte(`name="max-content" content="1048576"`),
			fmt.Appendf(nil, `name="max-content" content="%d"`, c.maxContent), 1)
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
