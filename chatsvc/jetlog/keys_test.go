package jetlog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
)

// keyed returns an append with a key that was stored at offset.
func keyed(key string, offset uint64) *pendingAppend {
	a := newAppend(nil, key)
	a.appended.Offset = offset
	return a
}

// addKeys adds keys 1 to n, each with its number as offset, and closes the
// journal.
func addKeys(t *testing.T, dir string, n uint64) {
	t.Helper()
	j, err := openKeys(dir, "e", 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for offset := range n {
		appends := []*pendingAppend{newAppend(nil, ""), keyed(fmt.Sprint(offset+1), offset+1)}
		if added, err := j.add("e", appends); !added || err != nil {
			t.Fatalf("%v, %v", added, err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
}

// found returns the offsets of the keys 1 to n that a journal finds.
func found(t *testing.T, dir, epoch string, first, last, n uint64) (offsets []uint64) {
	t.Helper()
	j, err := openKeys(dir, epoch, first, last, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key := range n {
		if offset, ok := j.find(messageID(fmt.Sprint(key + 1))); ok {
			offsets = append(offsets, offset)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	return offsets
}

// A journal finds the keys from before it was opened, however often that is, but
// for those that JetStream knows, of another epoch, of records that are gone, and
// what is damaged.
func TestKeysAreFoundAfterAStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		damage func(data []byte) []byte
		epoch  string
		first  uint64
		last   uint64
		want   string
	}{
		"all":                           {nil, "e", 10, 9, "[1 2 3]"},
		"another epoch":                 {nil, "f", 10, 9, "[]"},
		"JetStream knows two":           {nil, "e", 2, 9, "[1]"},
		"the last is not in the stream": {nil, "e", 10, 2, "[1 2]"},
		"one is damaged":                {func(data []byte) []byte { data[keyRecordSize+3]++; return data }, "e", 10, 9, "[1 3]"},
		"the last is cut":               {func(data []byte) []byte { return data[:len(data)-1] }, "e", 10, 9, "[1 2]"},
		"all is gone":                   {func([]byte) []byte { return nil }, "e", 10, 9, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			addKeys(t, dir, 3)
			path := filepath.Join(dir, keysFile)
			if tt.damage != nil {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, tt.damage(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				if got := fmt.Sprint(found(t, dir, tt.epoch, tt.first, tt.last, 4)); got != tt.want {
					t.Errorf("%v are found, %v was due", got, tt.want)
				}
			}
		})
	}
}

// A key is known for its window, across two files, and no longer; a file that no
// key within the window can be in is gone.
func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const half = chatsvc.KeyWindow * 3 / 5
	j, err := openKeys(dir, "e", 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-2 * half)
	for i, key := range []string{"1", "2", "3"} {
		j.now = func() time.Time { return begin.Add(time.Duration(i) * half) }
		if i == 0 {
			j.begun = j.now()
		}
		if _, err := j.add("e", []*pendingAppend{keyed(key, uint64(i)+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{oldKeysFile, keysFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if j, err = openKeys(dir, "e", 10, 9, nil); err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if _, err := os.Stat(filepath.Join(dir, oldKeysFile)); err == nil {
		t.Errorf("%s is still there", oldKeysFile)
	}
	for _, later := range []struct {
		by   time.Duration
		want string
	}{{0, "[2 3]"}, {half, "[3]"}, {2 * half, "[]"}} {
		j.now = func() time.Time { return time.Now().Add(later.by) }
		var got []uint64
		for _, key := range []string{"1", "2", "3"} {
			if offset, ok := j.find(messageID(key)); ok {
				got = append(got, offset)
			}
		}
		if fmt.Sprint(got) != later.want {
			t.Errorf("%v later %v are found, %v was due", later.by, got, later.want)
		}
	}
	if j.known.Load() != nil {
		t.Error("keys that are too old are still in memory")
	}
}

// What JetStream knows at one start it may have forgotten at the next.
func TestKeysStayInTheJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addKeys(t, dir, 3)
	for _, tt := range []struct {
		first uint64
		want  string
	}{{1, "[]"}, {2, "[1]"}, {10, "[1 2 3]"}} {
		if got := fmt.Sprint(found(t, dir, "e", tt.first, 9, 3)); got != tt.want {
			t.Errorf("with a stream from %d on %v are found, %v was due", tt.first, got, tt.want)
		}
	}
}

// A key whose time is ahead, as the clock was set back since, is known for the
// window from now on, and no longer.
func TestKeyOfTheFutureIsForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := appendKey(nil, "e", messageID("1"), keyUse{1, time.Now().Add(time.Hour)})
	if err := os.WriteFile(filepath.Join(dir, keysFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j, err := openKeys(dir, "e", 10, 9, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := j.find(messageID("1")); !ok {
			t.Error("it is not known")
		}
		if use := (*j.known.Load())[messageID("1")]; use.time.After(time.Now()) {
			t.Errorf("it is known until %v", use.time.Add(chatsvc.KeyWindow))
		}
		if err := j.close(); err != nil {
			t.Error(err)
		}
	}
}
