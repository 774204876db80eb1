package h2_test

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/h2"
)

// step is one frame of a sequence that both servers get.
type step struct {
	name  string
	id    uint32
	frame []byte
	why   string // the servers treat the request differently, and why
}

// kind returns the type of the frame.
func (s step) kind() http2.FrameType { return http2.FrameType(s.frame[3]) }

// divergence holds the different answers of the servers to the last of steps.
type divergence struct {
	step

	ours, theirs string
	wasReset     bool // this package has reset the stream before
	wasOpened    bool // a malformed header block has come on this stream or a higher one
	odd          bool // a request with a reason has come
}

// differences are the only ones that the fuzzer may find, with their reasons. After one
// of them, the rest is not compared.
var differences = []struct {
	why string
	is  func(d divergence) bool
}{
	{"a call beyond the limit is refused, so that the client may repeat it; net/http calls it an error if its settings were acknowledged",
		func(d divergence) bool { return strings.Contains(d.ours, "REFUSED_STREAM") }},
	{"section 5.1: HEADERS on a closed stream is an error of the type STREAM_CLOSED",
		func(d divergence) bool {
			return d.ours == "ended STREAM_CLOSED" && d.theirs == "ended PROTOCOL_ERROR" // with the last CONTINUATION, if there are any
		}},
	{"section 5.1: a window update by 0 on an idle stream is an error of the connection, like every other",
		func(d divergence) bool {
			return d.kind() == http2.FrameWindowUpdate && d.ours == "ended PROTOCOL_ERROR" && strings.HasSuffix(d.theirs, "reset PROTOCOL_ERROR; ")
		}},
	{"a request of which the test's table says why", func(d divergence) bool { return d.odd }},
	{"section 5.1.1: a header block opens its stream, and closes lower ones, also if it is malformed",
		func(d divergence) bool { return d.wasOpened }},
	{"section 6.5.3: of several values of one setting the last counts",
		func(d divergence) bool {
			return d.kind() == http2.FrameSettings && d.ours == "settings ack" && d.theirs == "ended PROTOCOL_ERROR"
		}},
	{"section 6.2: padding longer than a HEADERS frame is an error of the connection; the block cannot be decoded",
		func(d divergence) bool {
			return d.kind() == http2.FrameHeaders && http2.Flags(d.frame[4]).Has(http2.FlagHeadersPadded) && d.ours == "ended PROTOCOL_ERROR"
		}},
	{"section 5.1: what comes on a stream that the server has reset was sent before the client knew",
		func(d divergence) bool { return d.wasReset && d.ours == "" }},
}

// FuzzLikeNetHTTP sends sequences of valid and invalid frames to this package
// and to net/http, and fails where they answer a frame differently without a
// reason that is listed.
func FuzzLikeNetHTTP(f *testing.F) {
	for i := range byte(len(operations)) {
		f.Add([]byte{0, 1, 0, i, 1, 0, i, 2, 1, i, 0, 2, 0, 2, 0})
		f.Add([]byte{1, 1, 0, i, 1, 3, 2, 1, 1, i, 2, 2})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if found := diverge(t, sequence(t, data)); found != "" {
			t.Fatal(found)
		}
	})
}

// diverge plays steps to both servers and returns the first difference that is
// not listed; "" if there is none.
func diverge(t *testing.T, steps []step) string {
	t.Helper()
	ours, theirs := playSteps(t, steps, true), playSteps(t, steps, false)
	for i := range steps {
		if ours[i] == theirs[i] {
			continue
		}
		d := divergence{step: steps[i], ours: ours[i], theirs: theirs[i]}
		for j, before := range steps[:i+1] {
			d.odd = d.odd || before.why != ""
			reset := strings.Contains(ours[j], fmt.Sprintf("%d: reset ", before.id))
			d.wasReset = d.wasReset || j < i && reset && before.id == d.id
			d.wasOpened = d.wasOpened || j < i && reset && before.id >= d.id && (before.kind() == http2.FrameHeaders || before.kind() == http2.FrameContinuation)
		}
		for _, known := range differences {
			if known.is(d) {
				return ""
			}
		}
		names := make([]string, 0, i+1)
		for _, s := range steps[:i+1] {
			names = append(names, s.name)
		}
		return fmt.Sprintf("after %s:\ngot  %s\nwant %s", strings.Join(names, "; "), d.ours, d.theirs)
	}
	return ""
}

// operations make a frame for a stream of a parameter.
var operations = []struct {
	name string
	send func(p *peer, id uint32, v byte)
}{
	{"get", func(p *peer, id uint32, _ byte) { _ = p.block1(id, get...) }},
	{"post", func(p *peer, id uint32, _ byte) { p.request(id, false, post, "trailer", "a") }},
	{"data", func(p *peer, id uint32, v byte) { _ = p.WriteData(id, v%2 == 1, make([]byte, v/2)) }},
	{"padded data", func(p *peer, id uint32, v byte) {
		_ = p.WriteDataPadded(id, v%2 == 1, make([]byte, v%5), make([]byte, v/2))
	}},
	{"reset", func(p *peer, id uint32, v byte) { _ = p.WriteRSTStream(id, http2.ErrCode(v)) }},
	{"window update", func(p *peer, id uint32, v byte) {
		_ = p.WriteWindowUpdate(id, []uint32{0, 1, 1 << 16, 1<<31 - 1}[v%4])
	}},
	{"window update of the connection", func(p *peer, _ uint32, v byte) {
		_ = p.WriteWindowUpdate(0, []uint32{0, 1, 1 << 16, 1<<31 - 1}[v%4])
	}},
	{"ping", func(p *peer, _ uint32, v byte) { _ = p.WritePing(v%2 == 1, [8]byte{v}) }},
	{"settings ack", func(p *peer, _ uint32, _ byte) { _ = p.WriteSettingsAck() }},
	{"settings", func(p *peer, _ uint32, v byte) {
		_ = p.WriteSettings(http2.Setting{
			ID:  []http2.SettingID{http2.SettingInitialWindowSize, http2.SettingMaxFrameSize, http2.SettingHeaderTableSize, http2.SettingEnablePush, 99}[v%5],
			Val: []uint32{0, 1, 2, 16 << 10, 1 << 20, 1<<31 - 1, 1 << 31}[v/5%7],
		})
	}},
	{"priority", func(p *peer, id uint32, v byte) {
		_ = p.WritePriority(id, http2.PriorityParam{StreamDep: uint32(v % 8)})
	}},
	{"trailers", func(p *peer, id uint32, v byte) {
		p.headers(id, v%2 == 0, [][]string{{"a", "1"}, {":path", "/"}, {"b", "2"}}[v/2%3]...)
	}},
	{"continuation", func(p *peer, id uint32, v byte) { _ = p.WriteContinuation(id, v%2 == 0, p.encode("a", "b")) }},
	{"first part of a header block", func(p *peer, id uint32, v byte) {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(get...), EndStream: v%2 == 0})
	}},
	{"push promise", func(p *peer, id uint32, v byte) {
		_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: uint32(v), EndHeaders: true})
	}},
	{"unknown frame", func(p *peer, id uint32, v byte) { _ = p.WriteRawFrame(0x50, http2.Flags(v), id, []byte{v}) }},
	{"short frame", func(p *peer, id uint32, v byte) {
		_ = p.WriteRawFrame(http2.FrameType(v%10), http2.Flags(v/10), id, []byte{v, 0, 0})
	}},
	{"odd frame", func(p *peer, id uint32, v byte) {
		_ = p.WriteRawFrame(http2.FrameType(v%10), http2.Flags(v), id, make([]byte, v/10))
	}},
	{"odd request", func(p *peer, id uint32, v byte) {
		fields := slices.Clone(get)
		odd := oddFields[int(v)%len(oddFields)]
		if i := slices.Index(fields, odd.name); i >= 0 {
			fields[i+1] = odd.value
		} else {
			fields = append(fields, odd.name, odd.value)
		}
		p.headers(id, v < 128, fields...)
	}},
	{"goaway", func(p *peer, _ uint32, v byte) { _ = p.WriteGoAway(0, http2.ErrCode(v), nil) }},
}

const malformed = "the request is malformed, and its stream is reset"

// oddFields are added to a request, or take the place of its own.
var oddFields = []struct{ name, value, why string }{
	{":method", "HEAD", ""},
	{":method", "", ""},
	{":path", "", ""},
	{":path", "x", ""},
	{":scheme", "ftp", ""},
	{":authority", "a@b", ""},
	{":unknown", "x", ""},
	{":status", "200", ""},
	{"A", "b", ""},
	{"a", "b\n", ""},
	{"a", "", ""},
	{"content-length", "0", ""},
	{"cookie", "a=b", ""},
	{"te", "trailers", ""},
	{"host", "other", ""},
	{"trailer", "b", ""},
	{"content-length", "x", malformed},
	{"content-length", "3", malformed + " if the body has another length"},
	{"connection", "close", malformed},
	{"te", "gzip", malformed},
	{"upgrade", "h2c", malformed},
	{"expect", "100-continue", "a request without a body waits for nothing"},
	{"x", strings.Repeat("y", 9<<10), "the status says that the header list is too large"},
}

// sequence makes steps of data: an operation, a stream and a parameter each.
func sequence(tb testing.TB, data []byte) []step {
	tb.Helper()
	var sent bytes.Buffer
	p := newPeer(tb, nil)
	p.Framer = http2.NewFramer(&sent, nil)
	p.AllowIllegalWrites = true
	var steps []step
	for ; len(data) >= 3 && len(steps) < 20; data = data[3:] {
		op, id, v := operations[int(data[0])%len(operations)], []uint32{1, 3, 5, 7, 9, 2, 0}[data[1]%7], data[2]
		op.send(p, id, v)
		s := step{name: fmt.Sprintf("%s on %d with %d", op.name, id, v), id: id, frame: bytes.Clone(sent.Bytes())}
		if op.name == "odd request" {
			s.why = oddFields[int(v)%len(oddFields)].why
		}
		steps = append(steps, s)
		sent.Reset()
	}
	return steps
}

// playSteps sends steps one by one, and returns the server's answer to each when nothing
// moves any more. After the end of the connection it answers nothing.
func playSteps(t *testing.T, steps []step, ours bool) (answers []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := &http.Server{
			Handler: http.HandlerFunc(describe), MaxHeaderBytes: 8 << 10,
			HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 3, MaxReceiveBufferPerStream: 256 << 10, MaxReceiveBufferPerConnection: 1 << 20},
		}
		b := &bubble{tb: t, log: logTo(srv), pipe: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		serve, stop := srv.Serve, srv.Close
		if ours {
			b.h2 = h2.New(srv)
			serve, stop = b.h2.Serve, b.h2.Close
		} else {
			srv.Protocols = new(http.Protocols)
			srv.Protocols.SetUnencryptedHTTP2(true)
		}
		b.wg.Go(func() { _ = serve(b.pipe) })
		defer time.Sleep(time.Hour) // net/http's timers
		defer b.wg.Wait()
		defer stop()
		p := b.connect()
		defer p.nc.Close()
		seen := &transcript{streams: make(map[uint32]string)}
		b.wg.Go(func() { seen.read(p.Framer) })
		p.begin()
		synctest.Wait()
		seen.next()
		var stuck atomic.Bool // the server reads no more
		for _, s := range steps {
			if stuck.CompareAndSwap(false, true) {
				b.wg.Go(func() { _, _ = p.nc.Write(s.frame); stuck.Store(false) })
			}
			synctest.Wait()
			answers = append(answers, seen.next())
		}
		if strings.Contains(b.log.String(), "panic serving") {
			t.Error(b.log)
		}
	})
	return answers
}

// transcript is the output of a server, without the parts that it may choose: windows,
// settings, and the pieces of a body.
type transcript struct {
	mu      sync.Mutex // guards all below
	streams map[uint32]string
	conn    string
	ended   bool
}

func (s *transcript) read(framer *http2.Framer) {
	for {
		f, err := framer.ReadFrame()
		s.mu.Lock()
		if err != nil {
			s.end("ended")
			s.mu.Unlock()
			return
		}
		s.take(f)
		s.mu.Unlock()
	}
}

func (s *transcript) take(f http2.Frame) {
	if s.ended {
		return
	}
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		s.streams[id] += fmt.Sprintf(" headers %s", f.PseudoValue("status"))
		if f.StreamEnded() {
			s.streams[id] += " end"
		}
	case *http2.DataFrame:
		s.streams[id] += string(f.Data())
		if f.StreamEnded() {
			s.streams[id] += " end"
		}
	case *http2.RSTStreamFrame:
		s.streams[id] += " reset " + f.ErrCode.String()
	case *http2.PingFrame:
		s.conn += " ping"
	case *http2.SettingsFrame:
		if f.IsAck() {
			s.conn += " settings ack"
		}
	case *http2.GoAwayFrame:
		s.end("ended " + f.ErrCode.String())
	}
}

// end ends the transcript: how long a connection lasts after GOAWAY is the
// server's choice.
func (s *transcript) end(how string) {
	if !s.ended {
		s.ended = true
		s.conn += " " + how
	}
}

// next returns the output since the last call.
func (s *transcript) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.streams)) {
		out = append(out, fmt.Sprintf("%d:%s", id, s.streams[id]))
	}
	out = append(out, strings.TrimSpace(s.conn))
	clear(s.streams)
	s.conn = ""
	return strings.Join(out, "; ")
}
