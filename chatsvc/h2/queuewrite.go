package h2

import (
	"net"
	"slices"
)

// write writes the queued frames. It unlocks mu while it writes.
func (q *queue) write() {
	bytes, shared, number := q.bytes, q.shared, q.next
	q.bytes, q.shared, q.size, q.answers = nil, nil, 0, 0
	q.next++
	q.writing = true
	q.mu.Unlock()
	var err error
	switch {
	case len(shared) == 0:
		err = q.writeOwn(*bytes)
	case q.vectored:
		err = q.writeShared(*bytes, shared)
	default:
		err = q.writeCopied(*bytes, shared)
	}
	if cap(*bytes) <= keptBuffer {
		buffers.Put(bytes)
	}
	q.mu.Lock()
	q.writing = false
	q.written = number
	if q.shared == nil {
		clear(shared)
		q.shared = shared[:0]
	}
	if err != nil {
		q.fail(err)
	}
	if q.waiters > 0 {
		q.done.Broadcast()
	}
}

// writeOwn writes bytes.
func (q *queue) writeOwn(bytes []byte) error {
	for len(bytes) > 0 {
		n, err := q.nc.Write(bytes[:min(len(bytes), maxPiece)])
		if err != nil {
			return err
		}
		bytes = bytes[n:]
		q.progress.Add(1)
	}
	return nil
}

// writeShared writes bytes with the shared bytes in between.
func (q *queue) writeShared(bytes []byte, shared []sharedBytes) error {
	from, size := 0, 0
	for _, s := range shared {
		q.iov = append(q.iov, bytes[from:s.at], s.data)
		size += s.at - from + len(s.data)
		from = s.at
		if size >= maxPiece {
			if err := q.writePieces(); err != nil {
				return err
			}
			size = 0
		}
	}
	q.iov = append(q.iov, bytes[from:])
	return q.writePieces()
}

// writeCopied is writeShared for connections that would need one write, and over TLS one
// record, for each buffer. It copies one piece at a time.
func (q *queue) writeCopied(bytes []byte, shared []sharedBytes) error {
	piece := buffers.Get().(*[]byte) //nolint:forcetypeassert // New makes nothing else
	defer buffers.Put(piece)
	out, from := slices.Grow((*piece)[:0], maxPiece), 0
	defer func() { *piece = out }()
	add := func(data []byte) error {
		for len(data) > 0 {
			n := min(len(data), maxPiece-len(out))
			out, data = append(out, data[:n]...), data[n:]
			if len(out) < maxPiece {
				break
			}
			if err := q.writeOwn(out); err != nil {
				return err
			}
			out = out[:0]
		}
		return nil
	}
	for _, s := range shared {
		if err := add(bytes[from:s.at]); err != nil {
			return err
		}
		if err := add(s.data); err != nil {
			return err
		}
		from = s.at
	}
	if err := add(bytes[from:]); err != nil {
		return err
	}
	return q.writeOwn(out)
}

// writePieces writes the buffers in iov in one system call.
func (q *queue) writePieces() error {
	all := net.Buffers(q.iov)
	_, err := all.WriteTo(q.nc)
	q.progress.Add(1)
	clear(q.iov)
	q.iov = q.iov[:0]
	return err
}
