package sqlitelog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	driver "modernc.org/sqlite"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// DatabaseFile is the database's name in the directory. SQLite keeps two more
	// files beside it while it is open, with the suffixes -wal and -shm.
	DatabaseFile = "chat.db"
	walSuffix    = "-wal"
	shmSuffix    = "-shm"

	// applicationID marks the file as a log of SimpleChat: "SCHT" (PRAGMA
	// application_id, https://www.sqlite.org/pragma.html).
	applicationID = 0x53434854
	// schemaVersion is the schema's version (PRAGMA user_version).
	schemaVersion = 1
	// pageSize is the size of a page in bytes. With 8 KiB instead of 4, sends of 1 MiB
	// wait half as long for a checkpoint.
	pageSize = 8192
)

// schema creates version 1. The package documentation explains it.
const schema = `
CREATE TABLE messages (
  "offset"  INTEGER PRIMARY KEY,
  stored    INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  sender    TEXT    NOT NULL,
  type      INTEGER NOT NULL,
  total     INTEGER NOT NULL,
  checksum  INTEGER NOT NULL,
  content   ANY
) STRICT;
CREATE TABLE keys (
  "offset" INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL,
  used     INTEGER NOT NULL
) STRICT;
CREATE TABLE epochs (
  "from" INTEGER PRIMARY KEY,
  epoch  TEXT NOT NULL
) STRICT;
CREATE TABLE redactions (
  "offset" INTEGER PRIMARY KEY,
  time     INTEGER NOT NULL
) STRICT;
`

// ErrNewerSchema is wrapped by the error of [Open] if a newer version of SimpleChat has
// written the database.
var ErrNewerSchema = errors.New("a newer version of simplechat has written it: use that version")

// errNoSchema means that a database is damaged although SQLite reports no error.
var errNoSchema = errors.New("the database is damaged")

// epochStart is an epoch and the first offset that was stored in it.
type epochStart struct {
	from  uint64
	epoch string
}

// openConn opens a connection to the database file. Parameters are those of an SQLite
// URI (https://www.sqlite.org/uri.html).
func openConn(path string, flags sqlite.OpenFlags, parameters string) (*sqlite.Conn, error) {
	useOwnLocks()
	uri := "file:" + escapeURI(path)
	if parameters != "" {
		uri += "?" + parameters
	}
	conn, err := sqlite.OpenConn(uri, flags|sqlite.OpenURI)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTime)
	return conn, nil
}

// useOwnLocks makes SQLite's locks belong to its open files, if the system supports that.
// POSIX locks belong to the process: they are released when any code in the process
// closes the database file, for example after copying it
// (https://www.sqlite.org/howtocorrupt.html, section 2.2). It has no effect in a program
// that has used SQLite before.
var useOwnLocks = sync.OnceFunc(func() {
	_, _ = driver.OFDLocking(true) // it fails if the system lacks it, or if it is too late
})

// escapeURI escapes the characters that are special in an SQLite URI.
func escapeURI(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}

// pragma runs statements that return no rows of interest.
func pragma(conn *sqlite.Conn, statements ...string) error {
	for _, s := range statements {
		if err := sqlitex.ExecuteTransient(conn, s, nil); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// queryInt returns the first column of the first row of a query.
func queryInt(conn *sqlite.Conn, query string, args ...any) (value int64, found bool, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{
		Args:       args,
		ResultFunc: func(stmt *sqlite.Stmt) error { value, found = stmt.ColumnInt64(0), true; return nil },
	})
	return value, found, err
}

// create creates the tables of an empty database.
func create(conn *sqlite.Conn, epoch string) (err error) {
	if err := pragma(conn, fmt.Sprintf("PRAGMA page_size = %d", pageSize), "PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	if err := pragma(conn, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = pragma(conn, "ROLLBACK")
		}
	}()
	if err := sqlitex.ExecuteScript(conn, schema, nil); err != nil {
		return err
	}
	if err := addEpoch(conn, epochStart{1, epoch}); err != nil {
		return err
	}
	return pragma(conn,
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", schemaVersion),
		"COMMIT")
}

// checkSchema fails if the database is not a log of this version. isNew means that it
// has no tables yet.
func checkSchema(conn *sqlite.Conn) (isNew bool, err error) {
	id, _, err := queryInt(conn, "PRAGMA application_id")
	if err != nil {
		return false, err
	}
	version, _, err := queryInt(conn, "PRAGMA user_version")
	if err != nil {
		return false, err
	}
	tables, _, err := queryInt(conn, "SELECT count(*) FROM sqlite_schema")
	switch {
	case err != nil:
		return false, err
	case id == 0 && tables == 0:
		return true, nil
	case id != applicationID:
		return false, errors.New("it is a database of another program")
	case version > schemaVersion:
		return false, fmt.Errorf("its schema has version %d, but this version of simplechat knows %d: %w", version, schemaVersion, ErrNewerSchema)
	case version < 1:
		return false, fmt.Errorf("%w: its schema has version %d, which does not exist", errNoSchema, version)
	}
	return false, nil
}

// readEpochs returns all epochs of the log, the current one last.
func readEpochs(conn *sqlite.Conn) ([]epochStart, error) {
	var epochs []epochStart
	err := sqlitex.ExecuteTransient(conn, `SELECT "from", epoch FROM epochs ORDER BY "from"`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			epochs = append(epochs, epochStart{uint64(stmt.ColumnInt64(0)), stmt.ColumnText(1)})
			return nil
		},
	})
	if err == nil && len(epochs) == 0 {
		err = errors.New("it has no epoch: run simplechat log repair")
	}
	return epochs, err
}

// addEpoch begins an epoch.
func addEpoch(conn *sqlite.Conn, e epochStart) error {
	return sqlitex.ExecuteTransient(conn, `INSERT OR REPLACE INTO epochs ("from", epoch) VALUES (?, ?)`, &sqlitex.ExecOptions{
		Args: []any{int64(e.from), e.epoch},
	})
}

// epochAt returns the epoch in which the record at offset was stored.
func epochAt(epochs []epochStart, offset uint64) string {
	epoch := epochs[0].epoch
	for _, e := range epochs {
		if e.from <= offset {
			epoch = e.epoch
		}
	}
	return epoch
}

// newEpoch returns an epoch that was never used.
func newEpoch() string { return rand.Text() }
