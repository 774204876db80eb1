package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// PrefixBytes is the length of an envelope's prefix: flags, and the length of
// the content.
const PrefixBytes = 5

// Flags of an envelope that ends a stream.
const (
	flagConnectEnd = 0x02
	flagWebEnd     = 0x80
)

// envelopeScanner takes the envelopes of gRPC, gRPC-Web and Connect apart.
type envelopeScanner struct {
	inner  pieceScanner
	prefix []byte // of the next envelope, as far as it has arrived
	left   int    // bytes of the current one to come
	end    []byte // the envelope that ends the stream, as far as it has arrived
	ending bool
}

// pieceScanner finds messages in the pieces of one ChatMessages.
type pieceScanner interface {
	// piece takes the next part; last if the ChatMessages ends with it.
	piece(to Sink, p []byte, last bool) error
}

// Scan implements [Scanner].
func (e *envelopeScanner) Scan(to Sink, p []byte) error {
	for {
		if e.left == 0 {
			n := min(PrefixBytes-len(e.prefix), len(p))
			e.prefix, p = append(e.prefix, p[:n]...), p[n:]
			if len(e.prefix) < PrefixBytes {
				return nil
			}
			flags := e.prefix[0]
			e.left = int(binary.BigEndian.Uint32(e.prefix[1:]))
			e.prefix = e.prefix[:0]
			switch flags {
			case 0:
			case flagConnectEnd, flagWebEnd:
				e.ending = true
			default:
				return fmt.Errorf("an envelope with flags %#x: it may be compressed, which was not asked for", flags)
			}
		}
		n := min(e.left, len(p))
		e.left -= n
		if err := e.payload(to, p[:n], e.left == 0); err != nil {
			return err
		}
		if p = p[n:]; e.left > 0 || len(p) == 0 {
			return nil
		}
	}
}

// payload takes a part of the current envelope.
func (e *envelopeScanner) payload(to Sink, p []byte, last bool) error {
	if e.ending {
		e.end = append(e.end, p...)
		if last {
			to.End(endReason(e.end))
		}
		return nil
	}
	if err := e.inner.piece(to, p, last); err != nil {
		return err
	}
	if last {
		to.Batch()
	}
	return nil
}

// endReason returns the error in the envelope that ends a stream, which is Connect's JSON
// or gRPC-Web's trailers.
func endReason(end []byte) error {
	if bytes.Contains(end, []byte(`"error"`)) || bytes.Contains(end, []byte("grpc-status")) && !bytes.Contains(end, []byte("grpc-status: 0")) {
		return fmt.Errorf("the server ended the stream: %s", bytes.TrimSpace(end))
	}
	return nil
}
