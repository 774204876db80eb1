package jetlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"example.com/simplechat/chatsvc"
)

const (
	// keysFile has the keys of the last appends, and oldKeysFile those before.
	keysFile    = "keys"
	oldKeysFile = "keys.old"
	// keyRecordSize is the size in bytes of a key in its file: its message id,
	// the offset, the time in nanoseconds since 1970, and a checksum.
	keyRecordSize = messageIDSize + 8 + 8 + 4
)

// keyUse is what became of the append with a key.
type keyUse struct {
	offset uint64
	time   time.Time
}

// keyJournal is on the disk what JetStream knows of keys in memory. After a
// start JetStream knows those of the messages that the stream still has; the
// journal has all of [chatsvc.KeyWindow]. Only find and syncLater may be called
// while another method is.
type keyJournal struct {
	dir    string
	opened time.Time
	now    func() time.Time

	file  *os.File
	size  int64 // of the records that are whole
	begun time.Time
	err   error // of a sync that failed: see blocks
	lost  int   // records that were damaged, or of another epoch

	// known has the keys that JetStream does not know since the start, nil when
	// they are too old.
	known atomic.Pointer[map[string]keyUse]
}

// openKeys opens the journal in the directory dir of a stream with this epoch,
// first and last offset. It removes from it what does not belong to the stream:
// what a power cut has taken was not acknowledged. It adds what was stored and may
// not be in it.
func openKeys(dir, epoch string, first, last uint64, stored map[string]keyUse) (*keyJournal, error) {
	now := time.Now()
	j := &keyJournal{dir: dir, opened: now, now: time.Now, begun: now}
	known, kept := map[string]keyUse{}, []byte(nil)
	for _, name := range []string{oldKeysFile, keysFile} {
		data, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // the operator names the directory
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for len(data) > 0 {
			record := data[:min(keyRecordSize, len(data))]
			data = data[len(record):]
			id, use, ok := decodeKey(record, epoch)
			if !ok {
				j.lost++
			}
			if !ok || use.offset > last || now.Sub(use.time) > chatsvc.KeyWindow {
				continue
			}
			use.time = earlier(use.time, now) // the clock may have been set back
			kept = appendKey(kept, epoch, string(id), use)
			if use.offset < first {
				known[string(id)] = use
			}
		}
	}
	for id, use := range stored {
		kept = appendKey(kept, epoch, id, use)
	}
	j.known.Store(&known)
	return j, j.replace(kept)
}

// replace goes on with a file that has the records in data, and is the only one.
// It is another file than before: a sync of that one may have failed.
func (j *keyJournal) replace(data []byte) error {
	path := filepath.Join(j.dir, keysFile)
	if err := writeDurably(path, data, 0o600); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(j.dir, oldKeysFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0o600) //nolint:gosec // the operator names the directory
	j.file, j.size = file, int64(len(data))
	return err
}

// appendKey appends a key's record to data. Its checksum is that of the epoch
// too: in another one the record means nothing.
func appendKey(data []byte, epoch, id string, use keyUse) []byte {
	start := len(data)
	data = append(data, id...)
	data = binary.BigEndian.AppendUint64(data, use.offset)
	data = binary.BigEndian.AppendUint64(data, uint64(use.time.UnixNano()))
	return binary.BigEndian.AppendUint32(data, keyChecksum(epoch, data[start:]))
}

// decodeKey returns a key and its use, and false for a record that is cut,
// damaged or of another epoch.
func decodeKey(record []byte, epoch string) (id []byte, use keyUse, ok bool) {
	if len(record) < keyRecordSize {
		return nil, keyUse{}, false
	}
	content, sum := record[:keyRecordSize-4], record[keyRecordSize-4:]
	if binary.BigEndian.Uint32(sum) != keyChecksum(epoch, content) {
		return nil, keyUse{}, false
	}
	numbers := content[messageIDSize:]
	return content[:messageIDSize], keyUse{
		offset: binary.BigEndian.Uint64(numbers),
		time:   time.Unix(0, int64(binary.BigEndian.Uint64(numbers[8:]))),
	}, true
}

func keyChecksum(epoch string, content []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(epoch)), crc32.IEEETable, content)
}

// find returns the offset of the append that had the message id, if it was
// before the start and within [chatsvc.KeyWindow].
func (j *keyJournal) find(id string) (uint64, bool) {
	known := j.known.Load()
	if known == nil {
		return 0, false
	}
	now := j.now()
	if now.Sub(j.opened) > chatsvc.KeyWindow {
		j.known.Store(nil)
		return 0, false
	}
	use, ok := (*known)[id]
	return use.offset, ok && now.Sub(use.time) <= chatsvc.KeyWindow
}

// add notes the keys of appends, and returns whether there were any.
func (j *keyJournal) add(epoch string, appends []*pendingAppend) (bool, error) {
	if j.err != nil {
		return false, j.err
	}
	var data []byte
	now := j.now()
	for _, a := range appends {
		if a.id != "" && !a.appended.Duplicate {
			data = appendKey(data, epoch, a.id, keyUse{a.appended.Offset, now})
		}
	}
	if data == nil {
		return false, nil
	}
	if now.Sub(j.begun) > chatsvc.KeyWindow {
		if err := j.rotate(now); err != nil {
			return false, fmt.Errorf("begin a new file of keys: %w", err)
		}
	}
	if _, err := j.file.WriteAt(data, j.size); err != nil {
		return false, err
	}
	j.size += int64(len(data))
	return true, nil
}

// rotate begins a new file. The one before the last is forgotten.
func (j *keyJournal) rotate(now time.Time) error {
	if err := j.sync(); err != nil {
		return err
	}
	path := filepath.Join(j.dir, keysFile)
	file, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	err = os.Rename(path, filepath.Join(j.dir, oldKeysFile))
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	err = errors.Join(syncPath(j.dir), j.file.Close())
	j.file, j.size, j.begun = file, 0, now
	return err
}

// sync writes what was added to the disk.
func (j *keyJournal) sync() error {
	if j.err == nil {
		j.err = j.file.Sync()
	}
	return j.err
}

// syncLater is sync for where nobody waits for it.
func (j *keyJournal) syncLater() error {
	err := syncPath(filepath.Join(j.dir, keysFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // rotate is at work, and syncs
	}
	return err
}

func (j *keyJournal) close() error { return errors.Join(j.file.Sync(), j.file.Close()) }
