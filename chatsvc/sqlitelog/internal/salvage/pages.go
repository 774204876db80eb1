package salvage

import (
	"encoding/binary"
	"errors"
	"io"
)

// defaultPage is the size of a page unless the headers of the files say otherwise.
const defaultPage = 8192

// The sizes of headers, in bytes.
const (
	walHeader   = 32
	frameHeader = 24
)

// File is a file to read.
type File struct {
	Reader io.ReaderAt // nil: there is none
	Size   int64
}

// pageSizes returns the sizes of pages to try: those that the headers name, which
// may be damaged, and the default.
func pageSizes(database, wal File) []int {
	sizes := []int{defaultPage}
	add := func(f File, at int64, bytes int) {
		b := make([]byte, 4)
		if f.Reader == nil || f.Size < at+int64(bytes) {
			return
		}
		if _, err := f.Reader.ReadAt(b[4-bytes:], at); err != nil {
			return
		}
		n := int(be32(b))
		if bytes == 2 && n == 1 {
			n = 65536
		}
		if n >= 512 && n <= 65536 && n&(n-1) == 0 && n != sizes[0] && n != sizes[len(sizes)-1] {
			sizes = append(sizes, n)
		}
	}
	add(database, 16, 2)
	add(wal, 8, 4)
	return sizes
}

// files are the two files as pages of one size.
type files struct {
	database, wal File
	page          int
	frames        []frame
	versions      map[uint32][]int // the frames of each page, in order
	cut           int              // pages that could not be read
}

// frame is the header of a frame of the WAL.
type frame struct {
	page    uint32
	current bool // its salts are the WAL's
	commits bool // it ends a transaction
	end     int  // the frame that ends its transaction, len(frames) if none does
}

// index reads the headers of the frames.
func index(database, wal File, page int) *files {
	f := &files{database: database, wal: wal, page: page, versions: map[uint32][]int{}}
	if wal.Reader == nil || wal.Size < walHeader+frameHeader {
		return f
	}
	var salts [8]byte
	head := make([]byte, frameHeader)
	intact := false
	if _, err := wal.Reader.ReadAt(head, 0); err == nil {
		magic := be32(head)
		intact = magic&^1 == 0x377f0682
		copy(salts[:], head[16:24])
	}
	for at := int64(walHeader); at+frameHeader < wal.Size; at += int64(frameHeader + page) {
		if _, err := wal.Reader.ReadAt(head, at); err != nil && !errors.Is(err, io.EOF) {
			f.frames = append(f.frames, frame{})
			continue
		}
		if at == walHeader && (!intact || !walChecks(wal)) {
			copy(salts[:], head[8:16]) // the WAL is written from its start: the first frame is current
		}
		number := be32(head)
		f.versions[number] = append(f.versions[number], len(f.frames))
		f.frames = append(f.frames, frame{
			page:    number,
			current: [8]byte(head[8:16]) == salts,
			commits: be32(head[4:]) != 0,
		})
	}
	f.markEnds()
	return f
}

// markEnds sets the last frame of the transaction of each frame.
func (f *files) markEnds() {
	end := len(f.frames)
	for i := len(f.frames) - 1; i >= 0; i-- {
		if f.frames[i].commits && f.frames[i].current {
			end = i
		}
		f.frames[i].end = end
	}
}

// walChecks reports whether the checksum of the WAL's header is right.
func walChecks(wal File) bool {
	b := make([]byte, walHeader)
	if _, err := wal.Reader.ReadAt(b, 0); err != nil {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[3]&1 == 1 {
		order = binary.BigEndian
	}
	var s0, s1 uint32
	for i := 0; i < 24; i += 8 {
		s0 += order.Uint32(b[i:]) + s1
		s1 += order.Uint32(b[i+4:]) + s0
	}
	return s0 == be32(b[24:]) && s1 == be32(b[28:])
}

// pages returns how many pages the database has, including a cut one.
func (f *files) pages() int64 {
	if f.database.Reader == nil {
		return 0
	}
	return (f.database.Size + int64(f.page) - 1) / int64(f.page)
}

// readPage reads a page of the database; the first has number 1. A cut page ends
// in zeros. It reports whether there is such a page.
func (f *files) readPage(number uint32, b []byte) bool {
	at := (int64(number) - 1) * int64(f.page)
	if number == 0 || f.database.Reader == nil || at >= f.database.Size {
		return false
	}
	return f.readAt(f.database, at, b)
}

// readFrame reads the page that a frame holds.
func (f *files) readFrame(i int, b []byte) bool {
	return f.readAt(f.wal, walHeader+int64(i)*int64(frameHeader+f.page)+frameHeader, b)
}

func (f *files) readAt(file File, at int64, b []byte) bool {
	b = b[:f.page]
	n, err := file.Reader.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		f.cut++
		clear(b)
		return false
	}
	clear(b[n:])
	return true
}

// view is a way to choose among the versions of a page.
type view int

const (
	inTransaction view = iota // the newest one when the row's transaction ended
	newest                    // the newest of all
	nextWritten               // the first in the WAL at or behind the row's frame
	ofDatabase                // that of the database file
	views
)

// overflow reads a page of a row that continues in other pages. The row stands in
// frame from, -1 for the database. It reports whether there is such a page, and
// whether other views may have another one.
func (f *files) overflow(number uint32, from int, v view, b []byte) (ok, choice bool) {
	versions := f.versions[number]
	if len(versions) == 0 || v == ofDatabase {
		return f.readPage(number, b), len(versions) > 0
	}
	chosen := -1
	for _, i := range versions {
		switch {
		case v == newest,
			v == inTransaction && from >= 0 && i <= f.frames[from].end,
			v == nextWritten && i >= from && chosen < 0:
			chosen = i
		}
	}
	if chosen < 0 {
		return f.readPage(number, b), true
	}
	return f.readFrame(chosen, b), true
}
