package salvage

import (
	"context"
)

// maxEpoch is the length of the longest epoch.
const maxEpoch = 128

// Epoch is a row of the table epochs: the name of an epoch and the first offset that
// was stored in it.
type Epoch struct {
	From uint64
	Name string
}

// Epochs calls yield with everything that looks like a row of the table epochs, the
// newest last, some of them several times. Nothing proves these rows, but the checksum of
// each message covers its epoch.
func Epochs(ctx context.Context, database, wal File, yield func(Epoch)) error {
	for _, size := range pageSizes(database, wal) {
		f := index(database, wal, size)
		page := make([]byte, size)
		for number := int64(1); number <= f.pages() && number < 1<<32 && ctx.Err() == nil; number++ {
			if f.readPage(uint32(number), page) {
				epochs(page, yield)
			}
		}
		for i := 0; i < len(f.frames) && ctx.Err() == nil; i++ {
			if f.readFrame(i, page) {
				epochs(page, yield)
			}
		}
	}
	return ctx.Err()
}

// epochs yields everything in a page that looks like a row of the table: the length of
// the record, the row's number, the record's header of three or four bytes and a text.
func epochs(page []byte, yield func(Epoch)) {
	for at := range page {
		payload, n := varint(page[at:])
		if n == 0 || payload < 4 || payload > maxEpoch+4 {
			continue
		}
		from, m := varint(page[at+n:])
		record := page[at+n+m:]
		if m == 0 || from == 0 || uint64(len(record)) < payload || record[0] > 4 || record[1] != 0 {
			continue
		}
		typ, k := varint(record[2:])
		header := 2 + k
		if k == 0 || int(record[0]) != header || typ < 13 || typ%2 == 0 || uint64(header)+size(typ) != payload {
			continue
		}
		if text := record[header:payload]; visible(text) {
			yield(Epoch{from, string(text)})
		}
	}
}

// visible reports whether b has visible ASCII characters only, as an epoch has.
func visible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0
}
