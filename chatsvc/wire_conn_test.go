package chatsvc_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

const (
	pathList = chatconnect.SimpleChatMessageListProcedure
	pathSend = chatconnect.SimpleChatSendMessageProcedure

	// initialWindow is HTTP/2's default for a stream and for a connection, and
	// Qt's clients start with it.
	initialWindow = 1<<16 - 1
	prefixBytes   = 5
	maxGRPC       = 4 << 20 // largest message that a gRPC client takes by default
	maxBatch      = 64 << 10
)

// emptyBatch is an empty ChatMessages in its envelope.
var emptyBatch = []byte{0, 0, 0, 0, 0}

// qtClient is how a version of Qt's client puts a request on the wire.
type qtClient struct {
	name      string
	userAgent string
	apart     bool // HEADERS and DATA leave in two writes
}

var qtClients = []qtClient{
	{name: "qt6.5", userAgent: "grpc-c++-qtgrpc/6.5.3 (debian/12)", apart: true},
	{name: "qt6.8", userAgent: "grpc-c++-qtgrpc/6.8.3 (debian/12)"},
}

// forEachQt runs test once for each client, with a service of its own behind net/http's
// HTTP/2 server and behind this module's. There is no heartbeat unless opts say so: data
// that is not sent at once is never sent.
func forEachQt(t *testing.T, test func(t *testing.T, w wire), opts ...chatsvc.Option) {
	t.Helper()
	for _, qt := range qtClients {
		for _, transport := range h2cTransports {
			t.Run(qt.name+"/"+transport.name, func(t *testing.T) {
				t.Parallel()
				test(t, newWire(t, qt, transport, opts...))
			})
		}
	}
}

// wire is a service on loopback, and the client to talk to it.
type wire struct {
	face

	qt qtClient
}

// newWire returns a service of its own behind a server for h2c.
func newWire(tb testing.TB, qt qtClient, transport transport, opts ...chatsvc.Option) wire {
	tb.Helper()
	svc := newService(tb, append([]chatsvc.Option{chatsvc.WithHeartbeat(0)}, opts...)...)
	_, handler := svc.Handler()
	return wire{
		face: face{
			service:  svc,
			server:   newServer(tb, handler, transport),
			protocol: wireProtocols[0],
		},
		qt: qt,
	}
}

// dial opens a connection that is closed with the test.
func (w wire) dial(tb testing.TB, settings ...http2.Setting) *wireConn {
	tb.Helper()
	conn, err := net.Dial("tcp", w.server.addr)
	if err != nil {
		tb.Fatal(err)
	}
	if w.server.tls != nil {
		config := w.server.tls.Clone()
		config.NextProtos = []string{"h2"}
		config.ServerName = "example.com"
		conn = tls.Client(conn, config)
	}
	return newWireConn(tb, conn, w.qt, settings...)
}

// wireConn is a client's end of an HTTP/2 connection, frame by frame. It is not
// safe for concurrent use, and reads only while one of its streams is read.
type wireConn struct {
	tb       testing.TB
	conn     net.Conn
	qt       qtClient
	lowWater int // windows below it are filled up again

	framer  *http2.Framer // reads from conn, writes to out
	out     bytes.Buffer
	encoder *hpack.Encoder // writes to block
	block   bytes.Buffer

	window  int // the window for the server
	streams map[uint32]*wireStream
	goAway  *http2.ErrCode // of the last GOAWAY frame
}

// newWireConn begins HTTP/2 on conn. Like Qt, it fills up windows that are half
// empty.
func newWireConn(tb testing.TB, conn net.Conn, qt qtClient, settings ...http2.Setting) *wireConn {
	tb.Helper()
	tb.Cleanup(func() { _ = conn.Close() })
	c := &wireConn{
		tb:       tb,
		conn:     conn,
		qt:       qt,
		lowWater: initialWindow / 2,
		window:   initialWindow,
		streams:  make(map[uint32]*wireStream),
	}
	c.framer = http2.NewFramer(&c.out, bufio.NewReader(conn))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	c.out.WriteString(http2.ClientPreface)
	c.check(c.framer.WriteSettings(append([]http2.Setting{{ID: http2.SettingEnablePush, Val: 0}}, settings...)...))
	c.check(c.flush())
	return c
}

// check ends the test on an error.
func (c *wireConn) check(err error) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatalf("%s: %v", c.qt.name, err)
	}
}

// flush sends the frames written so far in one write.
func (c *wireConn) flush() error {
	_, err := c.conn.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

// call sends a request as the client does: HEADERS with a priority, the body in
// one DATA frame, and an empty DATA frame that ends it. Of the pairs of header
// names and values each replaces what the client sends; an empty value leaves
// it out.
func (c *wireConn) call(path string, body []byte, pairs ...string) *wireStream {
	c.tb.Helper()
	s := &wireStream{conn: c, id: uint32(2*len(c.streams) + 1), window: initialWindow}
	c.streams[s.id] = s
	c.block.Reset()
	for _, field := range c.header(path, pairs) {
		c.check(c.encoder.WriteField(field))
	}
	c.check(c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      s.id,
		BlockFragment: c.block.Bytes(),
		EndHeaders:    true,
		Priority:      http2.PriorityParam{Weight: 15},
	}))
	if c.qt.apart {
		c.check(c.flush())
	}
	c.check(c.framer.WriteData(s.id, false, body))
	c.check(c.framer.WriteData(s.id, true, nil))
	c.check(c.flush())
	return s
}

// header returns the header fields of a request.
func (c *wireConn) header(path string, pairs []string) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":authority", Value: "127.0.0.1"}, // without the port
		{Name: ":method", Value: "POST"},
		{Name: ":path", Value: path},
		{Name: ":scheme", Value: "http"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "service-name", Value: chatconnect.SimpleChatName},
		{Name: "grpc-accept-encoding", Value: "identity,deflate,gzip"},
		{Name: "user-agent", Value: c.qt.userAgent},
		{Name: "te", Value: "trailers"},
		{Name: "user-name", Value: "user1"},
		{Name: "user-password", Value: "qwerty"},
	}
	var header []hpack.HeaderField
	replaced := make(map[string]bool)
	for i := 0; i < len(pairs); i += 2 {
		replaced[pairs[i]] = true
	}
	for _, field := range fields {
		if !replaced[field.Name] {
			header = append(header, field)
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			header = append(header, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	return header
}

// read reads one frame and hands it to its stream.
func (c *wireConn) read() error {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	s := c.streams[frame.Header().StreamID]
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			err = c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			err = c.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		c.goAway = &f.ErrCode
	case *http2.MetaHeadersFrame:
		fields := make(map[string]string)
		for _, field := range f.Fields {
			fields[field.Name] = field.Value
		}
		s.events = append(s.events, wireEvent{header: fields, end: f.StreamEnded()})
	case *http2.DataFrame:
		err = c.consume(s, len(f.Data()), f.StreamEnded())
		s.events = append(s.events, wireEvent{data: bytes.Clone(f.Data()), end: f.StreamEnded()})
	case *http2.RSTStreamFrame:
		s.events = append(s.events, wireEvent{reset: fmt.Errorf("%w: %v", errReset, f.ErrCode), end: true})
	}
	if err != nil || c.out.Len() == 0 {
		return err
	}
	return c.flush()
}

// consume takes n bytes off the windows, and fills up those that are low.
func (c *wireConn) consume(s *wireStream, n int, ended bool) error {
	c.window -= n
	s.window -= n
	if !ended && s.window < c.lowWater {
		if err := c.framer.WriteWindowUpdate(s.id, uint32(initialWindow-s.window)); err != nil {
			return err
		}
		s.window = initialWindow
	}
	if c.window < c.lowWater {
		if err := c.framer.WriteWindowUpdate(0, uint32(initialWindow-c.window)); err != nil {
			return err
		}
		c.window = initialWindow
	}
	return nil
}

// readUntilClosed reads for at most d and returns the error that the connection
// ends with.
func (c *wireConn) readUntilClosed(d time.Duration) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	for {
		if err := c.read(); err != nil {
			return err
		}
	}
}

// mustSend sends the message with the number n, of 8 bytes.
func (c *wireConn) mustSend(tb testing.TB, n int) {
	tb.Helper()
	call := c.call(pathSend, envelope(encoded(tb, numbered(n, 8))))
	call.mustAnswer()
	call.mustMessage()
	if trailer := call.mustEnd(); trailer["grpc-status"] != "0" {
		tb.Errorf("send: %v", trailer)
	}
}

// mustBeSilent checks that no stream gets a frame for d, of the fake clock.
func (c *wireConn) mustBeSilent(d time.Duration) {
	c.tb.Helper()
	if err := c.readUntilClosed(d); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.tb.Fatalf("%s: the connection ended: %v", c.qt.name, err)
	}
	for id, stream := range c.streams {
		if len(stream.events) > 0 {
			c.tb.Errorf("%s: stream %d got %+v", c.qt.name, id, stream.events[0])
		}
	}
}

// errReset is that the server ended a stream by RST_STREAM.
var errReset = errors.New("stream reset")

// wireStream is one call of a wireConn.
type wireStream struct {
	conn   *wireConn
	id     uint32
	window int         // the window for the server
	events []wireEvent // read, but not yet asked for
	ended  bool        // END_STREAM was asked for

	rest    []byte            // of a DATA frame, behind the last message
	trailer map[string]string // of the HEADERS frame that ended the stream
}

// wireEvent is a frame of a stream: HEADERS, DATA or RST_STREAM.
type wireEvent struct {
	header map[string]string
	data   []byte
	reset  error
	end    bool // END_STREAM
}

// next returns the stream's next frame, for which it waits as long as patience.
func (s *wireStream) next() (wireEvent, error) {
	if s.ended {
		return wireEvent{}, io.EOF
	}
	if len(s.events) == 0 {
		if err := s.conn.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return wireEvent{}, err
		}
	}
	for len(s.events) == 0 {
		if err := s.conn.read(); err != nil {
			return wireEvent{}, fmt.Errorf("connection: %w", err)
		}
	}
	event := s.events[0]
	s.events = s.events[1:]
	s.ended = event.end
	return event, event.reset
}

// mustNext returns the stream's next frame, or ends the test.
func (s *wireStream) mustNext() wireEvent {
	s.conn.tb.Helper()
	event, err := s.next()
	s.conn.check(err)
	return event
}

// mustAnswer returns the header of the answer, which must have the status 200.
func (s *wireStream) mustAnswer() map[string]string {
	s.conn.tb.Helper()
	header := s.mustNext().header
	if header[":status"] != "200" {
		s.conn.tb.Fatalf("%s: answered by %v, the HTTP status 200 was due", s.conn.qt.name, header)
	}
	return header
}

// wireMessage is a message with the envelope around it, as it came.
type wireMessage struct {
	flags byte
	data  []byte
	// framed means that its prefix is the beginning of a DATA frame, whole.
	framed bool
}

// message returns the next message, or io.EOF after the last one; then the trailers have
// arrived.
func (s *wireStream) message() (wireMessage, error) {
	got := wireMessage{framed: len(s.rest) == 0}
	body := s.rest
	for first := true; ; first = false {
		if len(body) >= prefixBytes {
			got.flags = body[0]
			end := prefixBytes + int(binary.BigEndian.Uint32(body[1:]))
			if end <= len(body) {
				got.data, s.rest = body[prefixBytes:end], body[end:]
				return got, nil
			}
		}
		event, err := s.next()
		if err != nil {
			return wireMessage{}, err
		}
		if event.header != nil {
			s.trailer = event.header
			if len(body) > 0 {
				return wireMessage{}, fmt.Errorf("the stream ends with %v inside a message", event.header)
			}
			return wireMessage{}, io.EOF
		}
		if first && len(event.data) < prefixBytes {
			got.framed = false
		}
		body = append(body, event.data...)
	}
}

// mustMessage returns the next message, or ends the test.
func (s *wireStream) mustMessage() wireMessage {
	s.conn.tb.Helper()
	msg, err := s.message()
	s.conn.check(err)
	return msg
}

// mustBatch returns the messages of the next batch, or ends the test.
func (s *wireStream) mustBatch() []*chatpb.ChatMessage {
	s.conn.tb.Helper()
	var batch chatpb.ChatMessages
	s.conn.check(proto.Unmarshal(s.mustMessage().data, &batch))
	return batch.GetMessages()
}

// mustHear reads a batch, which must be the one message that numbered made.
func (s *wireStream) mustHear(n, size int) {
	s.conn.tb.Helper()
	batch := s.mustBatch()
	if len(batch) != 1 {
		s.conn.tb.Fatalf("%s: a batch of %d messages, number %d was due", s.conn.qt.name, len(batch), n)
	}
	checkNumbered(s.conn.tb, batch[0], n, size)
}

// mustEnd reads up to the end and returns the trailers, or ends the test. A
// batch on the way is an error.
func (s *wireStream) mustEnd() map[string]string {
	s.conn.tb.Helper()
	msg, err := s.message()
	if !errors.Is(err, io.EOF) {
		s.conn.tb.Fatalf("%s: got %d bytes and %v, the end with trailers was due", s.conn.qt.name, len(msg.data), err)
	}
	return s.trailer
}

// envelope puts the prefix of an uncompressed message before data.
func envelope(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
}

// encoded returns m serialized.
func encoded(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// forEachQtInBubble runs test once for each client in a bubble of
// [testing/synctest]. The server pings and times out as simplechat's own.
func forEachQtInBubble(t *testing.T, test func(t *testing.T, conn *wireConn), opts ...chatsvc.Option) {
	t.Helper()
	for _, qt := range qtClients {
		t.Run(qt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, handler := newService(t, opts...).Handler()
				srv := &http.Server{
					Handler:           handler,
					Protocols:         new(http.Protocols),
					ReadHeaderTimeout: 10 * time.Second,
					IdleTimeout:       3 * time.Minute,
					HTTP2: &http.HTTP2Config{
						SendPingTimeout:  20 * time.Second,
						PingTimeout:      10 * time.Second,
						WriteByteTimeout: 30 * time.Second,
					},
				}
				srv.Protocols.SetUnencryptedHTTP2(true)
				listener := newPipeListener()
				go func() { _ = srv.Serve(listener) }()
				t.Cleanup(func() { _ = srv.Close() })
				test(t, newWireConn(t, listener.dial(), qt))
			})
		})
	}
}

// pipeListener hands out the ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipeListener() *pipeListener {
	closed := make(chan struct{})
	return &pipeListener{
		conns:  make(chan net.Conn),
		closed: closed,
		close:  sync.OnceFunc(func() { close(closed) }),
	}
}

// dial returns the client's end of a new pipe.
func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// Accept implements [net.Listener].
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *pipeListener) Close() error { l.close(); return nil }

// Addr implements [net.Listener].
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
