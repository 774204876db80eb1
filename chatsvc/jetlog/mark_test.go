package jetlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc"
)

// A log's epoch ends where records that were acknowledged are gone, or may be.
func TestMarkTellsWhatIsLost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		mark mark
		last uint64
		boot string
		lost bool
	}{
		{"no mark", mark{}, 7, "b", false},
		{"everything is there", mark{Epoch: "e", Offset: 7, Boot: "b"}, 7, "b", false},
		{"a record that was not acknowledged too", mark{Epoch: "e", Offset: 7, Boot: "b"}, 8, "b", false},
		{"a record is gone", mark{Epoch: "e", Offset: 8, Boot: "b"}, 7, "b", true},
		{"a record is gone after a power cut", mark{Epoch: "e", Offset: 8, Boot: "a"}, 7, "b", true},
		{"another epoch's mark", mark{Epoch: "d", Offset: 8, Boot: "b"}, 7, "b", false},
		{"power cut", mark{Epoch: "e", Offset: 7, Boot: "a"}, 7, "b", false},
		{"power cut between syncs", mark{Epoch: "e", Offset: 7, Boot: "a", Interval: true}, 7, "b", true},
		{"crash between syncs", mark{Epoch: "e", Offset: 7, Boot: "b", Interval: true}, 7, "b", false},
		{"power cut after the log was closed", mark{Epoch: "e", Offset: 7, Boot: "a", Interval: true, Closed: true}, 7, "b", false},
		{"damaged", mark{damaged: true}, 7, "b", false},
		{"damaged between syncs", mark{damaged: true, Interval: true}, 7, "b", true},
		{"system that does not tell its starts apart", mark{Epoch: "e", Offset: 7, Interval: true}, 7, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if err := test.mark.lost("e", test.last, test.boot, test.mark.Interval); (err != nil) != test.lost {
				t.Errorf("%+v with a last record %d: %v", test.mark, test.last, err)
			}
		})
	}
}

// What a mark's file held last comes back, and a damaged file is no mark.
func TestMarkFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), markFile)
	if m, err := readMark(path); err != nil || m != (mark{}) {
		t.Errorf("no file: %+v, %v", m, err)
	}
	w, err := openMark(path, mark{Epoch: strings.Repeat("e", 128), Interval: true, Boot: bootID()})
	if err != nil {
		t.Fatal(err)
	}
	for _, offsets := range [][]uint64{{1, 2, 3}, {1000, 999}, {3}} { // the last one is a duplicate's
		var appends []*pendingAppend
		for _, offset := range offsets {
			appends = append(appends, &pendingAppend{appended: chatsvc.Appended{Offset: offset}})
		}
		if err := w.acknowledge(w.Epoch, appends); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := readMark(path); err != nil || m.Offset != 1000 || m.Closed || m != w.mark {
		t.Errorf("%+v, %v, offset 1000 was due", m, err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(path); err != nil || m.Offset != 1000 || !m.Closed {
		t.Errorf("%+v, %v, a closed one was due", m, err)
	}
	data, err := w.encode()
	if err != nil || len(data) != markSize {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	for i, b := range data {
		if b == ' ' {
			break
		}
		data[i]++
		if m, err := decodeMark(data); !errors.Is(err, errMarkDamaged) {
			t.Errorf("byte %d damaged: %+v, %v", i, m, err)
		}
		data[i]--
	}
}

// A mark that could not be written is not taken for written: the repeat of the
// append is a duplicate with the same offset.
func TestMarkThatFailedIsWrittenLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), markFile)
	w, err := openMark(path, mark{Epoch: "e", Boot: bootID()})
	if err != nil {
		t.Fatal(err)
	}
	good := w.file
	if w.file, err = os.Open(path); err != nil { // read-only: writes fail
		t.Fatal(err)
	}
	a := []*pendingAppend{{appended: chatsvc.Appended{Offset: 5}}}
	if err := w.acknowledge("e", a); err == nil {
		t.Fatal("no error")
	}
	w.file = good
	a[0].appended.Duplicate = true
	if err := w.acknowledge("e", a); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(path); err != nil || m.Offset != 5 {
		t.Errorf("offset 5 was acknowledged, and the mark has %+v, %v", m, err)
	}
}

// A process that ends alone leaves what it has written; a power cut, or a sync that
// failed, does not.
func TestMarkTellsWhatIsTrusted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		mark mark
		boot string
		want bool
	}{
		{"closed", mark{Boot: "a", Closed: true}, "b", true},
		{"killed", mark{Boot: "b"}, "b", true},
		{"killed after a sync failed", mark{Boot: "b", Failed: true}, "b", false},
		{"power cut", mark{Boot: "a"}, "b", false},
		{"system that does not tell its starts apart", mark{}, "", false},
		{"damaged", mark{damaged: true}, "b", false},
		{"no mark", mark{}, "b", false},
	} {
		if got := test.mark.trusted(test.boot); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A sync that has failed is noted for the next process, until it is mended.
func TestFailedSyncIsNoted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	l := openLog(t, dir, Options{})
	defer closeLog(t, l)
	failed := func() bool {
		m, err := readMark(filepath.Join(dir, markFile))
		if err != nil || m.damaged {
			t.Fatalf("%+v, %v", m, err)
		}
		return m.Failed
	}
	if l.engine.disk.blocks.err = errors.New("input/output error"); failed() {
		t.Error("it is noted before it is known")
	}
	if got, err := l.Append(t.Context(), []byte("x"), "key"); err == nil {
		t.Errorf("%+v is acknowledged", got)
	}
	if !failed() {
		t.Error("it is not noted")
	}
	if got := appendUntilStored(t, l, "key"); got.Offset != 1 || failed() {
		t.Errorf("%+v, and it is still noted: %v", got, failed())
	}
}
