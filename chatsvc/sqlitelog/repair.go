package sqlitelog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

// Repaired is what [Repair] has done.
type Repaired struct {
	First, Next uint64
	Messages    uint64 // that were found
	// Missing are the offsets between First and what was acknowledged last whose
	// messages were not found.
	Missing []Range
	// Was and Epoch are the epochs before and now. They differ if acknowledged
	// messages are missing, or if nothing says whether some are.
	Was, Epoch string
	// Unreadable is the number of pages that the storage could not read.
	Unreadable int
	// Aside is the directory that has the files as they were.
	Aside string
}

// maxFilled is the largest gap that is filled with empty messages.
const maxFilled = 1 << 16

// Repair reads the pages of a directory's database and the frames of its write-ahead
// log one by one, and makes a new database of all messages that their checksums prove.
// The files as they were are kept in a directory of their own. Messages that are
// missing become empty ones, so all others keep their offsets. Idempotency keys that
// SQLite can read are kept.
//
// It fails with [ErrInUse] while a server has the directory. After any error the
// files are as they were. Progress is given bytes.
func Repair(ctx context.Context, dir string, progress Progress) (Repaired, error) {
	lock, err := lockDirectory(dir)
	switch {
	case err != nil:
		return Repaired{}, fmt.Errorf("%s: %w", dir, err)
	case lock == nil:
		return Repaired{}, fmt.Errorf("%s: it cannot be written to", dir)
	}
	r := repair{dir: dir, progress: progress}
	err = r.run(ctx)
	if r.build != nil {
		err = errors.Join(err, r.build.abort())
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return Repaired{}, fmt.Errorf("%s: %w", dir, err)
	}
	return r.done, nil
}

// repair is a Repair under way.
type repair struct {
	dir      string
	progress Progress
	mark     evidence
	has      bool // there is evidence
	known    known
	build    *builder
	done     Repaired
}

// known is what SQLite can read of a damaged log.
type known struct {
	epochs   []epochStart
	floor    uint64 // the lowest offset; 0: not known
	redacted map[uint64]struct{}
	keys     recentKeys
}

func (r *repair) run(ctx context.Context) error {
	var err error
	if r.mark, r.has, err = readEvidence(r.dir); err != nil {
		return err
	}
	r.known = readKnown(ctx, r.dir)
	if err := r.readFiles(ctx); err != nil {
		return err
	}
	if err := r.redact(); err != nil {
		return err
	}
	if err := r.fill(); err != nil {
		return err
	}
	if err := r.chooseEpoch(); err != nil {
		return err
	}
	if err := r.keepKeys(); err != nil {
		return err
	}
	r.done.Aside = filepath.Join(r.dir, "before-repair-"+time.Now().UTC().Format("20060102T150405.000"))
	return r.build.finish(r.done.Next, r.done.Aside)
}

// readKnown reads what SQLite can read. All of it may be missing.
func readKnown(ctx context.Context, dir string) known {
	var k known
	reader, err := OpenReader(dir)
	if err != nil {
		return k
	}
	defer reader.Close() //nolint:errcheck // it only read
	conn := reader.conn.conn
	if k.epochs, err = readEpochs(conn); err != nil {
		k.epochs = nil
	}
	if k.redacted, err = readRedactions(conn); err != nil {
		k.redacted = nil
	}
	if k.keys, err = readKeys(conn); err != nil {
		k.keys = recentKeys{}
	}
	// With a damaged page above the leaves, the lowest offset may be another.
	var pages Checked
	if pages.checkPages(ctx, reader); len(pages.Problems) == 0 {
		if k.floor, err = reader.floor(0); err != nil {
			k.floor = 0
		}
	}
	return k
}

// readFiles adds all messages that are proven to a new database.
func (r *repair) readFiles(ctx context.Context) error {
	path := filepath.Join(r.dir, DatabaseFile)
	database, closeDatabase, err := openRaw(path)
	if err != nil {
		return err
	}
	defer closeDatabase()
	wal, closeWAL, err := openRaw(path + walSuffix)
	if err != nil {
		return err
	}
	defer closeWAL()
	if database.Reader == nil && wal.Reader == nil {
		return fmt.Errorf("there is no %s: give the directory that the server has as --data", DatabaseFile)
	}
	epochs, err := r.findEpochs(ctx, database, wal)
	if err != nil {
		return err
	}
	if r.build, err = newBuilder(r.dir, r.done.Was); err != nil {
		return err
	}
	report, err := salvage.Rows(ctx, database, wal, func(found salvage.Row) bool {
		candidate := rowOf(found)
		return provenBy(&candidate, epochs)
	}, r.add, r.progress)
	r.done.Unreadable = report.Unreadable
	return err
}

// openRaw opens a file to be read without SQLite; there may be none.
func openRaw(path string) (salvage.File, func(), error) {
	file, err := os.Open(path) //nolint:gosec // the path is the operator's
	if errors.Is(err, fs.ErrNotExist) {
		return salvage.File{}, func() {}, nil
	}
	if err != nil {
		return salvage.File{}, nil, err
	}
	closeFile := func() { _ = file.Close() } // it was only read
	info, err := file.Stat()
	if err != nil {
		closeFile()
		return salvage.File{}, nil, err
	}
	return salvage.File{Reader: file, Size: info.Size()}, closeFile, nil
}

// findEpochs returns all epochs that the files, SQLite and the evidence name, the
// oldest first, and notes which is the current one.
func (r *repair) findEpochs(ctx context.Context, database, wal salvage.File) ([]epochStart, error) {
	from := map[string]uint64{}
	if err := salvage.Epochs(ctx, database, wal, func(e salvage.Epoch) { from[e.Name] = e.From }); err != nil {
		return nil, err
	}
	for _, e := range r.known.epochs {
		from[e.epoch] = e.from
	}
	if _, ok := from[r.mark.Epoch]; r.has && !ok {
		from[r.mark.Epoch] = 1
	}
	epochs := sortEpochs(from)
	switch {
	case len(epochs) == 0:
		return nil, errors.New("nothing names its epoch, which the checksums cover: no message can be proven; restore a backup")
	case r.has:
		r.done.Was = r.mark.Epoch
	case len(r.known.epochs) > 0:
		r.done.Was = r.known.epochs[len(r.known.epochs)-1].epoch
	default:
		r.done.Was = epochs[len(epochs)-1].epoch
	}
	return epochs, nil
}

// provenBy reports whether a row is what was stored in one of the epochs, and not in
// one whose offsets were used again later.
func provenBy(r *row, epochs []epochStart) bool {
	for _, e := range slices.Backward(epochs) {
		if r.sum(e.epoch) == r.checksum {
			return true
		}
		if r.offset >= e.from && e.from > 1 {
			return false
		}
	}
	return false
}

// rowOf returns a row that was found.
func rowOf(r salvage.Row) row {
	return row{
		offset: r.Offset, stored: r.Stored, timestamp: uint64(r.Timestamp), sender: r.Sender,
		kind: uint64(r.Type), total: r.Total, checksum: r.Checksum, content: r.Content,
	}
}

// add adds a proven row to the new database.
func (r *repair) add(f salvage.Found) error {
	if f.Offset < r.known.floor { // retention has removed it
		return nil
	}
	if f.Place == salvage.Open {
		// No commit follows it: it may have been refused.
		if !r.has || f.Offset > r.mark.Offset {
			return nil
		}
		_, isThere, err := queryInt(r.build.conn, `SELECT 1 FROM messages WHERE "offset" = ?`, int64(f.Offset))
		if err != nil || isThere {
			return err
		}
	}
	return r.build.add(rowOf(f.Row))
}

// redact applies the redactions that SQLite knows also to what was found.
func (r *repair) redact() error {
	for offset := range r.known.redacted {
		row, isThere, err := r.rowAt(offset)
		if err != nil {
			return err
		}
		if !isThere {
			continue
		}
		if err := pragma(r.build.conn, fmt.Sprintf(`DELETE FROM messages WHERE "offset" = %d`, offset)); err != nil {
			return err
		}
		if err := errors.Join(r.build.add(row.emptied()), r.build.redact(offset, time.UnixMilli(row.stored))); err != nil {
			return err
		}
	}
	return nil
}

// rowAt returns a row of the new database.
func (r *repair) rowAt(offset uint64) (found row, isThere bool, err error) {
	err = sqlitex.ExecuteTransient(r.build.conn, `SELECT stored, total FROM messages WHERE "offset" = ?`, &sqlitex.ExecOptions{
		Args: []any{int64(offset)},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			found, isThere = row{offset: offset, stored: stmt.ColumnInt64(0), total: stmt.ColumnInt64(1)}, true
			return nil
		},
	})
	return found, isThere, err
}

// fill finds what is missing, and puts empty messages in its place, but for the end.
func (r *repair) fill() error {
	var gaps []row // the row before each; its checksum is the number of those that are missing
	expected := r.known.floor
	var before row
	err := sqlitex.ExecuteTransient(r.build.conn, `SELECT "offset", stored, total FROM messages ORDER BY "offset"`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			is := row{offset: uint64(stmt.ColumnInt64(0)), stored: stmt.ColumnInt64(1), total: stmt.ColumnInt64(2)}
			if r.done.Messages == 0 {
				r.done.First = is.offset
			}
			r.done.Messages++
			if expected > 0 && is.offset > expected {
				r.done.Missing = append(r.done.Missing, Range{expected, is.offset})
				if before.offset > 0 {
					gaps = append(gaps, before)
				}
			}
			before, expected = is, is.offset+1
			return nil
		},
	})
	if err != nil {
		return err
	}
	r.done.Next = max(before.offset+1, 1)
	if r.has && r.mark.Offset >= r.done.Next {
		r.done.Missing = append(r.done.Missing, Range{max(r.done.Next, r.known.floor), r.mark.Offset + 1})
		if before.offset == 0 { // nothing is left: continue behind what was there
			r.done.First, r.done.Next = r.mark.Offset+1, r.mark.Offset+1
		}
	}
	for _, gap := range gaps {
		if err := r.fillGap(gap); err != nil {
			return err
		}
	}
	return nil
}

// fillGap puts empty messages behind a row.
func (r *repair) fillGap(before row) error {
	for _, missing := range r.done.Missing {
		if missing.From != before.offset+1 || missing.To-missing.From > maxFilled {
			continue
		}
		for empty := before; empty.offset+1 < missing.To; {
			empty.offset++
			if err := r.build.add(empty.emptied()); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepKeys keeps the keys of messages that are kept.
func (r *repair) keepKeys() error {
	for _, k := range r.known.keys.order {
		if _, isThere, err := r.rowAt(k.offset); err != nil || !isThere {
			if err != nil {
				return err
			}
			continue
		}
		err := sqlitex.Execute(r.build.conn, insertKeyRow, &sqlitex.ExecOptions{Args: []any{int64(k.offset), k.key[:], k.used}})
		if err != nil {
			return err
		}
	}
	return nil
}

// chooseEpoch begins another epoch if acknowledged messages are missing, or if that is
// not known: nobody may be able to tell whether the retention has removed what was
// before the first message.
func (r *repair) chooseEpoch() error {
	r.done.Epoch = r.done.Was
	hasBegin := r.known.floor > 0 || r.done.First == 1
	if r.has && hasBegin && len(r.done.Missing) == 0 &&
		r.mark.contradicts(r.done.Was, r.done.Next-1, 0, false, realSystem().boot()) == nil {
		return nil
	}
	r.done.Epoch = newEpoch()
	r.build.epoch = r.done.Epoch
	return addEpoch(r.build.conn, epochStart{r.done.Next, r.done.Epoch})
}

// sortEpochs returns epochs in the order of their first offsets.
func sortEpochs(from map[string]uint64) []epochStart {
	epochs := make([]epochStart, 0, len(from))
	for name, offset := range from {
		epochs = append(epochs, epochStart{offset, name})
	}
	slices.SortFunc(epochs, func(a, b epochStart) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.epoch, b.epoch))
	})
	return epochs
}
