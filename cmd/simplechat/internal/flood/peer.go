package flood

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// hostile is a client's end of a connection that keeps to no rule.
type hostile struct {
	net.Conn
	*http2.Framer

	ctx   context.Context //nolint:containedctx // done when the flood ends: the connection is closed then
	stop  func() bool
	fault chan<- error
	block bytes.Buffer
	hpack *hpack.Encoder // writes to block
}

// errNotCut means that the server has taken more than it should.
var errNotCut = errors.New("the server does not cut the connection")

// dialTime bounds the opening of a connection: a server may refuse it.
const dialTime = 5 * time.Second

// dialHostile opens a connection that ends with ctx. Over TLS it speaks proto,
// or does not begin if that is empty.
func dialHostile(ctx context.Context, addr string, config *tls.Config, proto string, fault chan<- error) (*hostile, error) {
	plain, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	nc, stop := plain, context.AfterFunc(ctx, func() { _ = plain.Close() })
	if config != nil && proto != "" {
		config = config.Clone()
		config.NextProtos = []string{proto}
		secure := tls.Client(nc, config)
		handshake, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		if err := secure.HandshakeContext(handshake); err != nil {
			stop()
			_ = plain.Close()
			return nil, err
		}
		nc = secure
	}
	p := &hostile{Conn: nc, Framer: http2.NewFramer(nc, nc), ctx: ctx, stop: stop, fault: fault}
	p.AllowIllegalWrites = true
	p.hpack = hpack.NewEncoder(&p.block)
	return p, nil
}

// Close implements [net.Conn].
func (p *hostile) Close() error {
	p.stop()
	return p.Conn.Close()
}

// begin sends the preface and the settings.
func (p *hostile) begin(settings ...http2.Setting) {
	_, _ = io.WriteString(p.Conn, http2.ClientPreface) // an error comes again
	_ = p.WriteSettings(settings...)
}

// encode returns a header block of fields, each a name and a value.
func (p *hostile) encode(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return p.block.Bytes()
}

// call sends the header block of a POST of a user at an address that the limits
// know, with further fields.
func (p *hostile) call(id uint32, end bool, path string, more ...string) error {
	fields := append([]string{
		":method", "POST", ":scheme", "http", ":authority", "localhost", ":path", path,
		"user-name", fmt.Sprintf("user%d", 2+rand.IntN(4)), "user-password", "qwerty",
		"x-forwarded-for", fmt.Sprintf("203.0.113.%d", rand.IntN(256)),
	}, more...)
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(fields...), EndStream: end, EndHeaders: true})
}

// grpc sends a whole call with the largest gRPC message that is empty.
func (p *hostile) grpc(id uint32, path string, more ...string) error {
	err := p.call(id, false, path, append([]string{"content-type", "application/grpc", "te", "trailers"}, more...)...)
	return errors.Join(err, p.WriteData(id, true, make([]byte, 5)))
}

// read discards the server's output until the connection ends.
func (p *hostile) read() { _, _ = io.Copy(io.Discard, p.Conn) }

// hold keeps the connection for a while, most often a short one, without reading.
func (p *hostile) hold() {
	longest := 2 * time.Second
	if rand.IntN(4) == 0 {
		longest = time.Minute
	}
	p.pause(time.Duration(rand.Int64N(int64(longest))))
}

// pause waits, and reports whether the flood still runs.
func (p *hostile) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.ctx.Done():
		return false
	}
}

// repeat sends frames until the server cuts the connection, and reports it as a
// fault if it takes n of them.
func (p *hostile) repeat(n int, send func(i int) error) {
	for i := range n {
		if send(i) != nil {
			return
		}
	}
	p.blame(fmt.Errorf("%w after %d frames", errNotCut, n))
}

// untilCut reads until the server ends the connection, and reports it as a fault
// if it does not.
func (p *hostile) untilCut() {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, p.Conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		p.blame(errNotCut)
	}
}

// blame notes a fault of the server, unless the flood is over.
func (p *hostile) blame(err error) {
	if p.ctx.Err() != nil {
		return
	}
	select {
	case p.fault <- err:
	default: // one is enough
	}
}
