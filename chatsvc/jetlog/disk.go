package jetlog

import (
	"errors"
	"sync"
	"sync/atomic"
)

// disk sees to what the NATS server leaves open about a log's files: see blocks,
// keyJournal and mark. It is safe for concurrent use.
type disk struct {
	dir    *directory
	stream string
	always bool // settle syncs
	epoch  func() string

	keys atomic.Pointer[keyJournal] // written with mu held

	mu     sync.Mutex // guards all below
	blocks *blocks
	mark   *markWriter
	dirty  bool // sync has something to do
}

// openDisk syncs what is in the directory, and begins a new mark, before anything
// is acknowledged. The stream has m's epoch and last offset, and its first offset
// is first. Stored are keys that may not be in the journal.
func (d *directory) openDisk(stream string, m mark, first uint64, stored map[string]keyUse, epoch func() string) (*disk, error) {
	blocks, err := openBlocks(d.store(), stream)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(d.path, m.Epoch, first, m.Offset, stored)
	if err != nil {
		return nil, err
	}
	mark, err := openMark(d.markPath(), m)
	if err != nil {
		return nil, errors.Join(err, keys.close())
	}
	opened := &disk{dir: d, stream: stream, always: !m.Interval, epoch: epoch, blocks: blocks, mark: mark}
	opened.keys.Store(keys)
	return opened, nil
}

// reopen is called after the server was started anew, which may have removed
// files and records. The stream has this epoch, and these first and last offsets.
// Stored are keys that may not be in the journal.
func (d *disk) reopen(epoch string, first, last uint64, stored map[string]keyUse) error {
	d.mu.Lock() // nothing is added to the keys while they are read
	defer d.mu.Unlock()
	blocks, err := openBlocks(d.dir.store(), d.stream)
	if err != nil {
		return err
	}
	keys, err := openKeys(d.dir.path, epoch, first, last, stored)
	if err != nil {
		return err
	}
	d.blocks, d.mark.Failed = blocks, false // mend was called before
	_ = d.keys.Swap(keys).file.Close()      // another one has it
	return d.mark.write()
}

// acknowledged returns the highest offset that the mark has.
func (d *disk) acknowledged() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mark.Offset
}

// known returns the offset of the append that had the message id before the
// start. It does not wait for the disk.
func (d *disk) known(id string) (uint64, bool) { return d.keys.Load().find(id) }

// settle makes appends as durable as the log promises, and notes their keys and
// the last offset: they are about to be acknowledged. It is called in the stream's
// order.
func (d *disk) settle(appends []*pendingAppend) error {
	epoch := d.epoch()
	d.mu.Lock()
	defer d.mu.Unlock()
	keys := d.keys.Load()
	keyed, err := keys.add(epoch, appends)
	if err != nil {
		return err
	}
	next := false
	switch {
	case !d.always:
	case keyed:
		next, err = syncRecords(d.blocks, keys.sync)
	default:
		next, err = d.blocks.sync()
	}
	if err != nil {
		d.fail()
		return err
	}
	d.dirty = true
	if err := d.mark.acknowledge(epoch, appends); err != nil || !next {
		return err
	}
	// With an older mark, a power cut would leave acknowledged records in a file
	// that cutUnacknowledged takes for one of which nobody was told.
	return d.mark.file.Sync()
}

// syncRecords syncs the records, and the keys beside them. It returns whether
// there is another message file now.
func syncRecords(blocks *blocks, keys func() error) (next bool, err error) {
	synced := make(chan error, 1)
	go func() { synced <- keys() }()
	next, err = blocks.sync()
	return next, errors.Join(err, <-synced)
}

// sync is called from time to time: what settle does not sync, the mark at
// least, is on the disk when it returns.
func (d *disk) sync() error {
	d.mu.Lock()
	dirty, blocks, before := d.dirty, d.blocks, d.mark.mark
	d.dirty = false
	d.mu.Unlock()
	if !dirty && !blocks.moved() {
		return nil
	}
	_, err := syncRecords(blocks, d.keys.Load().syncLater)
	if err == nil {
		err = d.noteSynced(before)
	}
	if err == nil {
		err = syncPath(d.dir.markPath()) // last: it promises the others
	}
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.dirty = true
		d.fail()
	}
	return err
}

// fail notes that a sync has failed, for the next process if this one does not
// mend it. The caller holds mu.
func (d *disk) fail() {
	d.mark.Failed = true
	_ = d.mark.write() // the disk has failed already
}

// noteSynced notes in the mark that what it was before is on the disk.
func (d *disk) noteSynced(before mark) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mark.Epoch == before.Epoch {
		d.mark.Synced = before.Offset
	}
	return d.mark.write()
}

// mend is that of the blocks. The server does not run.
func (d *disk) mend() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blocks.mend()
}

// close is called when the server has ended: all that it wrote gets to the disk.
func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errors.Join(d.blocks.mend(), syncTree(d.dir.store())); err != nil {
		return err
	}
	return errors.Join(d.keys.Load().close(), d.mark.close())
}
