package h2_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chattest"
)

// handlers write responses in all the ways that there are.
var handlers = map[string]http.HandlerFunc{
	"nothing": func(http.ResponseWriter, *http.Request) {},
	"status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
	"two statuses": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
	},
	"text": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
	"html": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	"html in two writes": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<"))
		_, _ = w.Write([]byte("html>" + strings.Repeat("x", 8<<10)))
	},
	"gif": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("GIF89a")) },
	"typed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "a/b")
		_, _ = w.Write([]byte("<html>"))
	},
	"no type": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = w.Write([]byte("<html>"))
	},
	"encoded": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		_, _ = w.Write([]byte("<html>"))
	},
	"own date":     func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "today") },
	"no date":      func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil },
	"empty write":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) },
	"just held":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 4<<10)) },
	"not held":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 4<<10+1)) },
	"large":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
	"large string": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) },
	"many writes": func(w http.ResponseWriter, _ *http.Request) {
		for i := range 10_000 {
			fmt.Fprintf(w, "%d,", i)
		}
	},
	"flushes": func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		for i := range 100 {
			fmt.Fprintf(w, "%d,", i)
			if err := control.Flush(); err != nil {
				panic(err)
			}
		}
	},
	"flush first": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); _, _ = w.Write([]byte("x")) },
	"no content": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		report(w.Write([]byte("x")))
	},
	"not modified": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotModified)
		report(w.Write([]byte("x")))
	},
	"length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	},
	"length, HEAD": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "500") },
	"length malformed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "x")
		_, _ = io.WriteString(w, "hello")
	},
	"field after the status": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.Header().Set("Late", "1")
	},
	"field changed after the status": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "1")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("A", "2")
	},
	"several values": func(w http.ResponseWriter, _ *http.Request) { w.Header()["A"] = []string{"1", "2"} },
	"bad field": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["A b"] = []string{"1"}
		w.Header().Set("B", "1\r\n2")
	},
	"lower-case key": func(w http.ResponseWriter, _ *http.Request) { w.Header()["lower-case"] = []string{"1"} },
	"connection":     func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "keep-alive") },
	"chunked":        func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Transfer-Encoding", "chunked") },
	"large field":    func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", strings.Repeat("x", 100<<10)) },
	"many fields": func(w http.ResponseWriter, _ *http.Request) {
		for i := range 1000 {
			w.Header().Set(fmt.Sprintf("A-%d", i), strings.Repeat("x", i%300))
		}
	},
	"early hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "a")
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "ok")
	},
	"trailers announced": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "A, B, Content-Length")
		_, _ = io.WriteString(w, "x")
		w.Header().Set("A", "1")
		w.Header().Set("C", "3")
	},
	"trailers by prefix": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"bad name", "0")
	},
	"trailers by prefix, early": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(http.TrailerPrefix+"A", "1") },
	"trailers after a flush": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"A", "1")
	},
	"trailers without values": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "A")
		_, _ = io.WriteString(w, "x")
	},
	"trailers announced by a field that is set": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status, B")
		w.Header().Set("Grpc-Status", "8")
		w.Header().Set("B", "1")
		_, _ = io.WriteString(w, "x")
		w.Header().Set("Grpc-Status", "9")
	},
	"trailers announced and by prefix": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "A, A")
		_, _ = io.WriteString(w, "x")
		w.Header().Set("A", "1")
		w.Header().Set(http.TrailerPrefix+"A", "2")
		w.Header().Set(http.TrailerPrefix+"b", "3")
	},
	"trailers that are forbidden": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Range, If-Match")
		_, _ = io.WriteString(w, "x")
		for _, key := range []string{"Content-Length", "Host", "Te", "Authorization", "Trailer", "If-Match", "Transfer-Encoding", "Connection", "Set-Cookie"} {
			w.Header().Set(http.TrailerPrefix+key, "1")
		}
		w.Header().Set("Range", "1")
		w.Header().Set("If-Match", "1")
	},
	"length twice": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{"5", "5"}
		_, _ = io.WriteString(w, "hello")
	},
	"lengths that differ": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{"5", "6"}
		_, _ = io.WriteString(w, "hello")
	},
	"close notifier": func(w http.ResponseWriter, _ *http.Request) {
		gone := w.(http.CloseNotifier).CloseNotify() //nolint:staticcheck // deprecated, but in use
		select {
		case <-gone:
			panic("the client is there")
		default:
		}
		fmt.Fprint(w, gone == w.(http.CloseNotifier).CloseNotify()) //nolint:staticcheck // as above
	},
	"read deadline passed, then taken back": func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			return
		}
		deadline(w, time.Time{}, time.Unix(1, 0))
		deadline(w, time.Time{}, time.Now().Add(time.Hour))
		_, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, errors.Is(err, os.ErrDeadlineExceeded))
	},
	"abort":               func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"abort after a write": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")); panic(http.ErrAbortHandler) },
	"abort after a flush": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); panic(http.ErrAbortHandler) },
	"panic":               func(http.ResponseWriter, *http.Request) { panic("oops") },
	"goexit":              func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")); runtime.Goexit() },
	"bad status":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(42) },
	"body unread":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
	"body closed": func(w http.ResponseWriter, r *http.Request) {
		_ = r.Body.Close()
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err != nil)
	},
	"body echoed": func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
	"body limited": func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10))
		fmt.Fprint(w, err)
	},
	"write deadline passed": func(w http.ResponseWriter, _ *http.Request) {
		deadline(w, time.Unix(1, 0), time.Time{})
		report(w.Write([]byte("x")))
	},
	"write deadline taken back": func(w http.ResponseWriter, _ *http.Request) {
		deadline(w, time.Now().Add(time.Hour), time.Time{})
		deadline(w, time.Time{}, time.Time{})
	},
	"read deadline passed": func(w http.ResponseWriter, r *http.Request) { readLate(w, r) },
	"full duplex": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, http.NewResponseController(w).EnableFullDuplex())
	},
	"hijack": func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		fmt.Fprint(w, errors.Is(err, http.ErrNotSupported))
	},
	"file": func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", time.Unix(1, 0), strings.NewReader("hello"))
	},
	"error":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) },
	"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/else", http.StatusFound) },
}

func report(n int, err error) {
	if err == nil || n != 0 {
		panic(fmt.Sprintf("wrote %d bytes", n))
	}
}

func deadline(w http.ResponseWriter, write, read time.Time) {
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetWriteDeadline(write), control.SetReadDeadline(read)); err != nil {
		panic(err)
	}
}

func readLate(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		return
	}
	deadline(w, time.Time{}, time.Unix(1, 0))
	_, err := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, errors.Is(err, os.ErrDeadlineExceeded))
}

// A handler's response is the same as from net/http, for everything that a handler may
// do.
func TestResponsesLikeNetHTTP(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	for name, handler := range handlers {
		mux.HandleFunc("/"+strings.ReplaceAll(name, " ", "-"), handler)
	}
	ours, tls, standard := serve(t, &http.Server{Handler: mux}), serveTLS(t, &http.Server{Handler: mux}), serveStandard(t, &http.Server{Handler: mux})
	for _, name := range slices.Sorted(maps.Keys(handlers)) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut} {
			t.Run(name+"/"+method, func(t *testing.T) {
				t.Parallel()
				path := "/" + strings.ReplaceAll(name, " ", "-")
				want := standard.see(t, method, path)
				if got := ours.see(t, method, path); got != want {
					t.Errorf("h2c: got\n%s\nwant\n%s", got, want)
				}
				if got := tls.see(t, method, path); got != want {
					t.Errorf("tls: got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

// endless is a body that ends when it is closed: the server must not wait for it.
type endless struct {
	io.Reader

	closed chan struct{}
	once   sync.Once
}

func newEndless(first string) *endless {
	return &endless{Reader: strings.NewReader(first), closed: make(chan struct{})}
}

func (b *endless) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	<-b.closed
	return 0, io.EOF
}

func (b *endless) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// see calls path and returns all that a client sees of the response. POST has a
// body, and PUT one that does not end.
func (s *server) see(t *testing.T, method, path string) string {
	t.Helper()
	var body io.Reader
	switch method {
	case http.MethodPost:
		body = strings.NewReader(strings.Repeat("hello", 100))
	case http.MethodPut:
		if path == "/body-echoed" || path == "/body-limited" {
			return "" // both ends would wait for each other
		}
		body = newEndless("hello")
	}
	var out strings.Builder
	ctx := httptrace.WithClientTrace(chattest.Context(t, patience), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			fmt.Fprintln(&out, code, header)
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	client := s.client(t, true)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return out.String() + reason(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if date := resp.Header.Get("Date"); date != "" && date != "today" {
		if _, err := http.ParseTime(date); err != nil {
			t.Error(err)
		}
		resp.Header.Set("Date", "now")
	}
	if len(resp.Trailer) > 0 {
		// net/http also tells the length, which gRPC has no use for.
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
	}
	fmt.Fprintf(&out, "%s length=%d uncompressed=%t\n%v\n", resp.Status, resp.ContentLength, resp.Uncompressed, resp.Header)
	if len(got) > 100 {
		got = fmt.Appendf(nil, "%d bytes, %.20q", len(got), got)
	}
	fmt.Fprintf(&out, "%s\n%v %s", got, resp.Trailer, reason(err))
	return out.String()
}

// reason is err without what differs from call to call.
func reason(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if i := strings.Index(text, "stream error:"); i >= 0 {
		if _, after, ok := strings.Cut(text[i:], ";"); ok {
			return "stream error" + after
		}
	}
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i:]
	}
	return text
}
