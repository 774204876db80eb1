package sqlitelog

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

// known is the state of a damaged log, as far as SQLite can read it.
type known struct {
	epochs   []epochStart
	floor    uint64 // the lowest offset; 0: not known
	redacted map[uint64]struct{}
	keys     recentKeys
}

// readKnown reads the state that SQLite can read. Each part of it may be missing.
func readKnown(ctx context.Context, dir string) known {
	var k known
	reader, err := OpenReader(dir)
	if err != nil {
		return k
	}
	defer reader.Close() //nolint:errcheck // it only read
	conn := reader.conn.conn
	if k.epochs, err = readEpochs(conn); err != nil {
		k.epochs = nil
	}
	if k.redacted, err = readRedactions(conn); err != nil {
		k.redacted = nil
	}
	if k.keys, err = readKeys(conn, math.MaxInt64, math.MaxInt64); err != nil {
		k.keys = recentKeys{}
	}
	// If an inner page is damaged, the lowest offset may be wrong.
	var pages Checked
	if pages.checkPages(ctx, conn); len(pages.Problems) == 0 {
		if k.floor, err = reader.floor(0); err != nil {
			k.floor = 0
		}
	}
	return k
}

// openRaw opens a file to read it without SQLite. The file may be missing.
func openRaw(path string) (salvage.File, func(), error) {
	file, err := os.Open(path) //nolint:gosec // the path is the operator's
	if errors.Is(err, fs.ErrNotExist) {
		return salvage.File{}, func() {}, nil
	}
	if err != nil {
		return salvage.File{}, nil, err
	}
	closeFile := func() { _ = file.Close() } // it was only read
	info, err := file.Stat()
	if err != nil {
		closeFile()
		return salvage.File{}, nil, err
	}
	return salvage.File{Reader: file, Size: info.Size()}, closeFile, nil
}

// findEpochs returns all epochs that the files, SQLite and the evidence contain, the
// oldest first, and notes the current one.
func (r *repair) findEpochs(ctx context.Context, database, wal salvage.File) ([]epochStart, error) {
	from := map[string]uint64{}
	if err := salvage.Epochs(ctx, database, wal, func(e salvage.Epoch) { from[e.Name] = e.From }); err != nil {
		return nil, err
	}
	for _, e := range r.known.epochs {
		from[e.epoch] = e.from
	}
	if _, ok := from[r.ev.Epoch]; r.hasEvidence && !ok {
		from[r.ev.Epoch] = 1
	}
	epochs := sortEpochs(from)
	switch {
	case len(epochs) == 0:
		return nil, errors.New("its epoch cannot be found, and without it no message can be verified: restore a backup")
	case r.hasEvidence:
		r.done.Was = r.ev.Epoch
	case len(r.known.epochs) > 0:
		r.done.Was = r.known.epochs[len(r.known.epochs)-1].epoch
	default:
		r.done.Was = epochs[len(epochs)-1].epoch
	}
	return epochs, nil
}

// provenBy reports whether a row was stored in one of the epochs, and its offset was not
// used again in a later epoch.
func provenBy(r *row, epochs []epochStart) bool {
	for _, e := range slices.Backward(epochs) {
		if r.sum(e.epoch) == r.checksum {
			return true
		}
		if r.offset >= e.from && e.from > 1 {
			return false
		}
	}
	return false
}

// sortEpochs returns epochs in the order of their first offsets.
func sortEpochs(from map[string]uint64) []epochStart {
	epochs := make([]epochStart, 0, len(from))
	for name, offset := range from {
		epochs = append(epochs, epochStart{offset, name})
	}
	slices.SortFunc(epochs, func(a, b epochStart) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.epoch, b.epoch))
	})
	return epochs
}
