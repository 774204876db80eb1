package sqlitelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes of the parts of the write-ahead log in bytes
// (https://www.sqlite.org/fileformat2.html, section 4.1).
const (
	walHeaderSize   = 32
	frameHeaderSize = 24
	// littleEndianWAL is the magic number of a write-ahead log whose checksums read
	// words of the host's order on most machines.
	littleEndianWAL = 0x377f0682
)

// walProof verifies the write-ahead log by its checksums, each of which covers all earlier
// frames. SQLite does not read back its writes: if another program cuts the file between
// two writes, the second write leaves a hole of zeros, and the records in it are lost
// without an error. It is not safe for concurrent use.
type walProof struct {
	salts  uint64      // of the file's header; they change when the file begins from its start
	frames int64       // number of frames up to the last proven commit
	before walChecksum // checksum of all frames before the last of those
	buffer []byte
}

type walChecksum struct{ a, b uint32 }

// errHole means that a part of the write-ahead log was changed after it was written.
var errHole = errors.New("another program has cut or overwritten it")

// next fails unless the file still has the last proven commit, and a new commit after
// it.
func (p *walProof) next(wal io.ReaderAt) error {
	var head [walHeaderSize]byte
	if _, err := wal.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("header: %w", holeFor(err))
	}
	order := binary.ByteOrder(binary.BigEndian)
	if binary.BigEndian.Uint32(head[:]) == littleEndianWAL {
		order = binary.LittleEndian
	}
	if salts := binary.BigEndian.Uint64(head[16:]); salts != p.salts || p.frames == 0 {
		p.salts, p.frames = salts, 0
		p.before = walChecksum{binary.BigEndian.Uint32(head[24:]), binary.BigEndian.Uint32(head[28:])}
	}
	size := frameHeaderSize + int64(binary.BigEndian.Uint32(head[8:])) // another program may have rebuilt the database with another page size
	if size > frameHeaderSize+1<<16 {
		return fmt.Errorf("header: %w", errHole)
	}
	if int64(len(p.buffer)) != size {
		p.buffer = make([]byte, size)
	}
	sum, proven, first := p.before, p.frames, max(p.frames-1, 0)
	for i := first; ; i++ {
		_, err := wal.ReadAt(p.buffer, walHeaderSize+i*size)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		was := sum
		if err != nil || !sum.add(p.buffer, order, p.salts) {
			break
		}
		if isCommit := binary.BigEndian.Uint32(p.buffer[4:]) != 0; isCommit {
			proven, p.before = i+1, was
		}
	}
	if proven <= p.frames {
		return errHole
	}
	p.frames = proven
	return nil
}

// add adds a frame, and reports whether its header has the resulting checksum and the
// salts.
func (c *walChecksum) add(frame []byte, order binary.ByteOrder, salts uint64) bool {
	if binary.BigEndian.Uint64(frame[8:]) != salts {
		return false
	}
	c.words(frame[:8], order)
	c.words(frame[frameHeaderSize:], order)
	return binary.BigEndian.Uint32(frame[16:]) == c.a && binary.BigEndian.Uint32(frame[20:]) == c.b
}

func (c *walChecksum) words(data []byte, order binary.ByteOrder) {
	a, b := c.a, c.b
	if order == binary.ByteOrder(binary.LittleEndian) { // nearly everywhere; the compiler makes loads of it
		for ; len(data) >= 8; data = data[8:] {
			a += binary.LittleEndian.Uint32(data) + b
			b += binary.LittleEndian.Uint32(data[4:]) + a
		}
	}
	for ; len(data) >= 8; data = data[8:] {
		a += order.Uint32(data) + b
		b += order.Uint32(data[4:]) + a
	}
	c.a, c.b = a, b
}

// holeFor returns errHole for a file that is too short.
func holeFor(err error) error {
	if errors.Is(err, io.EOF) {
		return errHole
	}
	return err
}
