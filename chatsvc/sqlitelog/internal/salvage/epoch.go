package salvage

import (
	"bytes"
	"context"
	"slices"
)

// maxEpoch is the length of the longest epoch.
const maxEpoch = 128

// epochName is the name of the row in the table meta that has the epoch.
var epochName = []byte("epoch")

// Epochs returns what the files have as rows named epoch with a text beside it, the
// newest first. Nothing proves them, but the checksums of the rows cover the epoch.
func Epochs(ctx context.Context, database, wal File) ([]string, error) {
	var found []string
	for _, size := range pageSizes(database, wal) {
		f, err := index(database, wal, size)
		if err != nil {
			return nil, err
		}
		page := make([]byte, size)
		for i := len(f.frames) - 1; i >= 0 && ctx.Err() == nil; i-- {
			if f.readFrame(i, page) {
				found = appendEpochs(found, page)
			}
		}
		for number := int64(1); number <= f.pages() && number < 1<<32 && ctx.Err() == nil; number++ {
			if f.readPage(uint32(number), page) {
				found = appendEpochs(found, page)
			}
		}
	}
	return found, ctx.Err()
}

// appendEpochs appends the epochs in a page. A record of two texts begins with its
// header's length and their types.
func appendEpochs(found []string, page []byte) []string {
	for at := 0; ; at++ {
		i := bytes.Index(page[at:], epochName)
		if i < 0 {
			return found
		}
		at += i
		for _, header := range []int{3, 4} {
			start := at - header
			if start < 0 || page[start] != byte(header) || page[start+1] != 13+2*byte(len(epochName)) {
				continue
			}
			typ, n := varint(page[start+2 : at])
			if n != header-2 || typ < 13 || typ%2 == 0 || typ > 13+2*maxEpoch {
				continue
			}
			value := page[at+len(epochName):]
			length := int(size(typ))
			if length == 0 || length > len(value) || bytes.ContainsFunc(value[:length], func(r rune) bool { return r <= ' ' || r > '~' }) {
				continue
			}
			if epoch := string(value[:length]); !slices.Contains(found, epoch) {
				found = append(found, epoch)
			}
		}
	}
}
