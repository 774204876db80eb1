package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
)

// Import creates a log from the messages of another one, with the same offsets and the same
// epoch. The log appears only when Finish returns nil. It is not safe for concurrent use.
type Import struct {
	made   []string // paths that the import has created and must remove if it fails, each before its parent
	lock   *flock.Flock
	build  *builder
	next   uint64 // the lowest offset that may follow
	stored int64
	total  int64
}

// NewImport begins a log in a directory that has none. It creates the directory. The
// caller must call [Import.Finish] or [Import.Abort] at the end.
func NewImport(dir, epoch string) (*Import, error) {
	made := missing(filepath.Join(dir, lockFile))
	if err := makeDirectory(dir); err != nil {
		return nil, err
	}
	if err := refuseJetStream(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	lock, err := lockDirectory(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", dir, err)
	case lock == nil:
		return nil, fmt.Errorf("%s: it cannot be written to", dir)
	}
	i := &Import{made: made, lock: lock, next: 1}
	for _, name := range []string{DatabaseFile, evidenceFile} {
		if _, err = os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("%s: the directory has a log already: give an empty directory, or move %s away", dir, name), i.Abort(context.Background()))
		}
	}
	if i.build, err = newBuilder(dir, epoch); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), i.Abort(context.Background()))
	}
	return i, nil
}

// Add adds a message. Offsets must increase. Each offset that is left out gets an empty
// message; at most 65,536 in a row may be left out.
func (i *Import) Add(ctx context.Context, e chatsvc.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	message, err := record.Parse(e.Record)
	switch {
	case err != nil:
		return fmt.Errorf("offset %d: %w", e.Offset, err)
	case e.Offset < i.next || e.Offset>>63 != 0:
		return fmt.Errorf("offset %d: it must be at least %d, and below 2^63", e.Offset, i.next)
	case i.next > 1 && e.Offset-i.next > maxFilled:
		return fmt.Errorf("offset %d: %w", e.Offset, i.errGap(e.Offset))
	}
	if i.next > 1 {
		if err := i.fill(e.Offset); err != nil {
			return err
		}
	}
	i.stored = max(i.stored, e.Time.UnixMilli())
	i.total += int64(message.Size())
	if err := i.build.add(newRow(message, "", e.Offset, i.stored, i.total)); err != nil {
		return fmt.Errorf("offset %d: %w", e.Offset, err)
	}
	i.next = e.Offset + 1
	return nil
}

// fill adds empty rows for the missing offsets below to. If a row were missing, each start
// would search the whole database for damage.
func (i *Import) fill(to uint64) error {
	for ; i.next < to; i.next++ {
		missing := row{offset: i.next, stored: i.stored, total: i.total}
		if err := i.build.add(missing.emptied()); err != nil {
			return fmt.Errorf("offset %d: %w", i.next, err)
		}
	}
	return nil
}

// errGap returns the error for too many missing messages before an offset: subscribers
// would get an empty message for each.
func (i *Import) errGap(offset uint64) error {
	return fmt.Errorf("%d messages before it are missing, more than %d: leave out the messages up to %d, or all later ones", offset-i.next, maxFilled, i.next-1)
}

// Finish creates the log. It ends the import even if it fails. Next is the offset that
// the next message will get; offsets below it that were not added get empty messages.
func (i *Import) Finish(ctx context.Context, next uint64) error {
	if next < i.next || next>>63 != 0 {
		return errors.Join(fmt.Errorf("the next offset is %d: it must be at least %d, and below 2^63", next, i.next), i.Abort(ctx))
	}
	if i.next > 1 && next-i.next > maxFilled {
		return errors.Join(fmt.Errorf("the next offset is %d: %w", next, i.errGap(next)), i.Abort(ctx))
	}
	err := ctx.Err()
	if err == nil && i.next > 1 {
		err = i.fill(next)
	}
	if err == nil {
		if err = i.build.finish(next, ""); err == nil {
			i.made = nil
		}
	}
	return errors.Join(err, i.Abort(ctx))
}

// Abort ends the import. It removes everything that the import has created, unless Finish
// has succeeded.
func (i *Import) Abort(context.Context) error {
	var err error
	if i.build != nil {
		err = i.build.abort()
		i.build = nil
	}
	for _, path := range i.made {
		_ = os.Remove(path) // it fails for a directory that has other files, and on Windows for the locked file
	}
	i.made = nil
	return errors.Join(err, i.lock.Close())
}

// missing returns a path and the directories above it, up to the first one that exists.
func missing(path string) []string {
	var paths []string
	for {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return paths
		}
		paths = append(paths, path)
		path = filepath.Dir(path)
	}
}
