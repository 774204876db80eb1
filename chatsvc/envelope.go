package chatsvc

import (
	"bytes"
	"encoding/binary"
	"io"
)

// framedBody reads src as one message with a prefix for its size.
type framedBody struct {
	src    io.ReadCloser
	prefix func(size int) []byte
	framed io.Reader // nil until the first read
}

// Read implements [io.Reader].
func (b *framedBody) Read(p []byte) (int, error) {
	if b.framed == nil {
		data, err := io.ReadAll(b.src)
		if err != nil {
			return 0, err
		}
		b.framed = io.MultiReader(bytes.NewReader(b.prefix(len(data))), bytes.NewReader(data))
	}
	return b.framed.Read(p)
}

// Close implements [io.Closer].
func (b *framedBody) Close() error { return b.src.Close() }

// envelopePrefix returns the prefix of a message of size bytes without flags.
func envelopePrefix(size int) [prefixBytes]byte {
	var prefix [prefixBytes]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(size))
	return prefix
}
