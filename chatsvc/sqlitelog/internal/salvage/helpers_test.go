package salvage_test

import (
	"bytes"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

const schema = `
CREATE TABLE messages ("offset" INTEGER PRIMARY KEY, stored INTEGER NOT NULL, timestamp INTEGER NOT NULL,
	sender TEXT NOT NULL, type INTEGER NOT NULL, total INTEGER NOT NULL, checksum INTEGER NOT NULL, content ANY) STRICT;
CREATE TABLE epochs ("from" INTEGER PRIMARY KEY, epoch TEXT NOT NULL) STRICT;
INSERT INTO epochs VALUES (1, 'EPOCH');`

// The largest content that the tests store.
const maxContent = 30_000

var table = crc64.MakeTable(crc64.ECMA)

// sum is a checksum over all columns, which is all that this package asks for.
func sum(r salvage.Row) int64 {
	b := fmt.Appendf(nil, "%d %d %d %q %d %d ", r.Offset, r.Stored, r.Timestamp, r.Sender, r.Type, r.Total)
	return int64(crc64.Checksum(append(b, r.Content...), table))
}

func prove(r salvage.Row) bool { return sum(r) == r.Checksum }

// message returns row number offset of every test.
func message(offset uint64) salvage.Row {
	random := rand.New(rand.NewPCG(offset, 1))
	r := salvage.Row{
		Offset: offset, Stored: 1_700_000_000_000 + int64(offset), Timestamp: random.Int64() >> random.IntN(63),
		Sender: strings.Repeat("u", 1+random.IntN(80)), Type: int64(random.IntN(3)), Total: int64(offset) * 1000,
		Content: bytes.Repeat([]byte{byte(offset)}, random.IntN(200)),
	}
	if offset%40 == 0 {
		r.Content = make([]byte, random.IntN(maxContent))
		for i := range r.Content {
			r.Content[i] = byte(random.Uint32())
		}
	}
	r.Checksum = sum(r)
	return r
}

// database is a database under test, open or not.
type database struct {
	tb   testing.TB
	conn *sqlite.Conn
	path string
}

// newDatabase makes a database whose WAL is only checkpointed when asked for.
func newDatabase(tb testing.TB) *database {
	tb.Helper()
	d := &database{tb: tb, path: filepath.Join(tb.TempDir(), "chat.db")}
	var err error
	if d.conn, err = sqlite.OpenConn(d.path, sqlite.OpenReadWrite|sqlite.OpenCreate); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.conn.Close() })
	for _, pragma := range []string{
		"page_size=8192", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=OFF",
		"wal_autocheckpoint=0", "secure_delete=OFF",
	} {
		d.exec("PRAGMA " + pragma)
	}
	if err := sqlitex.ExecuteScript(d.conn, schema, nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

func (d *database) exec(query string, args ...any) {
	d.tb.Helper()
	if err := sqlitex.Execute(d.conn, query, &sqlitex.ExecOptions{Args: args}); err != nil {
		d.tb.Fatalf("%s: %v", query, err)
	}
}

// insert stores rows in transactions of ten.
func (d *database) insert(from, to uint64) {
	d.tb.Helper()
	for ; from < to; from += 10 {
		d.exec("BEGIN")
		for offset := from; offset < min(from+10, to); offset++ {
			d.put(message(offset))
		}
		d.exec("COMMIT")
	}
}

// put stores or replaces a row.
func (d *database) put(r salvage.Row) {
	d.tb.Helper()
	content := any(r.Content)
	if r.Type == 1 {
		content = string(r.Content)
	}
	d.exec("INSERT OR REPLACE INTO messages VALUES (?,?,?,?,?,?,?,?)",
		int64(r.Offset), r.Stored, r.Timestamp, r.Sender, r.Type, r.Total, r.Checksum, content)
}

// read returns the bytes of the database and of its WAL.
func (d *database) read() (db, wal []byte) {
	d.tb.Helper()
	db, err := os.ReadFile(d.path)
	if err != nil {
		d.tb.Fatal(err)
	}
	wal, err = os.ReadFile(d.path + "-wal")
	if err != nil {
		d.tb.Fatal(err)
	}
	return db, wal
}

func file(b []byte) salvage.File {
	return salvage.File{Reader: bytes.NewReader(b), Size: int64(len(b))}
}

// rows returns the salvaged rows, the newest version of each, and where it was first.
func rows(tb testing.TB, db, wal []byte) map[uint64]salvage.Found {
	tb.Helper()
	found := map[uint64]salvage.Found{}
	var last salvage.Place
	_, err := salvage.Rows(tb.Context(), file(db), file(wal), prove, func(f salvage.Found) error {
		if f.Place < last {
			tb.Errorf("%v after %v", f.Place, last)
		}
		last = f.Place
		if found[f.Offset].Checksum != f.Checksum {
			found[f.Offset] = f
		}
		return nil
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return found
}
