package jetlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
// 2.blk and so on. It syncs each message's file before it acknowledges, but not
// the name of a file that it has just made: after a power cut a file may be gone
// with all that it held. See newMsgBlockForWrite in nats-server's filestore.go.
type blocks struct {
	dir  string
	last int // the highest file whose name is on the disk
}

// streamPath returns a stream's directory in that of a NATS server.
func streamPath(store, stream string) string {
	return filepath.Join(store, server.JetStreamStoreDir, "$G", "streams", stream)
}

// openBlocks returns the blocks of a stream in a NATS server's directory, whose
// names are on the disk when it returns.
func openBlocks(store, stream string) (*blocks, error) {
	b := &blocks{dir: filepath.Join(streamPath(store, stream), "msgs")}
	// The files too: what a process that was killed had written and not synced is
	// in the stream, and is about to be handed out. Store's own name is above it.
	if err := syncTree(filepath.Dir(store)); err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		var n int
		if _, err := fmt.Sscanf(entry.Name(), "%d.blk", &n); err == nil {
			b.last = max(b.last, n)
		}
	}
	return b, nil
}

// settle sees to it that the names of all files are on the disk. It costs one
// look for a file that is not there, unless there is a new one.
func (b *blocks) settle() error {
	last := b.last
	for {
		if _, err := os.Lstat(filepath.Join(b.dir, fmt.Sprintf("%d.blk", last+1))); err != nil {
			break
		}
		last++
	}
	if last == b.last {
		return nil
	}
	if err := syncPath(b.dir); err != nil {
		return fmt.Errorf("sync the names of message files: %w", err)
	}
	b.last = last
	return nil
}

// disk sees to what the NATS server leaves open about a log's files: see blocks
// and mark. It is safe for concurrent use.
type disk struct {
	dir    *directory
	stream string
	epoch  func() string

	mu     sync.Mutex // guards all below
	blocks *blocks
	mark   *markWriter
}

// openDisk is called before anything is acknowledged.
func (d *directory) openDisk(stream string, m mark, epoch func() string) (*disk, error) {
	blocks, err := openBlocks(d.store(), stream)
	if err != nil {
		return nil, err
	}
	mark, err := openMark(d.markPath(), m)
	if err != nil {
		return nil, err
	}
	return &disk{dir: d, stream: stream, epoch: epoch, blocks: blocks, mark: mark}, nil
}

// settle is called before the records up to offset are acknowledged.
func (d *disk) settle(offset uint64) error {
	epoch := d.epoch()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.blocks.settle(); err != nil {
		return err
	}
	return d.mark.acknowledge(epoch, offset)
}

// reopen is called after the server was started anew: it may have removed files.
func (d *disk) reopen() error {
	blocks, err := openBlocks(d.dir.store(), d.stream)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocks = blocks
	return nil
}

// close is called when the server has ended: all that it wrote gets to the disk.
func (d *disk) close() error {
	if err := syncTree(d.dir.store()); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mark.close()
}
