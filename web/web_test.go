package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"example.com/simplechat/web"
)

// request asks the page's handler, without a client that would add or take
// away headers of its own.
func request(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// assets returns the paths of what the page consists of, except itself.
func assets(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS("dist"), "assets", func(name string, d fs.DirEntry, err error) error {
		if ext := path.Ext(name); err == nil && !d.IsDir() && ext != ".gz" && ext != ".br" {
			paths = append(paths, "/"+name)
		}
		return err
	})
	if err != nil || len(paths) < 3 {
		t.Fatalf("dist/assets: %v, %v", paths, err)
	}
	return paths
}

func TestPage(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	res := request(h, http.MethodGet, "/")
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "text/html; charset=utf-8" {
		t.Fatalf("status %d, content type %q", res.StatusCode, got)
	}
	body := string(read(t, res.Body))
	// Every file that the page names exists, and none is on another site.
	for _, match := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		name := strings.TrimPrefix(match[1], ".")
		if res := request(h, http.MethodGet, name); res.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", match[1], res.StatusCode)
		}
	}
	if regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style| style=| on[a-z]+=`).MatchString(body) {
		t.Error("the page has a script or style that its policy forbids")
	}
}

func TestWholePageIsUnder70KB(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	sum := 0
	for _, target := range append(assets(t), "/") {
		res := request(h, http.MethodGet, target, "Accept-Encoding", "gzip")
		if got := res.Header.Get("Content-Encoding"); got != "gzip" {
			t.Errorf("%s: encoding %q", target, got)
		}
		sum += len(read(t, res.Body))
	}
	t.Logf("%d bytes", sum)
	if sum >= 70_000 {
		t.Errorf("the page has %d bytes in gzip, want less than 70,000", sum)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	var script string
	for _, name := range assets(t) {
		if path.Ext(name) == ".js" {
			script = name
		}
	}
	plain := read(t, request(h, http.MethodGet, script).Body)
	for _, tt := range []struct{ accept, want string }{
		{"", ""},
		{"identity", ""},
		{"gzip", "gzip"},
		{"GZIP;q=0.5", "gzip"},
		{"br", "br"},
		{"gzip, deflate, br, zstd", "br"},
		{"gzip, br;q=0", "gzip"},
		{"gzip;q=0, br; q=0.000", ""},
		{"*", "br"},
		{"*;q=0.1, br;q=0", "gzip"},
		{"*;q=0", ""},
		{"gzip;q=much", ""},
		{"deflate", ""},
	} {
		t.Run(tt.accept, func(t *testing.T) {
			t.Parallel()
			res := request(h, http.MethodGet, script, "Accept-Encoding", tt.accept)
			if got := res.Header.Get("Content-Encoding"); got != tt.want {
				t.Errorf("encoding %q, want %q", got, tt.want)
			}
			if got := res.Header.Get("Vary"); got != "Accept-Encoding" {
				t.Errorf("Vary %q", got)
			}
			body := read(t, res.Body)
			if tt.want == "gzip" {
				z, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				body = read(t, z)
			}
			if tt.want != "br" && !bytes.Equal(body, plain) {
				t.Error("the body is not the file")
			}
		})
	}
}

func TestCaching(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	for _, target := range append(assets(t), "/") {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			want := "public, max-age=31536000, immutable"
			if target == "/" {
				want = "no-cache"
			}
			res := request(h, http.MethodGet, target)
			etag := res.Header.Get("ETag")
			if got := res.Header.Get("Cache-Control"); got != want {
				t.Errorf("Cache-Control %q, want %q", got, want)
			}
			if zipped := request(h, http.MethodGet, target, "Accept-Encoding", "gzip"); zipped.Header.Get("ETag") == etag {
				t.Error("two encodings have the same ETag")
			}
			for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
				res := request(h, http.MethodGet, target, "If-None-Match", match)
				if body := read(t, res.Body); res.StatusCode != http.StatusNotModified || len(body) > 0 || res.Header.Get("ETag") != etag {
					t.Errorf("If-None-Match %s: status %d, %d bytes, ETag %s", match, res.StatusCode, len(body), res.Header.Get("ETag"))
				}
			}
			if res := request(h, http.MethodGet, target, "If-None-Match", `"other"`); res.StatusCode != http.StatusOK {
				t.Errorf("another ETag: status %d", res.StatusCode)
			}
		})
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	for _, target := range append(assets(t), "/") {
		get := request(h, http.MethodGet, target, "Accept-Encoding", "gzip")
		head := request(h, http.MethodHead, target, "Accept-Encoding", "gzip")
		if body := read(t, head.Body); len(body) > 0 || head.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, %d bytes", target, head.StatusCode, len(body))
		}
		for name := range get.Header {
			if get.Header.Get(name) != head.Header.Get(name) {
				t.Errorf("%s: %s is %q, and %q for HEAD", target, name, get.Header.Get(name), head.Header.Get(name))
			}
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	script := assets(t)[1]
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{http.MethodGet, "/index.html", http.StatusNotFound},
		{http.MethodGet, "/favicon.ico", http.StatusNotFound},
		{http.MethodGet, "/assets/", http.StatusNotFound},
		{http.MethodGet, "/assets/../web.go", http.StatusNotFound},
		{http.MethodGet, script + ".gz", http.StatusNotFound},
		{http.MethodPost, "/elsewhere", http.StatusNotFound},
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
		{http.MethodDelete, script, http.StatusMethodNotAllowed},
		{http.MethodOptions, "/", http.StatusMethodNotAllowed},
	} {
		res := request(h, tt.method, tt.target)
		if res.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.target, res.StatusCode, tt.status)
		}
		if allow := res.Header.Get("Allow"); tt.status == http.StatusMethodNotAllowed && allow != "GET, HEAD" {
			t.Errorf("%s %s: Allow %q", tt.method, tt.target, allow)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	h := web.Handler()
	for _, target := range append(assets(t), "/", "/nothing") {
		header := request(h, http.MethodGet, target).Header
		policy := header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy lacks %s: %s", target, part, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "data:") {
			t.Errorf("%s: the policy is too weak: %s", target, policy)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", target, header)
		}
	}
}

func TestMaxContentIsInThePage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts []web.Option
		want string
	}{
		{"default", nil, `name="max-content" content="1048576"`},
		{"set", []web.Option{web.WithMaxContent(4096)}, `name="max-content" content="4096"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := web.Handler(tt.opts...)
			if body := read(t, request(h, http.MethodGet, "/").Body); !bytes.Contains(body, []byte(tt.want)) {
				t.Errorf("%s is not in %s", tt.want, body)
			}
		})
	}
}

func TestUnderAnotherPath(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/chat/", http.StripPrefix("/chat", web.Handler()))
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, target := range append(assets(t), "/") {
		res, err := http.Get(server.URL + "/chat" + target)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %v, %v", target, res.StatusCode, err)
		}
		res.Body.Close()
	}
}
