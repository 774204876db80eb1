package jetlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

const (
	// markerFile says what a directory holds, so that one of another program is
	// not taken for a log.
	markerFile = "simplechat.json"
	// lockFile is locked for as long as a process uses the directory. The
	// system releases the lock of a process that crashed.
	lockFile = "lock"
	// probeFile has probeBytes while probe writes it.
	probeFile  = "probe"
	probeBytes = 1 << 20
	// newSuffix is of a file that replaces another one.
	newSuffix = ".new"
	// storeDir is NATS's.
	storeDir = "nats"

	markerKind   = "simplechat log"
	markerFormat = 1 // of the directory; grows when an older version could not read it
)

// marker is the content of markerFile.
type marker struct {
	Kind   string `json:"kind"`
	Format int    `json:"format"`
}

// directory is a data directory that this process alone uses.
type directory struct {
	path string
	lock *flock.Flock
	// held is markerFile, locked too: somebody may remove lockFile, which looks
	// like a leftover, but without markerFile no process takes the directory.
	held *flock.Flock
}

// openDirectory makes the directory if it is missing, locks it, and checks that
// it is a log's or empty. The caller closes it.
func openDirectory(path string) (*directory, error) {
	if err := makeDirectory(path, 0o700); err != nil {
		return nil, err
	}
	// Before anything is written: a foreign directory stays as it is.
	if err := checkMarker(path); err != nil {
		return nil, err
	}
	d := &directory{
		path: path,
		lock: flock.New(filepath.Join(path, lockFile), flock.SetPermissions(0o600)),
		held: flock.New(filepath.Join(path, markerFile)),
	}
	err := tryLock(d.lock)
	if err == nil {
		err = d.probe()
	}
	if err == nil {
		err = d.writeMarker()
	}
	if err == nil {
		err = tryLock(d.held)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// tryLock fails if another process has the lock.
func tryLock(lock *flock.Flock) error {
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if !locked {
		return errors.New("another process uses this directory: stop it, or give each process a directory of its own")
	}
	return nil
}

// checkMarker fails unless the directory is empty, or a log's of this format.
func checkMarker(path string) error {
	data, err := os.ReadFile(filepath.Join(path, markerFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return checkEmpty(path)
	}
	if err != nil {
		return err
	}
	var m marker
	switch err := json.Unmarshal(data, &m); {
	case err != nil || m.Kind != markerKind:
		return fmt.Errorf("%s is not that of a SimpleChat log: give another directory%s", markerFile, repairHint(path))
	case m.Format > markerFormat:
		return fmt.Errorf("the log has format %d, this version knows %d: use the newer version that wrote it", m.Format, markerFormat)
	default:
		return nil
	}
}

// checkEmpty fails if there is something of another program in the directory.
func checkEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		// A crash before the marker was there leaves the lock; a file system of
		// its own has lost+found.
		if name := entry.Name(); name != lockFile && name != "lost+found" && name != markerFile+newSuffix && name != probeFile {
			return fmt.Errorf("the directory holds %q and no %s, so it is not a log's: give an empty directory%s", name, markerFile, repairHint(path))
		}
	}
	return nil
}

// repairHint says how to go on where markerFile is damaged or gone and the
// messages are there.
func repairHint(path string) string {
	if _, err := os.Stat(filepath.Join(path, storeDir)); err != nil {
		return ""
	}
	return fmt.Sprintf("; or, if the messages in its %s are those of SimpleChat, write {\"kind\":%q,\"format\":%d} to %s to go on with them",
		storeDir, markerKind, markerFormat, markerFile)
}

// writeMarker writes markerFile unless it is there.
func (d *directory) writeMarker() error {
	if _, err := os.Stat(filepath.Join(d.path, markerFile)); err == nil {
		return nil
	}
	data, err := json.Marshal(marker{markerKind, markerFormat})
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(d.path, markerFile), append(data, '\n'), 0o600)
}

// errRemoved is the state of a directory that is no longer the one that was
// locked. Nothing is made in its place: another process may do that.
var errRemoved = errors.New("it was removed or replaced while this process used it: put it back, or stop the process")

// probe finds out whether something can be written to the disk.
func (d *directory) probe() error {
	if d.held.Locked() {
		held, err := d.held.Stat()
		if err != nil {
			return err
		}
		if there, err := os.Stat(d.held.Path()); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(held, there) {
			return errRemoved
		}
	}
	path := filepath.Join(d.path, probeFile)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, probeBytes))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close(), os.Remove(path))
}

// store returns the path of NATS's directory.
func (d *directory) store() string { return filepath.Join(d.path, storeDir) }

// markPath returns the path of the mark.
func (d *directory) markPath() string { return filepath.Join(d.path, markFile) }

// close lets other processes have the directory.
func (d *directory) close() error { return errors.Join(d.held.Close(), d.lock.Close()) }
