package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is a client's end of an HTTP/2 connection, frame by frame.
type peer struct {
	*http2.Framer

	tb    testing.TB
	nc    net.Conn
	block bytes.Buffer
	hpack *hpack.Encoder // writes to block
}

func newPeer(tb testing.TB, nc net.Conn) *peer {
	tb.Helper()
	tb.Cleanup(func() {
		if nc != nil {
			_ = nc.Close()
		}
	})
	p := &peer{tb: tb, nc: nc, Framer: http2.NewFramer(nc, nc)}
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.hpack = hpack.NewEncoder(&p.block)
	return p
}

// begin sends the preface and the settings.
func (p *peer) begin(settings ...http2.Setting) {
	p.tb.Helper()
	if _, err := io.WriteString(p.nc, http2.ClientPreface); err != nil {
		p.tb.Fatal(err)
	}
	p.check(p.WriteSettings(settings...))
}

func (p *peer) check(err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatal(err)
	}
}

// encode returns a header block of fields, each a name and a value.
func (p *peer) encode(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return p.block.Bytes()
}

// headers sends a header block as it is.
func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.tb.Helper()
	p.check(p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.encode(fields...), EndStream: end, EndHeaders: true,
	}))
}

// get is the beginning of a GET's header block.
var get = []string{":method", "GET", ":scheme", "http", ":authority", "example", ":path", "/"}

// post is the same for POST.
var post = []string{":method", "POST", ":scheme", "http", ":authority", "example", ":path", "/"}

// request sends a header block that begins with head.
func (p *peer) request(id uint32, end bool, head []string, more ...string) {
	p.tb.Helper()
	p.headers(id, end, append(append([]string(nil), head...), more...)...)
}

// until reads frames until is reports true, and returns that one. It answers
// nothing.
func (p *peer) until(is func(f http2.Frame) bool) http2.Frame {
	p.tb.Helper()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			p.tb.Fatalf("waiting for a frame: %v", err)
		}
		if is(f) {
			return f
		}
	}
}

// untilEnd reads frames until the server closes the connection, and returns the
// code of the last GOAWAY, or -1.
func (p *peer) untilEnd() int {
	p.tb.Helper()
	code := -1
	for {
		f, err := p.ReadFrame()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			p.tb.Fatal("the connection stays open")
		case err != nil:
			return code
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			code = int(f.ErrCode)
		}
	}
}

// answer reads frames until the response on a stream has ended, and returns it.
func (p *peer) answer(id uint32) *answer {
	p.tb.Helper()
	a := new(answer)
	p.until(func(f http2.Frame) bool { return f.Header().StreamID == id && a.take(f) })
	return a
}

// answer is the output of a server on one stream.
type answer struct {
	interim []string // status codes before the last one
	status  string
	header  http.Header
	body    []byte
	trailer http.Header
	reset   *http2.ErrCode
}

// take takes one frame of the stream, and reports whether it is the last.
func (a *answer) take(f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		fields := make(http.Header)
		for _, field := range f.RegularFields() {
			fields.Add(field.Name, field.Value)
		}
		switch status := f.PseudoValue("status"); {
		case a.status != "":
			a.trailer = fields
		case strings.HasPrefix(status, "1"):
			a.interim = append(a.interim, status)
		default:
			a.status, a.header = status, fields
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		a.body = append(a.body, f.Data()...)
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		a.reset = &f.ErrCode
		return true
	}
	return false
}

// text is the answer's status and body, or how it was reset.
func (a *answer) text() string {
	text := strings.Join(append(a.interim, a.status), " ")
	if len(a.body) > 0 {
		text += " " + string(a.body)
	}
	if a.reset != nil {
		text += " " + a.reset.String()
	}
	return strings.TrimSpace(text)
}
