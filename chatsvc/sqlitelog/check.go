package sqlitelog

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"example.com/simplechat/chatsvc"
)

// Progress is called at intervals during long work. Both numbers have the same unit.
type Progress func(done, total int64)

// Range is the offsets in [From, To).
type Range struct{ From, To uint64 }

// Checked is the result of [Check].
type Checked struct {
	State    chatsvc.State
	Messages uint64 // messages that can be read
	Redacted uint64 // how many of them were redacted
	Bytes    int64  // sum of the sizes of their records
	Damage   []Range
	// Problems are the faults that SQLite finds in its file, and the signs that
	// acknowledged messages are missing.
	Problems []string
	// HasEvidence reports whether the directory has a record of the last acknowledged
	// message. Without it, a server that opens the directory begins another epoch,
	// because it may be a copy.
	HasEvidence bool
}

// IsDamaged reports whether anything is wrong.
func (c *Checked) IsDamaged() bool { return len(c.Damage)+len(c.Problems) > 0 }

// maxProblems is the largest number of problems that SQLite reports.
const maxProblems = 20

// Check reads the whole log of a directory, and changes nothing. A server may use the
// directory at the same time. It returns an error if the database cannot be opened.
func Check(ctx context.Context, dir string, progress Progress) (Checked, error) {
	r, err := OpenReader(dir)
	if err != nil {
		return Checked{}, err
	}
	defer r.Close() //nolint:errcheck // it only read
	c := Checked{HasEvidence: r.hasEvidence}
	if c.State, err = r.State(ctx); err != nil {
		return c, fmt.Errorf("%s: %w", dir, err)
	}
	if loss := r.loss(c.State); loss != nil {
		c.Problems = append(c.Problems, loss.Error())
	}
	if err := c.readAll(ctx, r, progress); err != nil {
		return c, fmt.Errorf("%s: %w", dir, err)
	}
	redacted, err := readRedactions(r.conn.conn)
	if err != nil {
		return c, fmt.Errorf("%s: %w", dir, explain(err))
	}
	for offset := range redacted {
		if offset >= c.State.First {
			c.Redacted++
		}
	}
	c.checkPages(ctx, r.conn.conn)
	return c, ctx.Err()
}

// readAll reads all messages.
func (c *Checked) readAll(ctx context.Context, r *Reader, progress Progress) error {
	for from := c.State.First; from < c.State.Next; {
		chunk, err := r.Read(ctx, c.State.Epoch, from, c.State.Next, 4<<20)
		if err != nil {
			return err
		}
		expected := chunk.From
		for _, e := range chunk.Entries {
			c.isMissing(expected, e.Offset)
			expected = e.Offset + 1
			c.Messages++
			c.Bytes += int64(len(e.Record))
		}
		c.isMissing(expected, chunk.Next)
		from = chunk.Next
		if progress != nil {
			progress(int64(from-c.State.First), int64(c.State.Next-c.State.First))
		}
	}
	return nil
}

// isMissing notes that the offsets in [from, to) cannot be read, if there are any.
func (c *Checked) isMissing(from, to uint64) {
	last := len(c.Damage) - 1
	switch {
	case from >= to:
	case last >= 0 && c.Damage[last].To == from:
		c.Damage[last].To = to
	default:
		c.Damage = append(c.Damage, Range{from, to})
	}
}

// checkPages lets SQLite check the pages.
func (c *Checked) checkPages(ctx context.Context, conn *sqlite.Conn) {
	conn.SetInterrupt(ctx.Done())
	defer conn.SetInterrupt(nil)
	err := sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA quick_check(%d)", maxProblems), &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			if text := stmt.ColumnText(0); text != "ok" {
				c.Problems = append(c.Problems, text)
			}
			return nil
		},
	})
	if err != nil && ctx.Err() == nil {
		c.Problems = append(c.Problems, err.Error())
	}
}
