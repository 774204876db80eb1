package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Backup writes the log of a directory to a new file, as it is at one moment, even
// while a server uses the directory. The file is a complete database: as chat.db in an
// empty directory it is a log. A server that opens it begins another epoch, because it
// lacks the messages since the backup.
//
// Only the owner may read the file. It appears only if Backup returns nil; then SQLite has
// found no fault in it. Progress is called with bytes.
func Backup(ctx context.Context, dir, file string, progress Progress) error {
	r, err := OpenReader(dir)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it only read
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: the file exists already: give another name", file)
	}
	work, err := os.MkdirTemp(filepath.Dir(file), ".simplechat-backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a file that is left has a clear name
	path := filepath.Join(work, DatabaseFile)
	err = watchSize(path, r.size(), progress, func() error {
		r.conn.conn.SetInterrupt(ctx.Done())
		return sqlitex.ExecuteTransient(r.conn.conn, "VACUUM INTO ?", &sqlitex.ExecOptions{Args: []any{path}})
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isUnreadable(err):
		return fmt.Errorf("%s: the database is damaged: simplechat log export writes all messages that can be read: %w", dir, err)
	case err != nil:
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := checkBackup(path); err != nil {
		return fmt.Errorf("%s: the backup would be damaged, as the database is: simplechat log export writes all messages that can be read: %w", dir, err)
	}
	if err := makeDurable(path); err != nil {
		return err
	}
	if err := os.Link(path, file); err != nil { // unlike Rename, it replaces nothing
		if err := os.Rename(path, file); err != nil {
			return err
		}
	}
	return syncDirectory(filepath.Dir(file))
}

// checkBackup returns the first fault that SQLite finds in a file that was just written.
func checkBackup(path string) error {
	conn, err := openConn(path, sqlite.OpenReadOnly, "")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it only read
	var found Checked
	found.checkPages(context.Background(), conn)
	if len(found.Problems) > 0 {
		return errors.New(found.Problems[0])
	}
	return nil
}

// size returns the approximate size of the database in bytes.
func (r *Reader) size() int64 {
	pages, _, errPages := queryInt(r.conn.conn, "PRAGMA page_count")
	free, _, errFree := queryInt(r.conn.conn, "PRAGMA freelist_count")
	if errors.Join(errPages, errFree) != nil {
		return 0
	}
	return (pages - free) * pageSize
}

// watchSize runs work, which writes a file, and reports the growing size of the file.
func watchSize(path string, total int64, progress Progress, work func() error) error {
	if progress == nil {
		return work()
	}
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if info, err := os.Stat(path); err == nil {
					progress(info.Size(), max(total, info.Size()))
				}
			}
		}
	}()
	err := work()
	close(done)
	<-ended
	return err
}
