package sqlitelog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/sqlitelog"
)

var errEnough = errors.New("enough")

// messages is how many messages the damaged logs have, the last third in the
// write-ahead log alone.
const messages = 600

// killedLog returns the files of a log whose process was killed.
func killedLog(tb testing.TB) (dir, epoch string) {
	tb.Helper()
	dir = tb.TempDir()
	log := openLog(tb, dir)
	appendTo(tb, log, 1, 401)
	closeLog(tb, log)
	log = openLog(tb, dir)
	appendTo(tb, log, 401, messages+1)
	return copyDir(tb, dir), stateOf(tb, log).Epoch
}

// place finds a position of a class in one of the files.
type place struct {
	name string
	wal  bool
	lost int // messages at most, with any damage to 1,024 bytes there
	// at returns where the place begins in the file.
	at func(data []byte, random *rand.Rand) int
}

// pageOf returns a page of a kind: the first byte of its head tells which.
func pageOf(kinds ...byte) func([]byte, *rand.Rand) int {
	return func(data []byte, random *rand.Rand) int {
		var pages []int
		for at := 8192; at < len(data); at += 8192 {
			if bytes.IndexByte(kinds, data[at]) >= 0 && binary.BigEndian.Uint16(data[at+3:]) > 2 {
				pages = append(pages, at)
			}
		}
		return pages[random.IntN(len(pages))]
	}
}

const frameSize = 24 + 8192

var places = []place{
	{"header", false, 0, func([]byte, *rand.Rand) int { return 0 }},
	{"interior page", false, 0, pageOf(5)},
	{"head of a leaf", false, 0, pageOf(13)},
	{"rows of a leaf", false, 60, func(data []byte, random *rand.Rand) int { return pageOf(13)(data, random) + 7000 }},
	{"overflow page", false, 1, func(data []byte, _ *rand.Rand) int {
		i := bytes.Index(data, testRecord(50)[100:164])
		return i/8192*8192 + 8192
	}},
	{"any page", false, 60, func(data []byte, random *rand.Rand) int { return random.IntN(len(data)/8192) * 8192 }},
	{"header of the WAL", true, 0, func([]byte, *rand.Rand) int { return 0 }},
	{"header of a frame", true, 3, func(data []byte, random *rand.Rand) int {
		return 32 + random.IntN(len(data)/frameSize)*frameSize
	}},
	{"page in a frame", true, 3, func(data []byte, random *rand.Rand) int {
		return 32 + 24 + random.IntN(len(data)/frameSize)*frameSize + random.IntN(7000)
	}},
	{"last frame", true, 3, func(data []byte, _ *rand.Rand) int { return 32 + (len(data)/frameSize-1)*frameSize }},
}

// The last place is hit by each of these.
var damages = []struct {
	name string
	do   func(data []byte, at int, random *rand.Rand) []byte
	lost int // messages more
}{
	{"flipped", func(data []byte, at int, random *rand.Rand) []byte {
		data[at+random.IntN(min(1000, len(data)-at))] ^= 1 << random.IntN(8)
		return data
	}, 0},
	{"zeroed", func(data []byte, at int, _ *rand.Rand) []byte {
		clear(data[at:min(at+1024, len(data))])
		return data
	}, 0},
	{"cut", func(data []byte, at int, _ *rand.Rand) []byte { return data[:at] }, messages},
}

// For all kinds of damage, a repair invents nothing, restores all intact messages, and
// begins another epoch exactly if acknowledged messages are missing.
func TestRepairOfDamage(t *testing.T) {
	t.Parallel()
	dir, epoch := killedLog(t)
	for _, p := range places {
		for _, d := range damages {
			t.Run(p.name+" "+d.name, func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(7, 7))
				for range 3 {
					damaged := copyDir(t, dir)
					name := filepath.Join(damaged, "chat.db")
					if p.wal {
						name += "-wal"
					}
					data, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(name, d.do(data, p.at(data, random), random), 0o600); err != nil {
						t.Fatal(err)
					}
					isRepaired(t, damaged, epoch, p.lost+d.lost)
				}
			})
		}
	}
}

// isRepaired repairs a directory and fails if the result is wrong.
func isRepaired(tb testing.TB, dir, epoch string, lost int) {
	tb.Helper()
	before := copyDir(tb, dir)
	got, err := sqlitelog.Repair(tb.Context(), dir, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if missing := messages - int(got.Messages); missing > lost {
		tb.Errorf("%d messages are lost, more than %d: %+v", missing, lost, got)
	}
	isLost := got.Messages < messages // nobody may know of those at the begin
	if isLost != (got.Epoch != epoch) || isLost != (len(got.Missing) > 0 || got.First > 1) {
		tb.Errorf("was epoch %s: %+v", epoch, got)
	}
	for _, name := range []string{"chat.db", "chat.db-wal", "acknowledged"} {
		was, _ := os.ReadFile(filepath.Join(before, name))
		if is, _ := os.ReadFile(filepath.Join(got.Aside, name)); !bytes.Equal(was, is) {
			tb.Errorf("%s was not kept as it was", name)
		}
	}
	if c, err := sqlitelog.Check(tb.Context(), dir, nil); err != nil || c.IsDamaged() {
		tb.Errorf("after the repair: %+v, %v", c, err)
	}
	log := openLog(tb, dir)
	if is := stateOf(tb, log); is.Epoch != got.Epoch || is.First != got.First || is.Next != got.Next {
		tb.Errorf("state %+v after %+v", is, got)
	}
	intact := 0
	for offset, e := range readLog(tb, log) {
		switch {
		case bytes.Equal(e.Record, testRecord(int(offset))):
			intact++
		case !bytes.Equal(e.Record, record.Empty):
			tb.Errorf("record %d was invented: %.80q", offset, e.Record)
		}
	}
	if uint64(intact) != got.Messages {
		tb.Errorf("%d messages are intact, %d were found", intact, got.Messages)
	}
	appendTo(tb, log, int(got.Next), int(got.Next)+1)
	closeLog(tb, log)
}

// Messages that were redacted, or removed by the retention, are not restored.
func TestRepairKeepsRedactions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 101)
	if err := sqlitelog.Redact(t.Context(), dir, 50); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlitelog.Repair(t.Context(), dir, nil); !errors.Is(err, sqlitelog.ErrInUse) {
		t.Errorf("beside a server: %v", err)
	}
	appendTo(t, log, 101, 111)
	before := stateOf(t, log)
	closeLog(t, log)
	got, err := sqlitelog.Repair(t.Context(), dir, nil)
	if err != nil || got.Epoch != before.Epoch || got.Messages != 110 || len(got.Missing) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	c, err := sqlitelog.Check(t.Context(), dir, nil)
	if err != nil || c.IsDamaged() || c.Redacted != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	all := readLog(t, openLog(t, dir))
	if !bytes.Equal(all[50].Record, record.Empty) {
		t.Errorf("the redacted message is %.80q", all[50].Record)
	}
	isStored(t, all, 1, 50)
	isStored(t, all, 51, 111)
}

// Without evidence, the last acknowledged message is not known: the log begins another
// epoch.
func TestRepairOfACopy(t *testing.T) {
	t.Parallel()
	dir, epoch := killedLog(t)
	if err := os.Remove(filepath.Join(dir, "acknowledged")); err != nil {
		t.Fatal(err)
	}
	got, err := sqlitelog.Repair(t.Context(), dir, nil)
	if err != nil || got.Epoch == epoch || got.Messages != messages || len(got.Missing) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := sqlitelog.Repair(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("an empty directory was repaired")
	}
}

// A send that is repeated after a repair is known by its key.
func TestRepairKeepsKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 10)
	want, err := log.Append(t.Context(), testRecord(10), "key")
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	if _, err := sqlitelog.Repair(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, dir)
	defer closeLog(t, log)
	if got, err := log.Append(t.Context(), testRecord(10), "key"); err != nil || !got.Duplicate || got.Offset != want.Offset {
		t.Errorf("repeated: %+v, %v; the first time %+v", got, err, want)
	}
}
