package sqlitelog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc/internal/record"
)

// builder writes a new database in a temporary directory, and then replaces the existing
// one. Until then nothing changes. It is not safe for concurrent use.
type builder struct {
	dir   string // where the database will be
	work  string // where it is written
	conn  *sqlite.Conn
	epoch string
}

// newBuilder begins a database for dir, of one epoch.
func newBuilder(dir, epoch string) (*builder, error) {
	work, err := os.MkdirTemp(dir, "unfinished-")
	if err != nil {
		return nil, err
	}
	b := &builder{dir: dir, work: work, epoch: epoch}
	b.conn, err = openConn(b.path(), sqlite.OpenReadWrite|sqlite.OpenCreate, "")
	if err == nil {
		err = create(b.conn, epoch)
	}
	if err == nil { // the file is not needed if this fails
		err = pragma(b.conn, "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "BEGIN")
	}
	if err != nil {
		return nil, errors.Join(err, b.abort())
	}
	return b, nil
}

func (b *builder) path() string { return filepath.Join(b.work, DatabaseFile) }

// upsertRow is insertRow, but a later version of a row replaces an earlier one. An empty
// row is not replaced: a redacted message stays redacted.
const upsertRow = insertRow + ` ON CONFLICT ("offset") DO UPDATE SET
	stored = excluded.stored, timestamp = excluded.timestamp, sender = excluded.sender, type = excluded.type,
	total = excluded.total, checksum = excluded.checksum, content = excluded.content WHERE sender <> ''`

// add stores a row with a checksum of the new epoch.
func (b *builder) add(r row) error {
	r.checksum = r.sum(b.epoch)
	stmt, err := b.conn.Prepare(upsertRow)
	if err != nil {
		return err
	}
	r.bind(stmt)
	_, err = stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// emptied returns the row without its message, as a redacted one is.
func (r *row) emptied() row {
	return newRow(record.Message{}, "", r.offset, r.stored, r.total)
}

// redact notes that a message was redacted.
func (b *builder) redact(offset uint64, at time.Time) error {
	stmt, err := b.conn.Prepare(`INSERT OR REPLACE INTO redactions ("offset", time) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, int64(offset))
	stmt.BindInt64(2, at.UnixMilli())
	_, err = stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// begin makes the epoch begin at an offset.
func (b *builder) begin(from uint64) error {
	if err := pragma(b.conn, "DELETE FROM epochs"); err != nil {
		return err
	}
	return addEpoch(b.conn, epochStart{from, b.epoch})
}

// finish writes everything to the disk and installs the database. The existing
// files are kept in the directory aside, unless aside is empty. Next is the
// offset that the next message will get.
func (b *builder) finish(next uint64, aside string) error {
	checksum, isThere, err := lastChecksum(b.conn)
	if err == nil && !isThere && next > 1 {
		err = b.begin(next) // an empty log continues at the beginning of its epoch
	}
	if err == nil {
		err = pragma(b.conn, "COMMIT", "PRAGMA journal_mode = WAL")
	}
	if err != nil {
		return err
	}
	err = b.conn.Close()
	if b.conn = nil; err != nil {
		return err
	}
	if err := makeDurable(b.path()); err != nil {
		return err
	}
	ev := evidence{Epoch: b.epoch, Offset: next - 1, Closed: true}
	if isThere {
		ev.Checksum = checksum
	}
	return errors.Join(b.install(ev, aside), os.RemoveAll(b.work))
}

// lastChecksum returns the checksum of the last row.
func lastChecksum(conn *sqlite.Conn) (checksum int64, isThere bool, err error) {
	return queryInt(conn, `SELECT checksum FROM messages ORDER BY "offset" DESC LIMIT 1`)
}

// makeDurable syncs a file, and makes it readable only for its owner.
func makeDurable(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(0o600), file.Sync(), file.Close())
}

// install replaces the database by the new one. If that is interrupted, the directory has
// either the old database, or the new one without evidence; then a server begins another
// epoch, as for any copy.
func (b *builder) install(ev evidence, aside string) error {
	path := filepath.Join(b.dir, DatabaseFile)
	if aside != "" {
		if err := keepFiles(b.dir, aside); err != nil {
			return err
		}
	}
	for _, name := range []string{filepath.Join(b.dir, evidenceFile), path + walSuffix, path + shmSuffix} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncDirectory(b.dir); err != nil { // the write-ahead log of another database would destroy this one
		return err
	}
	if err := os.Rename(b.path(), path); err != nil {
		return err
	}
	return errors.Join(writeEvidence(b.dir, ev), syncDirectory(b.dir))
}

// writeEvidence writes the evidence for a directory's database.
func writeEvidence(dir string, ev evidence) error {
	store, err := openEvidence(dir, ev)
	if err != nil {
		return err
	}
	return errors.Join(store.write(ev), store.sync(), store.close())
}

// abort removes the unfinished database.
func (b *builder) abort() error {
	var err error
	if b.conn != nil {
		err = b.conn.Close()
		b.conn = nil
	}
	return errors.Join(err, os.RemoveAll(b.work))
}
