package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// Reader reads the log in a directory without changing it, even while a server uses
// the directory. It is not safe for concurrent use.
type Reader struct {
	dir         string
	lock        *flock.Flock // nil while a server has the directory
	conn        *readerConn
	ev          evidence // the evidence when the reader was opened
	hasEvidence bool
	// hasDamagedEnd means that the rows after the last message are damaged.
	hasDamagedEnd bool
}

// OpenReader opens the log in a directory for reading. If no server uses the
// directory, none can start until the reader is closed. The caller must call
// [Reader.Close] at the end.
func OpenReader(dir string) (*Reader, error) {
	r := &Reader{dir: dir}
	if err := r.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), r.Close())
	}
	return r, nil
}

func (r *Reader) open() error {
	if err := refuseJetStream(r.dir); err != nil {
		return err
	}
	path := filepath.Join(r.dir, DatabaseFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s in it: give the directory that the server has as --data", DatabaseFile)
	case err != nil:
		return err
	case info.Size() == 0: // SQLite would remove its write-ahead log
		return explain(sqlite.ResultCorrupt.ToError())
	}
	if r.lock, err = lockDirectory(r.dir); err != nil && !errors.Is(err, ErrInUse) {
		return err
	}
	parameters := ""
	if wal, statErr := os.Stat(path + walSuffix); err == nil && (statErr != nil || wal.Size() == 0) {
		parameters = "immutable=1" // no process writes: SQLite need not create files beside the database
	}
	// The evidence is read first: the database may only have more by the time it is read.
	if r.ev, r.hasEvidence, err = readEvidence(r.dir); err != nil {
		return err
	}
	conn, err := openConn(path, sqlite.OpenReadOnly, parameters)
	if err != nil {
		return explain(err)
	}
	r.conn = &readerConn{conn: conn}
	isNew, err := checkSchema(conn)
	switch {
	case err != nil:
		return explain(err)
	case isNew:
		return errors.New("it has no tables: run simplechat log repair")
	}
	epochs, err := readEpochs(conn)
	if err != nil {
		return explain(err)
	}
	r.conn.scanner = newScanner(epochs)
	return nil
}

// explain adds to the error of a damaged database what to do.
func explain(err error) error {
	if isUnreadable(err) {
		return fmt.Errorf("%s is damaged: stop the server and run simplechat log repair: %w", DatabaseFile, err)
	}
	return err
}

// Close ends the reader.
func (r *Reader) Close() error {
	var err error
	if r.conn != nil {
		err = r.conn.conn.Close()
	}
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}

// State returns the epoch and the range of the stored offsets, which is somewhat more than
// a server reports.
func (r *Reader) State(ctx context.Context) (chatsvc.State, error) {
	if err := ctx.Err(); err != nil {
		return chatsvc.State{}, err
	}
	epochs := r.conn.scanner.epochs
	current := epochs[len(epochs)-1]
	state := chatsvc.State{Epoch: current.epoch}
	var err error
	if _, state.Next, r.hasDamagedEnd, err = r.conn.scanner.end(r.conn.conn, r.ev, r.hasEvidence); err != nil {
		return state, explain(err)
	}
	state.First, err = r.floor(state.Next)
	return state, err
}

// floor returns the lowest stored offset, or next if there is none.
func (r *Reader) floor(next uint64) (uint64, error) {
	lowest, err := r.conn.scanner.lowest(r.conn.conn)
	if err != nil {
		return 0, explain(err)
	}
	if lowest == 0 {
		return next, nil
	}
	return lowest, nil
}

// Read is like [chatsvc.Log.Read], but also returns stored records that a server does not
// report any longer. It reads at most 4,096 offsets.
func (r *Reader) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error) {
	state, err := r.State(ctx)
	switch {
	case err != nil:
		return chatsvc.Chunk{}, err
	case state.Epoch != epoch:
		return chatsvc.Chunk{}, fmt.Errorf("%w: it is %s, not %s", chatsvc.ErrEpoch, state.Epoch, epoch)
	}
	from = max(from, state.First)
	to = min(to, state.Next, from+4096)
	chunk := chatsvc.Chunk{From: from, Next: from, First: state.First}
	if from >= to {
		return chunk, nil
	}
	if chunk.Entries, chunk.Next, err = r.conn.read(ctx, from, to, maxBytes); err != nil {
		return chunk, err
	}
	// A server may have removed some of them since.
	if chunk.First, err = r.floor(state.Next); err != nil {
		return chunk, err
	}
	if chunk.First > chunk.From {
		chunk.From = min(chunk.First, chunk.Next)
		for len(chunk.Entries) > 0 && chunk.Entries[0].Offset < chunk.From {
			chunk.Entries = chunk.Entries[1:]
		}
	}
	return chunk, nil
}

// loss returns an error that says why acknowledged messages are missing, or nil if none
// are.
func (r *Reader) loss(state chatsvc.State) error {
	if r.hasDamagedEnd {
		return fmt.Errorf("the messages after %d are damaged", state.Next-1)
	}
	if !r.hasEvidence {
		return nil
	}
	checksum, isThere, err := queryInt(r.conn.conn, `SELECT checksum FROM messages WHERE "offset" = ?`, int64(r.ev.Offset))
	if err != nil {
		isThere = false // it is reported as damage
	}
	redacted, err := readRedactions(r.conn.conn)
	if err != nil {
		return err
	}
	_, isRedacted := redacted[r.ev.Offset]
	return r.ev.contradicts(state.Epoch, state.Next-1, checksum, isThere && !isRedacted, realSystem().boot())
}
