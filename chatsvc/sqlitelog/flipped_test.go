package sqlitelog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damagedMessages is how many messages the log has that is damaged: some twenty leaves
// below one interior page.
const damagedMessages = 1200

// content of the message at n: long enough for some 60 in a page.
func damagedContent(n int) string { return fmt.Sprint(n, " ", strings.Repeat("x", 64)) }

// logToDamage returns a closed log and its database.
func logToDamage(tb testing.TB) (dir string, data []byte) {
	tb.Helper()
	dir = tb.TempDir()
	log := openLog(tb, dir, Options{})
	for n := 1; n <= damagedMessages; n++ {
		add(tb, log, damagedContent(n), "")
	}
	closeLog(tb, log)
	data, err := os.ReadFile(filepath.Join(dir, DatabaseFile))
	if err != nil {
		tb.Fatal(err)
	}
	return dir, data
}

// messagePage is a page of the table messages.
type messagePage struct {
	at     int // in the file
	isLeaf bool
	rows   int // of a leaf
}

// messagePages returns the leaves of the table messages in the order of their offsets,
// and its interior pages before them.
func messagePages(tb testing.TB, data []byte) (pages []messagePage) {
	tb.Helper()
	for at := pageSize; at < len(data); at += pageSize {
		page := data[at : at+pageSize]
		rows := int(binary.BigEndian.Uint16(page[3:]))
		switch {
		case page[0] == 5 && rows > 2:
			pages = append([]messagePage{{at, false, 0}}, pages...)
		case page[0] == 13 && bytes.Count(page, []byte(strings.Repeat("x", 64))) >= rows && rows > 2:
			pages = append(pages, messagePage{at, true, rows})
		}
	}
	if len(pages) < 10 || pages[0].isLeaf || !pages[1].isLeaf {
		tb.Fatalf("%d pages of messages", len(pages))
	}
	return pages
}

// damagedCopy returns a copy of a log with another database.
func damagedCopy(tb testing.TB, dir string, data []byte) string {
	tb.Helper()
	to := copyFiles(tb, dir)
	if err := os.WriteFile(filepath.Join(to, DatabaseFile), data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return to
}

// For each flipped bit in a page's head, the messages of all other pages are served, and
// so is the next sent one.
func TestFlippedHeads(t *testing.T) {
	t.Parallel()
	dir, data := logToDamage(t)
	pages := messagePages(t, data)
	for name, page := range map[string]messagePage{
		"interior": pages[0], "first leaf": pages[1], "middle leaf": pages[len(pages)/2], "last leaf": pages[len(pages)-1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := range 24 {
				for _, bit := range []int{0, 7} {
					damaged := bytes.Clone(data)
					damaged[page.at+at] ^= 1 << bit
					checkServed(t, fmt.Sprintf("byte %d, bit %d", at, bit), damagedCopy(t, dir, damaged), page.rows)
				}
			}
		})
	}
}

// checkServed opens a log, sends a message, and fails unless all messages but lost ones
// are served as they were, with that.
func checkServed(t *testing.T, name, dir string, lost int) {
	t.Helper()
	log, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer log.Close()
	got, err := log.Append(t.Context(), newRecord("new"), "")
	if err != nil {
		t.Errorf("%s: append: %v", name, err)
		return
	}
	all := contents(t, log)
	intact := 0
	for offset, content := range all {
		switch {
		case offset <= damagedMessages && content == damagedContent(int(offset)):
			intact++
		case content != "" && (offset != got.Offset || content != "new"):
			t.Errorf("%s: message %d was invented: %.20q", name, offset, content)
		}
	}
	if all[got.Offset] != "new" || got.Offset > damagedMessages+1 {
		t.Errorf("%s: the new message %d is %q", name, got.Offset, all[got.Offset])
	}
	if intact < damagedMessages-lost {
		t.Errorf("%s: %d of %d messages are served, %d may be lost", name, intact, damagedMessages, lost)
	}
}

// A damaged row whose offset is another number says nothing: neither where the log ends
// or begins, nor what is missing. Only its own message is lost.
func TestGarbageOffsets(t *testing.T) {
	t.Parallel()
	dir, data := logToDamage(t)
	pages := messagePages(t, data)
	for name, page := range map[string]messagePage{
		"first leaf": pages[1], "middle leaf": pages[len(pages)/2], "last leaf": pages[len(pages)-1],
	} {
		for _, at := range []int{0, page.rows / 2, page.rows - 1} {
			for _, offset := range []uint64{1, 16383} { // both take two bytes
				t.Run(fmt.Sprintf("%s row %d is %d", name, at, offset), func(t *testing.T) {
					t.Parallel()
					damaged := bytes.Clone(data)
					cell := damaged[page.at+int(binary.BigEndian.Uint16(damaged[page.at+8+2*at:])):]
					n := 1 // bytes of the row's size
					for ; cell[n-1] >= 0x80; n++ {
					}
					if cell[n] < 0x80 { // an offset below 128 takes one
						cell[n] = byte(min(offset, 127))
					} else {
						cell[n], cell[n+1] = byte(offset>>7)|0x80, byte(offset)&0x7f
					}
					checkServed(t, "read", damagedCopy(t, dir, damaged), page.rows/2+1)
				})
			}
		}
	}
}
