package bench

import (
	"errors"
	"slices"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// StampBytes is the length of the stamp that the content of each message begins
// with.
const StampBytes = wire.HeadBytes

const (
	maxSlots = 1 << 14 // two digits of seven bits
	runBytes = 4
)

// stamp identifies a message. Its digits have seven bits, so that content is ASCII, and
// passes for text.
type stamp struct {
	run  uint32        // tells this run's messages from older ones, 28 bits
	slot int           // of the sender: messages of a slot are in order
	seq  uint64        // number within the slot, from 0, 42 bits
	due  time.Duration // when it should have been sent, since the run's base
}

var errStamp = errors.New("content does not begin with a stamp")

// put writes the stamp to the first StampBytes of b.
func (s stamp) put(b []byte) {
	_ = b[StampBytes-1]
	b[0] = '#'
	putDigits(b[1:1+runBytes], uint64(s.run))
	putDigits(b[5:7], uint64(s.slot))
	putDigits(b[7:13], s.seq)
	putDigits(b[13:22], uint64(s.due))
	b[22], b[23] = '#', ' '
}

// parseStamp reads a stamp that put wrote.
func parseStamp(b []byte) (stamp, error) {
	if len(b) < StampBytes || b[0] != '#' || b[22] != '#' {
		return stamp{}, errStamp
	}
	return stamp{
		run:  uint32(digits(b[1:5])),
		slot: int(digits(b[5:7])),
		seq:  digits(b[7:13]),
		due:  time.Duration(digits(b[13:22])),
	}, nil
}

func putDigits(b []byte, n uint64) {
	for i := range b {
		b[i] = byte(n & 0x7f)
		n >>= 7
	}
}

func digits(b []byte) uint64 {
	var n uint64
	for _, digit := range slices.Backward(b) {
		n = n<<7 | uint64(digit)
	}
	return n
}

// NewContent returns content of size bytes, to be stamped again and again.
func NewContent(size int) []byte {
	content := make([]byte, size)
	for i := range content {
		content[i] = 'a' + byte(i%26)
	}
	return content
}
