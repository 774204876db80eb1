package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

// Repaired is the result of [Repair].
type Repaired struct {
	First, Next uint64
	Messages    uint64 // number of messages that were found
	// Missing are the offsets between First and what was acknowledged last whose
	// messages were not found.
	Missing []Range
	// Was and Epoch are the epochs before and after. They differ if acknowledged
	// messages are missing, or if that is not known.
	Was, Epoch string
	// Unreadable is the number of pages that the storage could not read.
	Unreadable int
	// Aside is the directory with the files from before the repair.
	Aside string
}

// maxFilled is the largest gap that is filled with empty messages.
const maxFilled = 1 << 16

// Repair reads the pages of a directory's database and the frames of its write-ahead
// log one by one, and makes a new database from all messages whose checksums are right.
// The old files are kept in a separate directory. Missing messages become empty ones, so
// all others keep their offsets. Idempotency keys that SQLite can read are kept.
//
// It fails with [ErrInUse] while a server uses the directory. After an error the
// files are unchanged. Progress is called with bytes.
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

// repair is one call of Repair.
type repair struct {
	dir         string
	progress    Progress
	ev          evidence
	hasEvidence bool
	known       known
	build       *builder
	done        Repaired
}

func (r *repair) run(ctx context.Context) error {
	var err error
	if r.ev, r.hasEvidence, err = readEvidence(r.dir); err != nil {
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

// readFiles adds all proven messages to a new database.
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
		return fmt.Errorf("there is no %s in it: give the directory that the server has as --data", DatabaseFile)
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

// rowOf converts a row that was found.
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
		// No commit follows the row: its append may have been refused.
		if !r.hasEvidence || f.Offset > r.ev.Offset {
			return nil
		}
		_, isThere, err := queryInt(r.build.conn, `SELECT 1 FROM messages WHERE "offset" = ?`, int64(f.Offset))
		if err != nil || isThere {
			return err
		}
	}
	return r.build.add(rowOf(f.Row))
}

// chooseEpoch begins another epoch if acknowledged messages are missing, or if that is
// not known: the retention may or may not have removed the messages before the first
// one.
func (r *repair) chooseEpoch() error {
	r.done.Epoch = r.done.Was
	hasBegin := r.known.floor > 0 || r.done.First == 1
	if r.hasEvidence && hasBegin && len(r.done.Missing) == 0 &&
		r.ev.contradicts(r.done.Was, r.done.Next-1, 0, false, realSystem().boot()) == nil {
		return nil
	}
	r.done.Epoch = newEpoch()
	r.build.epoch = r.done.Epoch
	return addEpoch(r.build.conn, epochStart{r.done.Next, r.done.Epoch})
}
