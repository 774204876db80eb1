package jetlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// blocks are the files that the NATS server keeps a stream's messages in: 1.blk,
// 2.blk and so on. It writes each message to the last one before it acknowledges,
// and syncs neither the file nor its name: sync does. The oldest file is removed
// first, and none is written anew as long as the server does not sync by itself:
// see removeMsg and syncBlocks in nats-server's filestore.go. It is safe for
// concurrent use.
type blocks struct {
	dir   string
	spare string // path of a file that is about to replace one of them

	mu   sync.Mutex // guards all below
	last int        // the highest file that was synced; those before it are durable
	// err is of the sync that failed. Another one could succeed and mean nothing:
	// the system reports once what it could not write, and takes it for written.
	err error
}

// indexFile is where the NATS server notes from time to time what a stream has,
// so that it need not read all files at its next start.
const indexFile = "index.db"

// streamPath returns a stream's directory in that of a NATS server.
func streamPath(store, stream string) string {
	return filepath.Join(store, server.JetStreamStoreDir, "$G", "streams", stream)
}

// newBlocks returns the blocks of a stream in a NATS server's directory, which may
// be missing.
func newBlocks(store, stream string) *blocks {
	return &blocks{
		dir: filepath.Join(streamPath(store, stream), "msgs"),
		// Not beside them: the server would take it for one.
		spare: filepath.Join(filepath.Dir(store), "block"+newSuffix),
	}
}

// openBlocks returns the blocks of a stream in a NATS server's directory. They,
// their names and the stream's settings are on the disk when it returns: what a
// process that was killed had written and not synced is in the stream, and is
// about to be handed out.
func openBlocks(store, stream string) (*blocks, error) {
	b := newBlocks(store, stream)
	numbers, err := b.list()
	if err != nil {
		return nil, err
	}
	b.last = slices.Max(append(numbers, 0))
	if err := syncTree(filepath.Dir(store)); err != nil { // store's own name is above it
		return nil, fmt.Errorf("sync: %w", err)
	}
	return b, nil
}

// list returns the numbers of the files that are there, in their order.
func (b *blocks) list() ([]int, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		var n int
		if _, err := fmt.Sscanf(entry.Name(), "%d.blk", &n); err == nil && entry.Name() == filepath.Base(b.path(n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (b *blocks) path(n int) string { return filepath.Join(b.dir, fmt.Sprintf("%d.blk", n)) }

// sync writes to the disk what the server acknowledged before it was called. It
// returns whether another file is the last one now.
func (b *blocks) sync() (next bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return false, b.err
	}
	last, err := b.syncFrom(b.last)
	if errors.Is(err, fs.ErrNotExist) { // the retention has removed it
		last, err = b.syncListed()
	}
	if err == nil && last != b.last {
		next = true
		if err = syncPath(b.dir); err != nil {
			err = fmt.Errorf("sync the names of message files: %w", err)
		}
	}
	b.last, b.err = max(b.last, last), err
	return next, err
}

// moved reports whether another file has come since the last sync, as where the
// age of the messages has removed all of them.
func (b *blocks) moved() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := os.Lstat(b.path(b.last + 1))
	return err == nil
}

// mend writes to the disk anew what a sync has failed for. The server does not
// run.
func (b *blocks) mend() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		return nil
	}
	numbers, err := b.list()
	for _, n := range numbers {
		if n >= b.last && err == nil {
			err = b.rewrite(n)
		}
	}
	if err == nil {
		b.err = nil
	}
	return err
}

// distrust prepares a stream's files for the start of a server after a power cut,
// or a failure of the disk. The index goes: after a power cut it may tell of records
// that were not acknowledged and are not there, and their offsets would be a gap.
// The last file is written anew: a sync of it may have failed.
func distrust(store, stream string) error {
	b := newBlocks(store, stream)
	numbers, err := b.list()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(b.dir, indexFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(numbers) == 0 {
		return nil
	}
	return b.rewrite(numbers[len(numbers)-1])
}

// cut removes the files whose first record has an offset above hole, and returns
// how many. The server does not run.
func (b *blocks) cut(hole uint64) (removed int, err error) {
	numbers, err := b.list()
	if err != nil {
		return 0, err
	}
	for _, n := range slices.Backward(numbers) { // so that no hole appears
		first, err := firstOffset(b.path(n))
		if err != nil || first <= hole {
			return removed, err
		}
		if err := os.Remove(b.path(n)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, syncPath(b.dir)
}

// firstOffset returns the offset of the first record in a message file, or one
// above all others if it has none. A record begins with its length in 4 bytes and
// its sequence in 8, least significant byte first; the highest two bits of the
// sequence mark what is no message. See writeMsgRecord in nats-server's
// filestore.go.
func firstOffset(path string) (uint64, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	var head [12]byte
	if _, err := io.ReadFull(file, head[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return math.MaxUint64, nil
	} else if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(head[4:]) &^ (3 << 62), nil
}

// rewrite puts a copy in the place of the file n.
func (b *blocks) rewrite(n int) error {
	data, err := os.ReadFile(b.path(n))
	if err != nil {
		return err
	}
	return replaceFile(b.path(n), b.spare, data, 0o600)
}

// syncFrom syncs the file n and those after it, and returns which is the last. The
// caller holds mu. It fails with [fs.ErrNotExist] if one is gone: others may have
// come and gone too. What is not the last one before it is synced will not change
// any more.
func (b *blocks) syncFrom(n int) (last int, err error) {
	last = n
	for {
		_, err := os.Lstat(b.path(last + 1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return 0, err
		}
		last++
	}
	for ; n <= last; n++ {
		if err := syncPath(b.path(n)); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// syncListed syncs all files, and returns which is the last. The caller holds mu.
func (b *blocks) syncListed() (last int, err error) {
	numbers, err := b.list()
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		if err := syncPath(b.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	return slices.Max(append(numbers, b.last)), nil
}
