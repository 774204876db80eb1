package sqlitelog

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// damageRow changes a column of a row, so that its checksum does not match.
func damageRow(tb testing.TB, dir, column string, offset uint64, value int64) {
	tb.Helper()
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	if err := pragma(conn, fmt.Sprintf(`UPDATE messages SET %s = %d WHERE "offset" = %d`, column, value, offset)); err != nil {
		tb.Fatal(err)
	}
}

// The size and the age in a damaged row neither remove intact messages nor keep old ones.
func TestRetentionBelievesNoDamagedRow(t *testing.T) {
	t.Parallel()
	size := int64(len(newRecord("100")))
	for _, tt := range []struct {
		name      string
		retention chatsvc.Retention
		column    string
		value     int64
	}{
		{"total too low", chatsvc.Retention{Bytes: 150 * size}, "total", 1},
		{"total too high", chatsvc.Retention{Bytes: 150 * size}, "total", 1 << 50},
		{"stored too early", chatsvc.Retention{Age: time.Hour}, "stored", 1},
		{"stored too late", chatsvc.Retention{Age: time.Hour}, "stored", 1 << 60},
	} {
		for _, offset := range []uint64{1, 26, 51, 76, 99, 100} { // where the searches look, and both ends
			t.Run(fmt.Sprintf("%s at %d", tt.name, offset), func(t *testing.T) {
				t.Parallel()
				dir, m := t.TempDir(), newMachine()
				log := openLog(t, dir, Options{system: m.system()})
				for n := 1; n <= 100; n++ {
					add(t, log, fmt.Sprintf("%03d", n), "")
				}
				closeLog(t, log)
				damageRow(t, dir, tt.column, offset, tt.value)
				log = openLog(t, dir, Options{Retention: tt.retention, system: m.system()})
				if is := stateOf(t, log); is.First != 1 || is.Next != 101 {
					t.Fatalf("at the start: %+v", is)
				}
				for n := 101; n <= 150; n++ {
					add(t, log, fmt.Sprintf("%03d", n), "")
				}
				if first := stateOf(t, log).First; first != 1 && offset != 100 {
					t.Errorf("the first message is %d: it was removed early", first)
				}
				m.mono.Add(2 * time.Hour.Milliseconds())
				for n := 151; n <= 300; n++ {
					add(t, log, fmt.Sprintf("%03d", n), "")
				}
				if first := stateOf(t, log).First; first < 150 || first > 152 {
					t.Errorf("the first message is %d, not about 151", first)
				}
			})
		}
	}
}

// A key that claims to be from the future is damaged. It neither stays for ever nor
// keeps others.
func TestDamagedKeyDoesNotStay(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), newMachine()
	log := openLog(t, dir, Options{system: m.system()})
	for n := range 3 {
		add(t, log, fmt.Sprint(n), fmt.Sprint("key ", n))
	}
	closeLog(t, log)
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pragma(conn, `UPDATE keys SET used = 1 << 60 WHERE "offset" = 2`), conn.Close()); err != nil {
		t.Fatal(err)
	}
	log = newLog(dir, Options{system: m.system()})
	log.maxKeys = 4
	if err := log.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLog(t, log) })
	if got := add(t, log, "2", "key 2"); !got.Duplicate {
		t.Errorf("a key behind the damaged one: %+v", got)
	}
	m.mono.Add(2 * keyWindow)
	for n := range 10 {
		add(t, log, fmt.Sprint(n), fmt.Sprint("later ", n/5, n%3)) // fails if old keys stay
		m.mono.Add(keyWindow / 2)
	}
}

// A redaction of a damaged message does not vouch for its size and its time.
func TestRedactionOfADamagedMessage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	addMany(t, log, 1, 11)
	closeLog(t, log)
	damageRow(t, dir, "total", 5, 1<<50)
	damageRow(t, dir, "stored", 5, 1<<60)
	if err := Redact(t.Context(), dir, 5); err != nil {
		t.Fatal(err)
	}
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadOnly, "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, _, err := queryInt(conn, `SELECT count(*) FROM messages a JOIN messages b ON b."offset" = a."offset" + 1
		WHERE b.total < a.total OR b.stored < a.stored`); err != nil || n != 0 {
		t.Errorf("%d rows are out of order, %v", n, err)
	}
}
