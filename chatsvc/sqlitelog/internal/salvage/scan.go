package salvage

import (
	"context"
	"slices"
)

// maxPayload bounds a row: far more than a server accepts in one message.
const maxPayload = 256 << 20

// Place says where a row was found. Where an offset has several proven versions,
// the one in the highest place is the newest, and of two in one place the later.
type Place int

// The places in the order in which [Rows] yields what they hold.
const (
	Stale     Place = iota // a frame of the WAL from before it was last restarted
	Database               // a page of the database file, perhaps a free one
	Committed              // a frame of the WAL that belongs to a transaction
	Open                   // a frame behind the last transaction: perhaps never acknowledged
)

// Found is a proven row.
type Found struct {
	Row

	Place Place
}

// Report counts what [Rows] has found.
type Report struct {
	Pages, Frames int // in the files
	Unreadable    int // pages and frames for which the storage returned an error
	Rows          int // proven rows, including repetitions
}

// Rows calls yield with each row that prove accepts, which may be several with one
// offset. It calls progress from time to time with bytes, unless progress is nil. It
// returns yield's error, or ctx's.
func Rows(ctx context.Context, database, wal File, prove func(Row) bool, yield func(Found) error, progress func(done, total int64)) (Report, error) {
	var report Report
	sizes := pageSizes(database, wal)
	total := (database.Size + wal.Size) * int64(len(sizes))
	var done int64
	for _, size := range sizes {
		f := index(database, wal, size)
		s := &scan{files: f, prove: prove, yield: yield, page: make([]byte, size), chain: make([]byte, size)}
		s.tick = func(bytes int) error {
			if done += int64(bytes); progress != nil {
				progress(done, total)
			}
			return ctx.Err()
		}
		err := s.run()
		report.Pages, report.Frames = max(report.Pages, int(f.pages())), max(report.Frames, len(f.frames))
		report.Unreadable += f.cut
		report.Rows += s.rows
		if err != nil {
			return report, err
		}
	}
	return report, nil
}

// scan is a walk through all pages of one size.
type scan struct {
	*files

	prove func(Row) bool
	yield func(Found) error
	tick  func(bytes int) error

	page, chain []byte // buffers
	rows        int
}

// run visits the places in their order.
func (s *scan) run() error {
	if err := s.visitFrames(func(f frame) (Place, bool) { return Stale, !f.current }); err != nil {
		return err
	}
	for number := int64(1); number <= s.pages() && number < 1<<32; number++ {
		if err := s.tick(len(s.page)); err != nil {
			return err
		}
		if s.readPage(uint32(number), s.page) {
			if err := s.visit(-1, Database); err != nil {
				return err
			}
		}
	}
	return s.visitFrames(func(f frame) (Place, bool) {
		if f.end == len(s.frames) {
			return Open, f.current
		}
		return Committed, f.current
	})
}

// visitFrames visits the frames that choose accepts.
func (s *scan) visitFrames(choose func(frame) (Place, bool)) error {
	for i, f := range s.frames {
		place, ok := choose(f)
		if !ok {
			continue
		}
		if err := s.tick(frameHeader + len(s.page)); err != nil {
			return err
		}
		if s.readFrame(i, s.page) {
			if err := s.visit(i, place); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit yields the proven rows in s.page, which stands in frame from, or -1.
func (s *scan) visit(from int, place Place) error {
	behind := 0 // the end of the row before
	for body, l := nextLayout(s.page, 0); body >= 0; body, l = nextLayout(s.page, body+1) {
		for at := max(behind, body-maxHead); at <= body-2; at++ {
			c, ok := parseCell(s.page, at, body, l)
			if !ok {
				continue
			}
			row, end, ok := s.read(c, from)
			if !ok {
				continue
			}
			s.rows++
			if err := s.yield(Found{row, place}); err != nil {
				return err
			}
			behind, body = end, end-1
			break
		}
	}
	return nil
}

// read returns the row of a cell if it is proven, and where the cell ends.
func (s *scan) read(c cell, from int) (row Row, end int, ok bool) {
	inPage := local(c.payload, len(s.page))
	end = c.body + inPage
	if end > len(s.page) || inPage < c.header {
		return Row{}, 0, false
	}
	if inPage == c.payload {
		row = c.row(slices.Clone(s.page[c.body:end]))
		return row, end, s.prove(row)
	}
	if end+4 > len(s.page) {
		return Row{}, 0, false
	}
	for v := range views {
		record, choice := s.follow(c, from, v, s.page[c.body:end], be32(s.page[end:]))
		if record != nil {
			if row = c.row(record); s.prove(row) {
				return row, end + 4, true
			}
		}
		if !choice {
			break
		}
	}
	return Row{}, 0, false
}

// follow returns the whole record of a cell whose rest is in other pages, nil if
// its chain is broken, and whether another view may have another record.
func (s *scan) follow(c cell, from int, v view, start []byte, next uint32) (record []byte, choice bool) {
	record = slices.Clone(start)
	seen := map[uint32]bool{}
	for len(record) < c.payload {
		if seen[next] { // a loop
			return nil, choice
		}
		seen[next] = true
		ok, other := s.overflow(next, from, v, s.chain)
		choice = choice || other
		if !ok {
			return nil, choice
		}
		next = be32(s.chain)
		rest := s.chain[4:]
		record = append(record, rest[:min(len(rest), c.payload-len(record))]...)
	}
	if next != 0 { // the last page of a chain names no other
		return nil, choice
	}
	return record, choice
}
