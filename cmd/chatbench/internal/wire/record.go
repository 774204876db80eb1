package wire

import (
	"encoding/binary"
	"errors"
)

// headBytes is the size of the part of a record that is examined. The stamp is at the
// beginning of the content, and only the timestamp is before it.
const headBytes = 64

var errRecord = errors.New("not a serialized ChatMessages")

// recordScanner finds the records in a serialized ChatMessages.
type recordScanner struct {
	head []byte // of the record that a piece's end cuts
	skip int    // bytes of a record that are not looked at, to come
}

func (r *recordScanner) piece(to Sink, p []byte, last bool) error {
	for {
		n := min(r.skip, len(p))
		r.skip, p = r.skip-n, p[n:]
		if len(p) == 0 {
			break
		}
		if len(r.head) > 0 {
			// A cut record: complete its head, then continue behind it.
			had := len(r.head)
			r.head = append(r.head, p[:min(len(p), headBytes)]...)
			used, skip, err := scanRecord(to, r.head, last && len(p) <= headBytes)
			if err != nil {
				return err
			}
			if used == 0 {
				break
			}
			r.head, r.skip = r.head[:0], skip
			// The bytes of the head beyond the old ones came from p.
			p = p[used-had:]
			continue
		}
		used, skip, err := scanRecord(to, p, last)
		if err != nil {
			return err
		}
		if used == 0 {
			r.head = append(r.head, p...)
			break
		}
		p, r.skip = p[used:], skip
	}
	if last && (r.skip > 0 || len(r.head) > 0) {
		return errRecord
	}
	return nil
}

// scanRecord examines the record at the beginning of p. It returns how many bytes of p it
// used and how many further bytes of the record must be skipped. It uses none if it needs
// more bytes, unless all means that no more will follow.
func scanRecord(to Sink, p []byte, all bool) (used, skip int, err error) {
	if p[0] != 1<<3|2 {
		return 0, 0, errRecord
	}
	length, n := binary.Uvarint(p[1:])
	if n < 0 || length > 1<<30 {
		return 0, 0, errRecord
	}
	size := 1 + n + int(length)
	if n == 0 || len(p) < min(size, headBytes) {
		if all {
			return 0, 0, errRecord
		}
		return 0, 0, nil
	}
	used = min(size, len(p))
	to.Message(contentOf(p[1+n : used]))
	return used, size - used, nil
}

// contentOf returns the beginning of a message's content, as far as it is in message.
func contentOf(message []byte) []byte {
	if len(message) > 0 && message[0] == 1<<3 { // the timestamp
		_, n := binary.Uvarint(message[1:])
		if n <= 0 {
			return nil
		}
		message = message[1+n:]
	}
	if len(message) == 0 || message[0] != 2<<3|2 {
		return nil
	}
	length, n := binary.Uvarint(message[1:])
	if n <= 0 {
		return nil
	}
	message = message[1+n:]
	return message[:min(uint64(len(message)), length)]
}
