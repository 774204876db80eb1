package jetlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// makeDirectory is os.MkdirAll, and sees to it that a power cut does not take
// the directory away again: its name, and that of each one above it that was
// missing too, is on the disk.
func makeDirectory(path string, perm fs.FileMode) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	made := []string{}
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(path, perm); err != nil {
		return err
	}
	for _, dir := range made {
		if err := syncPath(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// writeDurably writes a file, whole or not at all, whatever happens meanwhile.
func writeDurably(path string, data []byte, perm fs.FileMode) error {
	next := path + newSuffix
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // else the name could be on the disk before the content
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// syncPath writes a directory's entries to the disk, or a file's content. To
// sync a file does not do that for its name (fsync(2), though common file systems
// are kinder).
func syncPath(path string) error {
	d, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncTree syncs all directories and files from root down.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = syncPath(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server tidies up
		}
		return err
	})
}

// checkTree fails if there is a file below root that cannot be read and written.
// The NATS server removes a stream that it cannot open.
func checkTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it is about to be made
		case err != nil:
			return err
		case path == root && !entry.IsDir():
			return fmt.Errorf("%s is not a directory", path)
		case !entry.Type().IsRegular():
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the operator names the directory
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// blocks are the files that the NATS server keeps a stream's messages in: 1.blk,
// 2.blk and so on. It writes each message to the last one before it acknowledges,
// and syncs neither the file nor its name: sync does. Files go in their order, and
// none is written anew as long as the server does not sync by itself: see
// removeMsg and syncBlocks in nats-server's filestore.go. It is safe for concurrent
// use.
type blocks struct {
	dir string

	mu   sync.Mutex // guards last
	last int        // the highest file that was synced; those before it are durable
}

// indexFile is where the NATS server notes from time to time what a stream has,
// so that it need not read all files at its next start.
const indexFile = "index.db"

// streamPath returns a stream's directory in that of a NATS server.
func streamPath(store, stream string) string {
	return filepath.Join(store, server.JetStreamStoreDir, "$G", "streams", stream)
}

// blocksPath returns the directory of a stream's blocks.
func blocksPath(store, stream string) string { return filepath.Join(streamPath(store, stream), "msgs") }

// openBlocks returns the blocks of a stream in a NATS server's directory. They,
// their names and the stream's settings are on the disk when it returns: what a
// process that was killed had written and not synced is in the stream, and is
// about to be handed out.
func openBlocks(store, stream string) (*blocks, error) {
	b := &blocks{dir: blocksPath(store, stream)}
	if err := syncTree(filepath.Dir(store)); err != nil { // store's own name is above it
		return nil, fmt.Errorf("sync: %w", err)
	}
	numbers, err := b.list()
	if err != nil {
		return nil, err
	}
	b.last = slices.Max(append(numbers, 0))
	return b, nil
}

// list returns the numbers of the files that are there.
func (b *blocks) list() ([]int, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		var n int
		if _, err := fmt.Sscanf(entry.Name(), "%d.blk", &n); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func (b *blocks) path(n int) string { return filepath.Join(b.dir, fmt.Sprintf("%d.blk", n)) }

// sync writes to the disk what the server acknowledged before it was called.
func (b *blocks) sync() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, err := b.syncFrom(b.last)
	if errors.Is(err, fs.ErrNotExist) { // the retention has removed it
		last, err = b.syncListed()
	}
	if err != nil || last == b.last {
		return err
	}
	if err := syncPath(b.dir); err != nil {
		return fmt.Errorf("sync the names of message files: %w", err)
	}
	b.last = last
	return nil
}

// syncFrom syncs the file n and those after it, and returns which is the last. It
// fails with [fs.ErrNotExist] if one is gone: others may have come and gone too.
// What is not the last one before it is synced will not change any more.
func (b *blocks) syncFrom(n int) (last int, err error) {
	last = n
	for {
		if _, err := os.Lstat(b.path(last + 1)); err != nil {
			break
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
