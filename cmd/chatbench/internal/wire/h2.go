package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// hugeWindow is the flow-control window that is granted, for a connection
	// and for each stream: the largest there is (RFC 9113, section 6.9.1), so
	// that no update is due until credit bytes are used up.
	hugeWindow    = 1<<31 - 1
	defaultWindow = 1<<16 - 1
	topUp         = 1 << 29
)

// h2Client is a dialect over HTTP/2.
type h2Client struct {
	dialect dialect
	list    []hpack.HeaderField
	send    []hpack.HeaderField
}

// pseudoFields returns the header fields of a request.
func pseudoFields(scheme, authority, path string, fields [][2]string) []hpack.HeaderField {
	all := make([]hpack.HeaderField, 0, 16)
	all = append(all,
		hpack.HeaderField{Name: ":method", Value: "POST"},
		hpack.HeaderField{Name: ":scheme", Value: scheme},
		hpack.HeaderField{Name: ":authority", Value: authority},
		hpack.HeaderField{Name: ":path", Value: path},
	)
	for _, f := range fields {
		all = append(all, hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return all
}

// h2Conn is a client's end of an HTTP/2 connection.
type h2Conn struct {
	reader *http2.Framer
	peer   peerSettings // from its first frame: later settings only open windows wider, and may be ignored

	mu     sync.Mutex // guards all below: sends and answers to pings come from two goroutines
	out    *bufio.Writer
	writer *http2.Framer
	enc    *hpack.Encoder
	encBuf bytes.Buffer

	dec    *hpack.Decoder
	answer answer // of the header block being read
	credit int    // bytes of the connection since its window was topped up
}

// peerSettings are the limits in the server's settings.
type peerSettings struct {
	streams  uint32
	window   uint32
	maxFrame uint32
	table    uint32
}

// newH2Conn opens an HTTP/2 connection on conn. If it is small, flow control
// leaves the server no more than the protocol's default.
func newH2Conn(conn net.Conn, small bool) (*h2Conn, error) {
	c := &h2Conn{
		out:  bufio.NewWriterSize(conn, 4<<10),
		peer: peerSettings{streams: 1<<31 - 1, window: defaultWindow, maxFrame: 16 << 10, table: 4096},
	}
	c.writer = http2.NewFramer(c.out, nil)
	c.reader = http2.NewFramer(nil, newReader(conn))
	c.reader.SetReuseFrames()
	c.enc = hpack.NewEncoder(&c.encBuf)
	c.dec = hpack.NewDecoder(4096, c.field)
	_, _ = c.out.WriteString(http2.ClientPreface) // an error stays until the flush
	settings := []http2.Setting{{ID: http2.SettingEnablePush, Val: 0}}
	if !small {
		settings = append(settings, http2.Setting{ID: http2.SettingInitialWindowSize, Val: hugeWindow})
	}
	_ = c.writer.WriteSettings(settings...)
	if !small {
		_ = c.writer.WriteWindowUpdate(0, hugeWindow-defaultWindow)
	}
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("HTTP/2 preface: %w", err)
	}
	frame, err := c.reader.ReadFrame()
	if err != nil {
		return nil, fmt.Errorf("the server does not speak HTTP/2: %w", err)
	}
	first, ok := frame.(*http2.SettingsFrame)
	if !ok {
		return nil, fmt.Errorf("the server begins with %v, not with its settings", frame.Header())
	}
	for setting, to := range map[http2.SettingID]*uint32{
		http2.SettingMaxConcurrentStreams: &c.peer.streams,
		http2.SettingInitialWindowSize:    &c.peer.window,
		http2.SettingMaxFrameSize:         &c.peer.maxFrame,
		http2.SettingHeaderTableSize:      &c.peer.table,
	} {
		if v, ok := first.Value(setting); ok {
			*to = v
		}
	}
	c.enc.SetMaxDynamicTableSizeLimit(c.peer.table)
	return c, c.acknowledge(first)
}

// field takes a header field of an answer.
func (c *h2Conn) field(f hpack.HeaderField) {
	switch f.Name {
	case ":status":
		c.answer.status = f.Value
	case "grpc-status":
		c.answer.grpcStatus = f.Value
	case "grpc-message":
		c.answer.grpcMessage = f.Value
	}
}

// acknowledge answers the server's settings.
func (c *h2Conn) acknowledge(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writer.WriteSettingsAck()
	return c.out.Flush()
}

// headerBlock encodes fields.
func (c *h2Conn) headerBlock(fields []hpack.HeaderField) []byte {
	c.encBuf.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(f) // a buffer returns no error
	}
	return bytes.Clone(c.encBuf.Bytes())
}

// handler takes the frames of streams.
type handler interface {
	// header takes a header block: of an answer, or its trailers.
	header(stream uint32, a answer, end bool) error
	// data takes a piece of an answer's body.
	data(stream uint32, p []byte, flow int, end bool) error
	// reset takes the end of a stream by the server.
	reset(stream uint32, code http2.ErrCode) error
	// window takes an increment of the window for sending.
	window(stream uint32, increment uint32)
}

var errGoAway = errors.New("the server ends the connection (GOAWAY)")

// read hands frames to h until the connection ends.
func (c *h2Conn) read(h handler) error {
	for {
		frame, err := c.reader.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			if err := h.data(f.StreamID, f.Data(), int(f.Length), f.StreamEnded()); err != nil {
				return err
			}
			err = c.consumed(0, int(f.Length), &c.credit)
		case *http2.HeadersFrame:
			err = c.readHeader(h, f)
		case *http2.SettingsFrame:
			err = c.acknowledge(f)
		case *http2.PingFrame:
			err = c.pong(f)
		case *http2.WindowUpdateFrame:
			h.window(f.StreamID, f.Increment)
		case *http2.RSTStreamFrame:
			err = h.reset(f.StreamID, f.ErrCode)
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				err = fmt.Errorf("%w: %v %s", errGoAway, f.ErrCode, f.DebugData())
			}
		}
		if err != nil {
			return err
		}
	}
}

// readHeader reads a header block, all its frames.
func (c *h2Conn) readHeader(h handler, f *http2.HeadersFrame) error {
	stream, end := f.StreamID, f.StreamEnded()
	c.answer = answer{}
	fragment, ended := f.HeaderBlockFragment(), f.HeadersEnded()
	for {
		if _, err := c.dec.Write(fragment); err != nil {
			return err
		}
		if ended {
			break
		}
		frame, err := c.reader.ReadFrame()
		if err != nil {
			return err
		}
		next, ok := frame.(*http2.ContinuationFrame)
		if !ok {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		fragment, ended = next.HeaderBlockFragment(), next.HeadersEnded()
	}
	if err := c.dec.Close(); err != nil {
		return err
	}
	return h.header(stream, c.answer, end)
}

func (c *h2Conn) pong(f *http2.PingFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writer.WritePing(true, f.Data)
	return c.out.Flush()
}

// consumed tops up the window of a stream, or of the connection (0), when much of it is
// used.
func (c *h2Conn) consumed(stream uint32, n int, credit *int) error {
	if *credit += n; *credit < topUp {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writer.WriteWindowUpdate(stream, uint32(*credit))
	*credit = 0
	return c.out.Flush()
}
