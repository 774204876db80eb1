package sqlitelog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A hole in what was written last, or in what was written then, is found, and so is a
// commit that is missing; what is intact is proven, also from the start of the file.
func TestWALProof(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	read := func() []byte {
		data, err := os.ReadFile(filepath.Join(dir, DatabaseFile+walSuffix))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	addMany(t, log, 1, 5)
	var before walProof
	if err := before.next(bytes.NewReader(read())); err != nil {
		t.Fatal(err)
	}
	const frameSize = frameHeaderSize + pageSize
	end := int(walHeaderSize + before.frames*frameSize)
	addMany(t, log, 5, 7)
	wal := read()
	damages := map[string]struct {
		damage func(wal []byte) []byte
		err    error
	}{
		"intact":                   {func(wal []byte) []byte { return wal }, nil},
		"hole before what is new":  {func(wal []byte) []byte { clear(wal[end-30 : end]); return wal }, errHole},
		"hole of a whole frame":    {func(wal []byte) []byte { clear(wal[end-frameSize : end]); return wal }, errHole},
		"hole from the first byte": {func(wal []byte) []byte { clear(wal[:end]); return wal }, errHole},
		"hole in what is new":      {func(wal []byte) []byte { clear(wal[end+100 : end+9000]); return wal }, errHole},
		"cut before what is new":   {func(wal []byte) []byte { return wal[:end] }, errHole},
		"empty":                    {func([]byte) []byte { return nil }, errHole},
	}
	for name, test := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := before
			p.buffer = nil
			if err := p.next(bytes.NewReader(test.damage(bytes.Clone(wal)))); !errors.Is(err, test.err) {
				t.Errorf("%v", err)
			}
		})
	}
	var whole walProof
	if err := whole.next(bytes.NewReader(wal)); err != nil || whole.frames <= before.frames {
		t.Errorf("from the start: %d frames, %v", whole.frames, err)
	}
}
