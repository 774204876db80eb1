package jetlog

import (
	"errors"
	"sync"
)

// disk sees to what the NATS server leaves open about a log's files: see blocks,
// keyJournal and mark. It is safe for concurrent use.
type disk struct {
	dir    *directory
	stream string
	always bool // settle syncs
	epoch  func() string

	mu     sync.Mutex // guards all below
	blocks *blocks
	keys   *keyJournal
	mark   *markWriter
	dirty  bool // sync has something to do
}

// openDisk is called before anything is acknowledged. The stream has m's epoch
// and offset.
func (d *directory) openDisk(stream string, m mark, epoch func() string) (*disk, error) {
	blocks, err := openBlocks(d.store(), stream)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(d.path, m.Epoch, m.Offset)
	if err != nil {
		return nil, err
	}
	mark, err := openMark(d.markPath(), m)
	if err != nil {
		return nil, err
	}
	return &disk{dir: d, stream: stream, always: !m.Interval, epoch: epoch, blocks: blocks, keys: keys, mark: mark}, nil
}

// reopen is called after the server was started anew, which may have removed
// files and records. The stream has this epoch and last offset.
func (d *disk) reopen(epoch string, last uint64) error {
	blocks, err := openBlocks(d.dir.store(), d.stream)
	if err != nil {
		return err
	}
	keys, err := openKeys(d.dir.path, epoch, last)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.keys.file.Close() // it was replaced
	d.blocks, d.keys = blocks, keys
	return nil
}

// known returns the offset of the append that had the message id before the
// start.
func (d *disk) known(id string) (uint64, bool) {
	d.mu.Lock()
	keys := d.keys
	d.mu.Unlock()
	return keys.find(id)
}

// settle is called before appends are acknowledged, in the stream's order.
func (d *disk) settle(appends []*pendingAppend) error {
	epoch := d.epoch()
	d.mu.Lock()
	defer d.mu.Unlock()
	keyed, err := d.keys.add(epoch, appends)
	if err != nil {
		return err
	}
	if d.always {
		if err := syncRecords(d.blocks, d.keys, keyed); err != nil {
			return err
		}
	}
	d.dirty = true
	return d.mark.acknowledge(epoch, appends)
}

// syncRecords syncs the records, and the keys with them.
func syncRecords(blocks *blocks, keys *keyJournal, keyed bool) error {
	if !keyed {
		return blocks.sync()
	}
	synced := make(chan error, 1)
	go func() { synced <- keys.sync() }()
	return errors.Join(blocks.sync(), <-synced)
}

// sync is called from time to time: what settle does not sync, the mark at
// least, is on the disk when it returns.
func (d *disk) sync() error {
	d.mu.Lock()
	dirty, blocks, keys := d.dirty, d.blocks, d.keys
	d.dirty = false
	d.mu.Unlock()
	if !dirty {
		return nil
	}
	err := syncRecords(blocks, keys, true)
	if err == nil {
		err = syncPath(d.dir.markPath()) // last: it promises the others
	}
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.dirty = true
	}
	return err
}

// close is called when the server has ended: all that it wrote gets to the disk.
func (d *disk) close() error {
	if err := syncTree(d.dir.store()); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.keys.close(), d.mark.close())
}
