package sqlitelog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	// evidenceFile is the name of the file with the evidence.
	evidenceFile = "acknowledged"
	// slotSize is the size of one of its two slots in bytes.
	slotSize = 512
)

// evidence names the record that the database must contain if nothing is lost. SQLite
// drops the frames of a write-ahead log after a damaged one without an error; the evidence
// reveals that.
//
// It is written before each acknowledgement, and synced later. It survives the end of the
// process. After a power cut it may be older, and then demands less.
type evidence struct {
	Sequence uint64 `json:"sequence"` // the slot with the higher sequence is valid
	Epoch    string `json:"epoch"`
	Offset   uint64 `json:"offset"`   // of the last record that was acknowledged; 0: none
	Checksum int64  `json:"checksum"` // of its row
	// Interval means that acknowledged records reach the disk later.
	Interval bool `json:"interval"`
	// Failed means that a sync has failed: the content of the files may not be on
	// the disk.
	Failed bool `json:"failed"`
	// Empty means that the retention had removed all records.
	Empty bool `json:"empty,omitempty"`
	// Closed means that the log was closed with all its records on the disk.
	Closed bool         `json:"closed"`
	Clock  clockReading `json:"clock"`

	slot int // the slot that it was read from
}

// contradicts returns an error if records are lost from a database whose last record is
// at offset last. Checksum is the checksum of the row at e.Offset, if hasRow.
func (e evidence) contradicts(epoch string, last uint64, checksum int64, hasRow bool, boot string) error {
	switch {
	case e.Epoch != epoch:
		return fmt.Errorf("its epoch is %s, but messages were acknowledged in %s: it is another database", epoch, e.Epoch)
	case e.Offset > last:
		return fmt.Errorf("messages %d to %d were acknowledged and are missing", last+1, e.Offset)
	case hasRow && checksum != e.Checksum:
		return fmt.Errorf("message %d is not the one that was acknowledged: it is another database, or a copy", e.Offset)
	case e.Interval && !e.Closed && (e.Clock.Boot != boot || boot == ""):
		return errors.New("the machine stopped before the log was closed, and --sync is an interval: the last messages may be gone")
	}
	return nil
}

// evidenceStore is the file with the evidence. It is not safe for concurrent use.
//
// Between two syncs it writes to one slot only. The other slot was synced, and is still
// complete if a power cut leaves half of a write.
type evidenceStore struct {
	path string
	file *os.File
	last evidence
	slot int // the slot that is written to
}

// readEvidence reads the file of a directory. It returns false if there is none, or
// none that can be read.
func readEvidence(dir string) (evidence, bool, error) {
	data, err := os.ReadFile(filepath.Join(dir, evidenceFile)) //nolint:gosec // the path is the operator's
	if errors.Is(err, fs.ErrNotExist) {
		return evidence{}, false, nil
	}
	if err != nil {
		return evidence{}, false, err
	}
	var found evidence
	ok := false
	slot := 0
	for content := range slices.Chunk(data, slotSize) {
		if e, err := decodeSlot(content); err == nil && (!ok || e.Sequence > found.Sequence) {
			found, ok = e, true
			found.slot = slot
		}
		slot++
	}
	return found, ok, nil
}

// openEvidence opens the file for writing, and creates it if it is missing. It syncs the
// file, so that the next write may use the other slot.
func openEvidence(dir string, last evidence) (*evidenceStore, error) {
	path := filepath.Join(dir, evidenceFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, err
	}
	s := &evidenceStore{path: path, file: file, last: last, slot: 1 - last.slot}
	if err := s.sync(); err != nil {
		_ = file.Close() // it failed
		return nil, err
	}
	return s, nil
}

// write writes e to the current slot. It does not sync.
func (s *evidenceStore) write(e evidence) error {
	e.Sequence = s.last.Sequence + 1
	slot, err := encodeSlot(e)
	if err != nil {
		return err
	}
	if _, err := s.file.WriteAt(slot, int64(s.slot)*slotSize); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	s.last, s.last.slot = e, s.slot
	return nil
}

// sync makes the last write durable. The next write uses the other slot.
func (s *evidenceStore) sync() error {
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.slot = 1 - s.last.slot
	return nil
}

func (s *evidenceStore) close() error { return s.file.Close() }

// encodeSlot returns a slot: JSON, its checksum and spaces.
func encodeSlot(e evidence) ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	slot := fmt.Appendf(text, " %08x\n", crc32.ChecksumIEEE(text))
	if len(slot) > slotSize {
		return nil, fmt.Errorf("the evidence takes %d bytes, but the slot has %d", len(slot), slotSize)
	}
	return append(slot, bytes.Repeat([]byte{' '}, slotSize-len(slot))...), nil
}

func decodeSlot(slot []byte) (evidence, error) {
	slot = bytes.TrimRight(slot, " \x00\n")
	end := bytes.LastIndexByte(slot, ' ')
	if end < 0 {
		return evidence{}, errors.New("no checksum")
	}
	text, sum := slot[:end], slot[end+1:]
	if fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) != string(sum) {
		return evidence{}, errors.New("the checksum does not match")
	}
	var e evidence
	return e, json.Unmarshal(text, &e)
}
