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
	// evidenceFile has what was acknowledged last.
	evidenceFile = "acknowledged"
	// slotSize is the size of one of its two slots in bytes.
	slotSize = 512
)

// evidence is what the database must hold if nothing is lost. SQLite drops the frames
// of a write-ahead log behind a damaged one without an error; the evidence tells.
//
// It is written before each acknowledgement, and synced later: it outlives the
// process, and after a power cut it may be an older one, which asks for less.
type evidence struct {
	Sequence uint64 `json:"sequence"` // the slot with the higher one counts
	Epoch    string `json:"epoch"`
	Offset   uint64 `json:"offset"`   // of the last record that was acknowledged; 0: none
	Checksum int64  `json:"checksum"` // of its row
	// Interval tells that acknowledged records reach the disk later.
	Interval bool `json:"interval"`
	// Failed tells that a sync has failed: what the files seem to hold may not be on
	// the disk.
	Failed bool `json:"failed"`
	// Empty tells that the retention had removed all records.
	Empty bool `json:"empty,omitempty"`
	// Closed tells that the log was closed, and that all of it is on the disk.
	Closed bool      `json:"closed"`
	Clock  clockMark `json:"clock"`

	slot int // that it was read from
}

// contradicts returns what says that records are lost from a database whose last
// record is at offset last; checksum is that of the row at e.Offset, if it has one.
func (e evidence) contradicts(epoch string, last uint64, checksum int64, hasRow bool, boot string) error {
	switch {
	case e.Epoch != epoch:
		return fmt.Errorf("its epoch is %s, messages were acknowledged in %s: it is another database", epoch, e.Epoch)
	case e.Offset > last:
		return fmt.Errorf("messages %d to %d were acknowledged and are gone", last+1, e.Offset)
	case hasRow && checksum != e.Checksum:
		return fmt.Errorf("message %d is not the one that was acknowledged: it is another database, or a copy", e.Offset)
	case e.Interval && !e.Closed && (e.Clock.Boot != boot || boot == ""):
		return errors.New("the machine stopped before the log was closed, and --sync is an interval: the last messages may be gone")
	}
	return nil
}

// evidenceStore is the file. It is not safe for concurrent use.
//
// Between two syncs it writes to one slot only: the other one was synced, and is
// whole after a power cut that leaves half of a write.
type evidenceStore struct {
	path string
	file *os.File
	last evidence
	slot int // that is written to
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

// openEvidence opens the file for writing, and creates it if it is missing. What it
// holds is synced, so that the next write may take the other slot.
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

// write notes e. It does not sync.
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

// sync makes what was written durable. The next write takes the other slot.
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
		return nil, fmt.Errorf("what was acknowledged takes %d bytes, there is room for %d", len(slot), slotSize)
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
