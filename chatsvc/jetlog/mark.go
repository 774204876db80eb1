package jetlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
)

// markFile has what was acknowledged last.
const markFile = "acknowledged"

// mark is a log's high-water mark: what a data directory must hold if nothing is
// lost. The NATS server drops what it finds damaged and gives the numbers to what
// comes next; the mark tells.
//
// It is written before each acknowledgement, and synced later: it outlives a
// crash of the process, and after a power cut it may be an older one, which asks
// for less.
type mark struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"` // the highest one that was acknowledged
	// Interval tells that acknowledged records reach the disk later; those up to
	// Synced have.
	Interval bool   `json:"interval"`
	Synced   uint64 `json:"synced"`
	// Closed tells that the log was closed, and that all of it is on the disk.
	Closed bool `json:"closed"`
	// Failed tells that a sync has failed, and that what the files seem to hold may
	// not be on the disk.
	Failed bool `json:"failed"`
	// Boot names the run of the operating system. It is another one after a
	// power cut, empty where it is not known.
	Boot string `json:"boot"`

	damaged bool // the file was, and nothing else is known
}

// lost returns what says that acknowledged records are, or may be, gone from a
// stream that has this epoch and last offset. A power cut may damage the mark:
// only where records reach the disk later is that a sign.
func (m mark) lost(epoch string, last uint64, boot string, interval bool) error {
	switch {
	case m.damaged && interval:
		return errMarkDamaged
	case m.Epoch != epoch:
		return nil
	case m.Offset > last:
		return fmt.Errorf("records %d to %d were acknowledged and are gone", last+1, m.Offset)
	case m.Interval && !m.Closed && (m.Boot != boot || boot == ""):
		return errors.New("the machine stopped before the log was closed, and --sync is an interval: the last records may be gone")
	default:
		return nil
	}
}

// trusted reports whether all that the files hold is what the server had written
// to them when its process ended: it was closed, or it alone has ended since.
func (m mark) trusted(boot string) bool {
	return m.Closed || m.Boot == boot && boot != "" && !m.Failed && !m.damaged
}

// durable returns an offset up to which, after a power cut too, a record is there
// or its place on the disk is damaged.
func (m mark) durable() uint64 {
	if m.Interval {
		return m.Synced
	}
	return m.Offset
}

// markSize is the size of markFile in bytes: a sector, of which a power cut should
// leave the one or the other content.
const markSize = 512

// encode returns the content of markFile: JSON, its checksum and spaces.
func (m mark) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	text = fmt.Appendf(text, " %08x", crc32.ChecksumIEEE(text))
	return append(text, bytes.Repeat([]byte{' '}, markSize-len(text))...), nil
}

// errMarkDamaged is the end of a mark that nothing can be told from.
var errMarkDamaged = errors.New(markFile + " is damaged")

func decodeMark(data []byte) (mark, error) {
	text, sum, _ := bytes.Cut(bytes.TrimRight(data, " "), []byte{' '})
	var m mark
	if string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) || json.Unmarshal(text, &m) != nil {
		return mark{}, errMarkDamaged
	}
	return m, nil
}

// readMark returns the mark in a file, which may be damaged, or the zero mark,
// which asks for nothing, if there is no such file.
func readMark(path string) (mark, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, nil
	}
	if err != nil {
		return mark{}, err
	}
	m, err := decodeMark(data)
	m.damaged = err != nil
	return m, nil
}

// markWriter keeps a mark in its file. It is not safe for concurrent use.
type markWriter struct {
	mark

	file *os.File
}

// openMark writes a mark to its file, durably, and keeps the file open.
func openMark(path string, m mark) (*markWriter, error) {
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	if err := writeDurably(path, data, 0o600); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, err
	}
	return &markWriter{m, file}, nil
}

// acknowledge notes that appends are about to be acknowledged.
func (w *markWriter) acknowledge(epoch string, appends []*pendingAppend) error {
	before := w.mark
	if epoch != w.Epoch {
		w.Epoch, w.Offset, w.Synced = epoch, 0, 0
	}
	for _, a := range appends {
		w.Offset = max(w.Offset, a.appended.Offset)
	}
	if w.mark == before {
		return nil // duplicates
	}
	if err := w.write(); err != nil {
		w.mark = before
		return err
	}
	return nil
}

func (w *markWriter) write() error {
	data, err := w.encode()
	if err != nil {
		return err
	}
	_, err = w.file.WriteAt(data, 0)
	return err
}

// close notes that the log was closed and all of it is on the disk.
func (w *markWriter) close() error {
	w.Closed = true
	return errors.Join(w.write(), w.file.Sync(), w.file.Close())
}

// bootID names this run of the operating system; see random(4).
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
