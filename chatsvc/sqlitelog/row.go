package sqlitelog

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// row is a row of the table messages.
type row struct {
	offset    uint64
	stored    int64 // Unix time in milliseconds, never below that of the row before
	timestamp uint64
	sender    string
	kind      uint64 // the column type
	total     int64  // sum of the sizes of all records up to this one
	checksum  int64
	content   []byte
}

// sum returns the checksum of a row that was stored in an epoch. It covers the
// epoch, so a row of another epoch never has the right checksum.
func (r *row) sum(epoch string) int64 {
	var fixed [48]byte
	binary.BigEndian.PutUint64(fixed[0:], r.offset)
	binary.BigEndian.PutUint64(fixed[8:], uint64(r.stored))
	binary.BigEndian.PutUint64(fixed[16:], r.timestamp)
	binary.BigEndian.PutUint64(fixed[24:], r.kind)
	binary.BigEndian.PutUint64(fixed[32:], uint64(r.total))
	binary.BigEndian.PutUint32(fixed[40:], uint32(len(r.sender)))
	var text [2 * 128]byte // the epoch and, most of the time, the sender
	b := append(append(text[:0], epoch...), 0)
	sum := crc64.Update(0, crcTable, b)
	sum = crc64.Update(sum, crcTable, fixed[:44])
	sum = crc64.Update(sum, crcTable, append(text[:0], r.sender...))
	return int64(crc64.Update(sum, crcTable, r.content))
}

// isEmptied reports whether emptied has returned the row.
func (r *row) isEmptied() bool {
	return r.timestamp == 0 && r.sender == "" && r.kind == 0 && len(r.content) == 0 && r.sum("") == r.checksum
}

// newRow returns the row of a record at offset.
func newRow(m record.Message, epoch string, offset uint64, stored, total int64) row {
	r := row{offset: offset, stored: stored, timestamp: m.Timestamp, sender: m.From, kind: m.Type, total: total, content: m.Content}
	r.checksum = r.sum(epoch)
	return r
}

// message returns the row's message.
func (r *row) message() record.Message {
	return record.Message{Timestamp: r.timestamp, Content: r.content, Type: r.kind, From: r.sender}
}

// entry returns the row as an entry of the log; it appends the record to buffer.
func (r *row) entry(buffer []byte) (chatsvc.Entry, []byte) {
	begin := len(buffer)
	buffer = r.message().Append(buffer)
	return chatsvc.Entry{Offset: r.offset, Time: time.UnixMilli(r.stored), Record: buffer[begin:len(buffer):len(buffer)]}, buffer
}

const insertRow = `INSERT INTO messages ("offset", stored, timestamp, sender, type, total, checksum, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

// bind binds the row to insertRow.
func (r *row) bind(stmt *sqlite.Stmt) {
	stmt.BindInt64(1, int64(r.offset))
	stmt.BindInt64(2, r.stored)
	stmt.BindInt64(3, int64(r.timestamp))
	stmt.BindText(4, r.sender)
	stmt.BindInt64(5, int64(r.kind))
	stmt.BindInt64(6, r.total)
	stmt.BindInt64(7, r.checksum)
	if r.kind == uint64(chatpb.ChatMessage_Text) {
		stmt.BindText(8, string(r.content))
	} else {
		stmt.BindBytes(8, r.content)
	}
}

const selectRows = `SELECT "offset", stored, timestamp, sender, type, total, checksum, content FROM messages`

// errDamaged means that a row has changed since it was stored.
var errDamaged = errors.New("its checksum does not match")

// scanner reads rows of selectRows. It is not safe for concurrent use.
type scanner struct {
	epochs  []epochStart
	senders map[string]string // names that were read before, to share their strings
	scratch []byte
}

func newScanner(epochs []epochStart) *scanner {
	return &scanner{epochs: epochs, senders: make(map[string]string)}
}

// scan returns the current row of stmt. Its content is valid until the next scan. It
// fails with errDamaged if the checksum is wrong.
func (s *scanner) scan(stmt *sqlite.Stmt) (row, error) {
	r := row{
		offset:    uint64(stmt.ColumnInt64(0)),
		stored:    stmt.ColumnInt64(1),
		timestamp: uint64(stmt.ColumnInt64(2)),
		kind:      uint64(stmt.ColumnInt64(4)),
		total:     stmt.ColumnInt64(5),
		checksum:  stmt.ColumnInt64(6),
	}
	r.sender = s.sender(s.bytes(stmt, 3))
	r.content = s.bytes(stmt, 7)
	if r.sum(epochAt(s.epochs, r.offset)) != r.checksum {
		return r, errDamaged
	}
	return r, nil
}

// bytes returns a column's bytes in the scratch buffer.
func (s *scanner) bytes(stmt *sqlite.Stmt, column int) []byte {
	n := stmt.ColumnLen(column)
	if cap(s.scratch) < n {
		s.scratch = make([]byte, n+n/2)
	}
	b := s.scratch[:n]
	return b[:stmt.ColumnBytes(column, b)]
}

// maxSenders bounds the names that a scanner remembers.
const maxSenders = 1024

// sender returns b as a string, the same one for the same name.
func (s *scanner) sender(b []byte) string {
	if name, ok := s.senders[string(b)]; ok {
		return name
	}
	if len(s.senders) >= maxSenders {
		clear(s.senders)
	}
	name := string(b)
	s.senders[name] = name
	return name
}
