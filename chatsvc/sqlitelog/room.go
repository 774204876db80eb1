package sqlitelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
)

// explain adds to the error of a failed write that there is no room, if that is the
// cause. SQLite does that for a full disk, but not for a quota.
func (w *writer) explain(err error) error {
	if err == nil || sqlite.ErrCode(err) != sqlite.ResultIOErrWrite {
		return err
	}
	if cause := w.log.system.room(w.log.dir, w.files.largest()); isNoSpace(cause) {
		if path, ok := errors.AsType[*fs.PathError](cause); ok {
			cause = path.Err // the name differs each time, and would make another line in the log
		}
		return fmt.Errorf("%w: %w", sqlite.ResultFull.ToError(), cause)
	}
	return err
}

// tryRoom writes a few kilobytes to a new file in a directory, at an offset, and returns
// the error of that.
func tryRoom(dir string, offset int64) error { return writeRoom(dir, offset, 4*pageSize) }

// writeRoom is tryRoom for a number of bytes.
func writeRoom(dir string, offset, bytes int64) (err error) {
	file, err := os.CreateTemp(dir, "room-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	if _, err := file.WriteAt(make([]byte, bytes), offset); err != nil {
		return err
	}
	return file.Sync()
}
