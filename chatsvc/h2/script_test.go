package h2_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// script is the input of a client on a connection that has begun. The streams that it
// opens are 1, 3 and so on.
type script struct {
	name    string
	send    func(p *peer)
	streams []uint32 // those to wait for
	// want is what this package does where it differs from net/http, and why.
	want, why string
	varies    bool // net/http's versions differ
}

// A client that sends the same gets the same from this package as from
// net/http, but for what has its reason.
func TestFramesLikeNetHTTP(t *testing.T) {
	t.Parallel()
	config := func() *http.Server {
		return &http.Server{
			Handler:        http.HandlerFunc(describe),
			MaxHeaderBytes: 8 << 10,
			HTTP2:          &http.HTTP2Config{MaxReceiveBufferPerStream: 256 << 10, MaxReceiveBufferPerConnection: 1 << 20},
		}
	}
	ours, standard := serve(t, config()), serveStandard(t, config())
	for _, s := range slices.Concat(requestScripts, streamScripts, frameScripts) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			got, theirs := s.play(t, ours), s.play(t, standard)
			switch {
			case s.why == "" && got != theirs:
				t.Errorf("got  %s\nwant %s", got, theirs)
			case s.why != "" && got != s.want:
				t.Errorf("got  %s\nwant %s\n(net/http: %s)", got, s.want, theirs)
			case s.why != "" && theirs == s.want && !s.varies:
				t.Errorf("net/http does the same now: %s", s.why)
			}
		})
	}
}

// describe answers with a description of the request.
func describe(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	header := make([]string, 0, len(r.Header))
	for _, key := range slices.Sorted(maps.Keys(r.Header)) {
		if value := fmt.Sprintf("%s=%q", key, r.Header[key]); len(value) < 200 {
			header = append(header, value)
		}
	}
	fmt.Fprintf(w, "%s %s host=%s length=%d %s %q trailer=%v", r.Method, r.RequestURI, r.Host, r.ContentLength,
		strings.Join(header, " "), body, r.Trailer)
}

// play runs the script against a server, and says how each stream and the
// connection ended.
func (s script) play(t *testing.T, srv *server) string {
	t.Helper()
	p := srv.dial(t)
	marker := [8]byte{'d', 'o', 'n', 'e'}
	s.send(p)
	_ = p.WritePing(false, marker)
	answers := make(map[uint32]*answer)
	open := len(s.streams)
	for _, id := range s.streams {
		answers[id] = new(answer)
	}
	end := "open"
	for ponged := false; end == "open" && (open > 0 || !ponged); {
		f, err := p.ReadFrame()
		if err != nil {
			end = "closed"
			break
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			end = "GOAWAY " + f.ErrCode.String()
		case *http2.PingFrame:
			ponged = ponged || f.IsAck() && f.Data == marker
		default:
			if a := answers[f.Header().StreamID]; a != nil && a.take(f) {
				open--
			}
		}
	}
	var out []string
	for _, id := range s.streams {
		out = append(out, fmt.Sprintf("%d: %s", id, answers[id].text()))
	}
	return strings.Join(append(out, end), "; ")
}

var one = []uint32{1}

// get1 is a script that sends one GET with more fields.
func get1(name string, more ...string) script {
	return script{name: name, streams: one, send: func(p *peer) { p.request(1, true, get, more...) }}
}

// head1 is a script that sends one header block as it is.
func head1(name string, fields ...string) script {
	return script{name: name, streams: one, send: func(p *peer) { p.headers(1, true, fields...) }}
}

// post1 is a script that sends one POST with a body.
func post1(name, body string, more ...string) script {
	return script{name: name, streams: one, send: func(p *peer) {
		p.request(1, false, post, more...)
		p.check(p.WriteData(1, true, []byte(body)))
	}}
}

// differs is s where this package has a reason.
func (s script) differs(want, why string) script {
	s.want, s.why = want, why
	return s
}

const (
	refusedAsMalformed = "1: PROTOCOL_ERROR; open"
	malformedSays8113  = "section 8.1.1 calls it malformed"
)

var requestScripts = []script{
	get1("get"),
	get1("fields", "b", "2", "a", "1", "b", "3", "x-empty", ""),
	get1("cookie crumbs", "cookie", "a=1", "cookie", "b=2"),
	get1("host and authority", "host", "other"),
	head1("host only", ":method", "GET", ":scheme", "http", ":path", "/", "host", "other"),
	head1("no host", ":method", "GET", ":scheme", "http", ":path", "/"),
	head1("userinfo", ":method", "GET", ":scheme", "http", ":authority", "me@example", ":path", "/"),
	head1("no method", ":scheme", "http", ":path", "/"),
	head1("no scheme", ":method", "GET", ":path", "/"),
	head1("no path", ":method", "GET", ":scheme", "http"),
	head1("empty path", ":method", "GET", ":scheme", "http", ":path", ""),
	head1("relative path", ":method", "GET", ":scheme", "http", ":path", "x"),
	head1("bad escape", ":method", "GET", ":scheme", "http", ":path", "/%zz"),
	head1("query", ":method", "GET", ":scheme", "https", ":path", "/a?b=c"),
	head1("absolute path", ":method", "GET", ":scheme", "http", ":path", "http://other/x"),
	head1("other scheme", ":method", "GET", ":scheme", "ftp", ":path", "/"),
	head1("options *", ":method", "OPTIONS", ":scheme", "http", ":path", "*", ":authority", "example").differs(
		`1: 200 OPTIONS * host=example length=0  "" trailer=map[]; open`, "the handler is asked, as it is for every path"),
	head1("connect", ":method", "CONNECT", ":authority", "example:80"),
	head1("connect with a path", ":method", "CONNECT", ":authority", "example:80", ":path", "/"),
	head1("connect with a scheme", ":method", "CONNECT", ":authority", "example:80", ":scheme", "http"),
	head1("connect without an authority", ":method", "CONNECT"),
	head1("connect with userinfo", ":method", "CONNECT", ":authority", "me@example:80"),
	head1("extended connect", ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "example"),
	head1("pseudo field twice", ":method", "GET", ":method", "GET", ":scheme", "http", ":path", "/"),
	head1("pseudo field unknown", ":method", "GET", ":scheme", "http", ":path", "/", ":x", "y"),
	head1("pseudo field of a response", ":method", "GET", ":scheme", "http", ":path", "/", ":status", "200"),
	head1("pseudo field last", ":method", "GET", ":scheme", "http", "a", "b", ":path", "/"),
	get1("upper case", "X-Upper", "1"),
	get1("bad name", "a b", "1"),
	get1("bad value", "a", "1\n2"),
	get1("zero byte", "a", "1\x002"),
	get1("latin1", "a", "\xe9"),
	get1("connection", "connection", "close").differs(refusedAsMalformed, "section 8.2.2 calls it malformed"),
	get1("transfer-encoding", "transfer-encoding", "chunked").differs(refusedAsMalformed, "section 8.2.2 calls it malformed"),
	get1("te trailers", "te", "trailers"),
	get1("te gzip", "te", "gzip").differs(refusedAsMalformed, "section 8.2.2 calls it malformed"),
	head1("head", ":method", "HEAD", ":scheme", "http", ":authority", "example", ":path", "/"),
	get1("expect without a body", "expect", "100-continue").differs(
		`1: 200 GET / host=example length=0  "" trailer=map[]; open`, "there is nothing to wait for"),
	post1("post", "hello"),
	post1("empty body", ""),
	post1("content-length", "hello", "content-length", "5"),
	post1("content-length too small", "hello", "content-length", "4"),
	post1("content-length too large", "hello", "content-length", "6").differs(refusedAsMalformed, malformedSays8113),
	post1("content-length no number", "hello", "content-length", "five"),
	post1("content-length negative", "hello", "content-length", "-5"),
	post1("content-length twice", "hello", "content-length", "5", "content-length", "5").differs(refusedAsMalformed, malformedSays8113),
	get1("content-length without a body", "content-length", "5").differs(refusedAsMalformed, malformedSays8113),
	get1("content-length 0 without a body", "content-length", "0"),
	get1("too many fields", slices.Repeat([]string{"a", strings.Repeat("b", 100)}, 70)...).differs("1: 431; open", "the status says it"),
	{name: "expect", streams: one, send: func(p *peer) {
		p.request(1, false, post, "expect", "100-continue")
		p.until(func(f http2.Frame) bool {
			h, ok := f.(*http2.MetaHeadersFrame)
			return ok && h.PseudoValue("status") == "100"
		})
		p.check(p.WriteData(1, true, []byte("hello")))
	}},
	{name: "trailers", streams: one, send: func(p *peer) {
		p.request(1, false, post, "trailer", "a, b", "trailer", "content-length")
		p.check(p.WriteData(1, false, []byte("hello")))
		p.headers(1, true, "a", "1", "a", "2", "unknown", "3")
	}},
	{name: "trailers without a body", streams: one, send: func(p *peer) {
		p.request(1, false, post, "trailer", "a")
		p.headers(1, true, "a", "1")
	}},
	script{name: "trailers after too short a body", streams: one, send: func(p *peer) {
		p.request(1, false, post, "trailer", "a", "content-length", "6")
		p.check(p.WriteData(1, false, []byte("hello")))
		p.headers(1, true, "a", "1")
	}}.differs(refusedAsMalformed, malformedSays8113),
	{name: "trailers with a pseudo field", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		p.headers(1, true, ":path", "/")
	}},
	{name: "trailers that do not end", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		p.headers(1, false, "a", "1")
	}},
	{name: "padded body", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteDataPadded(1, true, []byte("hello"), make([]byte, 200)))
	}},
	{name: "body in many frames", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		for _, b := range []byte("hello") {
			p.check(p.WriteData(1, false, []byte{b}))
			p.check(p.WriteData(1, false, nil))
		}
		p.check(p.WriteData(1, true, nil))
	}},
	{name: "header block in many frames", streams: one, send: func(p *peer) {
		block := p.encode(append(slices.Clone(get), "a", "b")...)
		p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true}))
		for i, b := range block {
			p.check(p.WriteContinuation(1, i == len(block)-1, []byte{b}))
		}
	}},
	{name: "two calls", streams: []uint32{1, 3}, send: func(p *peer) {
		p.request(1, false, post)
		p.request(3, false, post)
		p.check(p.WriteData(3, true, []byte("three")))
		p.check(p.WriteData(1, true, []byte("one")))
	}},
}

var streamScripts = []script{
	{name: "reset", send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteRSTStream(1, http2.ErrCodeCancel))
	}},
	{name: "reset twice", send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteRSTStream(1, http2.ErrCodeCancel))
		p.check(p.WriteRSTStream(1, http2.ErrCodeCancel))
	}},
	{name: "reset of an idle stream", send: func(p *peer) { p.check(p.WriteRSTStream(1, http2.ErrCodeCancel)) }},
	{name: "reset of stream 0", send: func(p *peer) { p.check(p.WriteRSTStream(0, http2.ErrCodeCancel)) }},
	{name: "even stream", send: func(p *peer) { p.request(2, true, get) }},
	{name: "even stream reset", send: func(p *peer) { p.check(p.WriteRSTStream(2, http2.ErrCodeCancel)) }},
	{name: "stream 0", send: func(p *peer) { p.request(0, true, get) }},
	script{name: "lower stream", send: func(p *peer) {
		p.request(3, true, get)
		p.untilAnswered(3)
		p.request(1, true, get)
	}}.differs("GOAWAY STREAM_CLOSED", "section 5.1.1 closes the streams in between"),
	{name: "data on an idle stream", send: func(p *peer) { p.check(p.WriteData(1, true, []byte("x"))) }},
	{name: "data after the end", send: func(p *peer) {
		p.request(1, true, append(slices.Clone(get), "x", "y"))
		p.untilAnswered(1)
		p.check(p.WriteData(1, true, []byte("x")))
	}},
	{name: "stream depends on itself", streams: one, send: func(p *peer) {
		p.check(p.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 1, BlockFragment: p.encode(get...), EndStream: true, EndHeaders: true,
			Priority: http2.PriorityParam{StreamDep: 1, Weight: 1},
		}))
	}},
	{name: "priority", streams: one, send: func(p *peer) {
		p.check(p.WritePriority(1, http2.PriorityParam{StreamDep: 3}))
		p.request(1, true, get)
	}},
	{name: "priority of itself", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WritePriority(1, http2.PriorityParam{StreamDep: 1}))
	}},
	{name: "window update of an idle stream", send: func(p *peer) { p.check(p.WriteWindowUpdate(1, 1)) }},
	{name: "window update by 0", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteWindowUpdate(1, 0))
	}},
	{name: "window overflow", streams: one, send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteWindowUpdate(1, 1<<31-1))
	}},
	{name: "window update of a closed stream", send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteRSTStream(1, http2.ErrCodeCancel))
		p.check(p.WriteWindowUpdate(1, 100))
	}},
}

var frameScripts = []script{
	{name: "ping", send: func(p *peer) { p.check(p.WritePing(false, [8]byte{1})) }},
	{name: "ping on a stream", send: func(p *peer) { p.check(p.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8))) }},
	{name: "ping too short", send: func(p *peer) { p.check(p.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7))) }},
	{name: "ping that answers none", send: func(p *peer) { p.check(p.WritePing(true, [8]byte{1})) }},
	{name: "window update of the connection by 0", send: func(p *peer) { p.check(p.WriteWindowUpdate(0, 0)) }},
	{name: "window of the connection overflows", send: func(p *peer) { p.check(p.WriteWindowUpdate(0, 1<<31-1)) }},
	{name: "settings", send: func(p *peer) { p.check(p.WriteSettings(http2.Setting{ID: 99, Val: 1})) }},
	{name: "settings of a wrong length", send: func(p *peer) { p.check(p.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5))) }},
	{name: "settings on a stream", send: func(p *peer) { p.check(p.WriteRawFrame(http2.FrameSettings, 0, 1, nil)) }},
	{name: "settings ack with settings", send: func(p *peer) {
		p.check(p.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6)))
	}},
	{name: "settings: push 2", send: func(p *peer) { p.check(p.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2})) }},
	{name: "settings: window too large", send: func(p *peer) {
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
	}},
	{name: "settings: frames too small", send: func(p *peer) {
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1000}))
	}},
	{name: "settings: window overflows", send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteWindowUpdate(1, 1<<30))
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
	}, want: "GOAWAY FLOW_CONTROL_ERROR", why: "section 6.9.2; go1.26.10 leaves the connection open", varies: true},
	{name: "settings: too many", send: func(p *peer) {
		p.check(p.WriteSettings(slices.Repeat([]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 9}}, 101)...))
	}},
	{name: "settings: 100 window sizes", send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteSettings(slices.Repeat([]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 9}}, 100)...))
	}},
	script{name: "settings: 2 window sizes", send: func(p *peer) {
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 9}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}))
	}}.differs("open", "section 6.5.3 processes the values in order, and h2spec asks for it; the last one counts"),
	{name: "settings ack twice", send: func(p *peer) {
		p.check(p.WriteSettingsAck())
		p.check(p.WriteSettingsAck())
	}},
	{name: "padding longer than the header block", streams: one, send: func(p *peer) {
		p.check(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, []byte{9, 1}))
	}, want: "1: ; GOAWAY PROTOCOL_ERROR", why: "section 6.2; the block is not decoded, so the compression state is lost"},
	script{name: "window update by 0 on an idle stream", streams: one, send: func(p *peer) {
		p.check(p.WriteWindowUpdate(1, 0))
		p.request(1, true, get)
	}}.differs("1: ; GOAWAY PROTOCOL_ERROR", "section 5.1: no other window update is allowed there"),
	{name: "priority of itself on an idle stream", streams: []uint32{3}, send: func(p *peer) {
		p.check(p.WritePriority(101, http2.PriorityParam{StreamDep: 101}))
		p.request(3, true, get)
	}},
	{name: "priority of itself, then a call on it", streams: []uint32{1}, send: func(p *peer) {
		p.check(p.WritePriority(1, http2.PriorityParam{StreamDep: 1}))
		p.until(func(f http2.Frame) bool { _, ok := f.(*http2.RSTStreamFrame); return ok })
		p.request(1, false, post, "trailer", "a")
		p.headers(1, true, "a", "1")
	}},
	{name: "malformed header block on an even stream", streams: []uint32{1, 2}, send: func(p *peer) {
		p.headers(2, true, "A", "b")
		p.request(1, true, get)
	}},
	{name: "push promise", send: func(p *peer) {
		p.check(p.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: p.encode(get...), EndHeaders: true}))
	}},
	{name: "continuation of nothing", send: func(p *peer) { p.check(p.WriteContinuation(1, true, p.encode(get...))) }},
	{name: "header block interrupted", send: func(p *peer) {
		p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(get...)}))
		p.check(p.WritePing(false, [8]byte{}))
	}},
	{name: "header block without sense", send: func(p *peer) {
		p.check(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}))
	}},
	{name: "unknown frame", streams: one, send: func(p *peer) {
		p.check(p.WriteRawFrame(0x42, 0xff, 7, []byte("x")))
		p.request(1, true, get)
	}},
	{name: "goaway", streams: one, send: func(p *peer) {
		p.check(p.WriteGoAway(0, http2.ErrCodeNo, nil))
		p.request(1, true, get)
	}},
	{name: "padding longer than the frame", send: func(p *peer) {
		p.request(1, false, post)
		p.check(p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 1}))
	}},
	{name: "reset of a wrong length", send: func(p *peer) { p.check(p.WriteRawFrame(http2.FrameRSTStream, 0, 1, make([]byte, 3))) }},
	{name: "priority of a wrong length", send: func(p *peer) { p.check(p.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4))) }},
}

// untilAnswered waits for the end of a response.
func (p *peer) untilAnswered(id uint32) { _ = p.answer(id) }

// A client begins with its settings, and with nothing else.
func TestFirstFrame(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(p *peer) error{
		"ping":               func(p *peer) error { return p.WritePing(false, [8]byte{}) },
		"settings ack":       func(p *peer) error { return p.WriteSettingsAck() },
		"headers":            func(p *peer) error { return p.block1(1, get...) },
		"malformed headers":  func(p *peer) error { return p.block1(1, "A", "b") },
		"window update by 0": func(p *peer) error { return p.WriteWindowUpdate(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &http.Server{Handler: http.HandlerFunc(describe)})
			p := newPeer(t, s.dialRaw(t))
			if _, err := io.WriteString(p.nc, http2.ClientPreface); err != nil {
				t.Fatal(err)
			}
			p.check(send(p))
			if code := p.untilEnd(); code != int(http2.ErrCodeProtocol) {
				t.Errorf("ended with the code %d", code)
			}
		})
	}
}

// A frame that the Framer itself refuses to write also ends the connection.
func TestFrameTooLarge(t *testing.T) {
	t.Parallel()
	p := serve(t, &http.Server{Handler: http.HandlerFunc(describe)}).dial(t)
	// The header says more than 16 KiB, and nothing of it need come.
	if _, err := p.nc.Write([]byte{0, 0x40, 1, 0, 0, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	if code := p.untilEnd(); code != int(http2.ErrCodeFrameSize) {
		t.Errorf("ended with the code %d", code)
	}
}

// A header list of which nobody would hold the half ends the connection.
func TestHeaderListFarTooLarge(t *testing.T) {
	t.Parallel()
	p := serve(t, &http.Server{Handler: http.HandlerFunc(describe), MaxHeaderBytes: 4 << 10}).dial(t)
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(get...)}))
	go func() { // CONTINUATION frames without an end (CVE-2023-45288)
		block := slices.Clone(p.encode("a", strings.Repeat("b", 4000)))
		for p.WriteContinuation(1, false, block) == nil {
		}
	}()
	if code := p.untilEnd(); code > int(http2.ErrCodeProtocol) {
		t.Errorf("ended with the code %d", code)
	}
}
