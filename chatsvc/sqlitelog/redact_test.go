package sqlitelog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// secret returns a record with a text that is nowhere else, alone in its page or not.
func secret(i, size int) (text string, data []byte) {
	text = strings.Repeat(string(rune('A'+i))+"secret", 8)
	content := bytes.Repeat([]byte("."), size)
	copy(content[size/2:], text)
	return text, record.Message{Timestamp: 1, Content: content, Type: 1, From: "user1"}.Append(nil)
}

// A redacted message is an empty one, its text is in no file, and all others are as
// they were, whether a server runs or not, wherever the message is in the files.
func TestRedact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		runs  bool // a server runs
		isOld bool // the message is in the database file
		size  int
	}{
		{"small, in the log", true, false, 200},
		{"small, in the database", true, true, 200},
		{"large, in the log", true, false, 50_000},
		{"large, in the database", true, true, 50_000},
		{"small, without a server", false, true, 200},
		{"large, without a server", false, true, 50_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			log := openLog(t, dir)
			appendTo(t, log, 1, 301)
			text, data := secret(1, tt.size)
			at, err := log.Append(t.Context(), data, "")
			if err != nil {
				t.Fatal(err)
			}
			if tt.isOld {
				closeLog(t, log)
				log = openLog(t, dir)
			}
			appendTo(t, log, 302, 401)
			if !tt.runs {
				closeLog(t, log)
			}
			if !isInFiles(t, dir, text) {
				t.Fatal("the text is in no file")
			}
			if err := sqlitelog.Redact(t.Context(), dir, at.Offset); err != nil {
				t.Fatal(err)
			}
			if isInFiles(t, dir, text) {
				t.Error("the text is still there")
			}
			if tt.runs {
				appendTo(t, log, 401, 402) // the server is not disturbed
				closeLog(t, log)
			}
			log = openLog(t, dir)
			all := readLog(t, log)
			isStored(t, all, 1, 301)
			isStored(t, all, 302, 401)
			if got := all[at.Offset].Record; !bytes.Equal(got, record.Empty) {
				t.Errorf("the message is %q", got)
			}
		})
	}
}

// isInFiles reports whether a text is in the database or its write-ahead log.
func isInFiles(tb testing.TB, dir, text string) bool {
	tb.Helper()
	found := false
	for _, name := range []string{"chat.db", "chat.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		found = found || err == nil && bytes.Contains(data, []byte(text))
	}
	return found
}

// A server that runs tells its subscribers about a redaction, and its end stays where
// it was, also if the last message was redacted.
func TestRedactTheLastMessage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 11)
	before := stateOf(t, log)
	if err := sqlitelog.Redact(t.Context(), dir, 10); err != nil {
		t.Fatal(err)
	}
	err := log.Follow(t.Context(), before.Epoch, 10, func(c chatsvc.Chunk) error {
		for _, e := range c.Entries {
			if e.Offset == 10 && bytes.Equal(e.Record, record.Empty) {
				return errEnough
			}
		}
		t.Errorf("chunk %+v", c)
		return errEnough
	})
	if err != errEnough { //nolint:errorlint // it is returned as it is
		t.Error(err)
	}
	closeLog(t, log)
	log = openLog(t, dir)
	if after := stateOf(t, log); after != before {
		t.Errorf("state %+v, was %+v", after, before)
	}
	for offset, says := range map[uint64]string{0: "no message 0", 11: "no message 11"} {
		if err := sqlitelog.Redact(t.Context(), dir, offset); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
}
