package salvage

import (
	"bytes"
	"encoding/binary"
)

// Row is a row of the table messages. Nobody has checked it yet.
type Row struct {
	Offset    uint64
	Stored    int64  // Unix milliseconds
	Timestamp int64  // the bits of a uint64
	Sender    string //
	Type      int64
	Total     int64
	Checksum  int64
	Content   []byte // the caller may keep it
}

// columns is how many columns the table messages has.
const columns = 8

// The bounds of a record's header: its length and eight types, of which only those
// of sender and content need more than one byte.
const (
	minHeader = 1 + columns
	maxHeader = 1 + (columns - 2) + 2*9
	// maxHead is the size of the largest numbers before a record: its own size and the
	// number of the row.
	maxHead = 5 + 9
)

// cell is the beginning of a possible row.
type cell struct {
	layout

	rowid uint64
	body  int // where the record begins in the page
}

// layout is the content of a record's header.
type layout struct {
	header  int // bytes of the header
	payload int // bytes of the record
	types   [columns]uint64
}

// nextLayout returns where in a page, from a position on, the next record of the table
// messages may begin, and -1 if there is none.
func nextLayout(page []byte, from int) (int, layout) {
	for at := from; ; at++ {
		// The first column is the row's number, which the record leaves out: type 0.
		i := bytes.IndexByte(page[min(at+1, len(page)):], 0)
		if i < 0 {
			return -1, layout{}
		}
		at += i
		if l, ok := parseLayout(page[at:]); ok {
			return at, l
		}
	}
}

// parseLayout reads a record's header, and reports whether it can be one of the table
// messages.
func parseLayout(b []byte) (layout, bool) {
	if len(b) < minHeader || b[0] < minHeader || b[0] > maxHeader || b[1] != 0 {
		return layout{}, false
	}
	l := layout{header: int(b[0])}
	if len(b) < l.header {
		return layout{}, false
	}
	at, sum := 1, uint64(l.header)
	for i := range columns {
		typ, n := varint(b[at:l.header])
		if n == 0 || !typeOf(i, typ) {
			return layout{}, false
		}
		l.types[i] = typ
		sum += size(typ)
		at += n
	}
	l.payload = int(min(sum, maxPayload+1))
	return l, at == l.header && sum <= maxPayload
}

// parseCell reads the cell that begins at page[at], if it is that of the record at
// page[body]: the record's size and the row's number stand before it.
func parseCell(page []byte, at, body int, l layout) (cell, bool) {
	payload, n := varint(page[at:body])
	if n == 0 || payload != uint64(l.payload) {
		return cell{}, false
	}
	rowid, m := varint(page[at+n : body])
	if m == 0 || at+n+m != body || rowid == 0 {
		return cell{}, false
	}
	return cell{l, rowid, body}, true
}

// typeOf reports whether a column can have a serial type.
func typeOf(column int, typ uint64) bool {
	switch column {
	case 0:
		return typ == 0
	case 3: // sender
		return typ >= 13 && typ%2 == 1
	case 7: // content
		return typ >= 12
	default:
		return typ >= 1 && typ <= 9 && typ != 7
	}
}

// size returns how many bytes a value of a serial type has. It never overflows,
// since types have 63 bits at most.
func size(typ uint64) uint64 {
	switch {
	case typ >= 12:
		return (typ - 12) / 2
	case typ == 5:
		return 6
	case typ == 6 || typ == 7:
		return 8
	case typ <= 4:
		return typ
	default:
		return 0
	}
}

// row takes the columns out of a whole record. The layout has its sizes.
func (c cell) row(record []byte) Row {
	at := c.header
	next := func(column int) []byte {
		n := int(size(c.types[column]))
		at += n
		return record[at-n : at]
	}
	number := func(column int) int64 { return integer(c.types[column], next(column)) }
	return Row{
		Offset:    c.rowid,
		Stored:    number(1),
		Timestamp: number(2),
		Sender:    string(next(3)),
		Type:      number(4),
		Total:     number(5),
		Checksum:  number(6),
		Content:   next(7),
	}
}

// integer returns the value of an integer's serial type.
func integer(typ uint64, b []byte) int64 {
	if typ == 9 {
		return 1
	}
	var v int64
	for i, c := range b {
		if i == 0 {
			v = int64(int8(c))
			continue
		}
		v = v<<8 | int64(c)
	}
	return v
}

// varint returns a number of one to nine bytes and their count, 0 if b is cut or
// the number has 64 bits, which none of ours has.
func varint(b []byte) (uint64, int) {
	var v uint64
	for i := range min(len(b), 8) {
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	if len(b) < 9 || v>>55 != 0 {
		return 0, 0
	}
	return v<<8 | uint64(b[8]), 9
}

// local returns how many bytes of a record stand in the page itself: "The formulas
// for determining how many bytes" in the file format.
func local(payload, usable int) int {
	most := usable - 35
	if payload <= most {
		return payload
	}
	least := (usable-12)*32/255 - 23
	if n := least + (payload-least)%(usable-4); n <= most {
		return n
	}
	return least
}

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
