package sim

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/fault"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// disk is a machine with a database. Of its files there are images: what a process that is
// killed leaves is what the files are then, and what a power cut leaves is what they were at
// the last sync. It is safe for concurrent use.
type disk struct {
	w    *world
	root string // of all images
	// losesPower means that the script has power cuts, and so images are needed.
	losesPower bool
	log        *sqlitelog.Log
	machine    *machine

	mu      sync.Mutex // guards all below
	images  int
	dir     string // of log
	synced  string // the image of the last sync
	copied  string // that of a backup; empty: none
	copyEnd uint64 // next offset of it
	armed   fault.Point
	isPower bool   // that armed is about
	next    string // the files after a crash; empty: no crash yet
}

func newDisk(w *world, s script) *disk {
	root, err := os.MkdirTemp(fastDirectory(), "sim-")
	if err != nil {
		panic(err)
	}
	d := &disk{w: w, root: root, machine: newMachine()}
	fault.SetMachine(d.machine)
	d.losesPower = slices.ContainsFunc(s.Steps, func(s step) bool { return s.Do == "crash" && s.A%2 == 1 })
	d.dir = filepath.Join(root, "0")
	w.points.disk = d.at
	return d
}

// fastDirectory is in memory where there is one: syncs are the simulation's own.
func fastDirectory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// remove removes all images, and the machine.
func (d *disk) remove() {
	fault.SetMachine(nil)
	_ = os.RemoveAll(d.root)
}

// open opens the database, unless it is open.
func (d *disk) open() error {
	if d.log != nil {
		return nil
	}
	log, err := sqlitelog.Open(context.Background(), d.dir, sqlitelog.Options{Retention: chatsvc.Retention(d.w.setup.Retention)})
	if err != nil {
		return err
	}
	d.log = log
	d.mu.Lock()
	if d.losesPower {
		d.synced = d.image()
	}
	d.mu.Unlock()
	d.w.store.open(log)
	return nil
}

// close closes the database.
func (d *disk) close() {
	if d.log != nil {
		_ = d.log.Close()
		d.log = nil
	}
}

// held returns the files of all images that this process has open, where the system tells.
func (d *disk) held() (files []string) {
	const open = "/proc/self/fd"
	descriptors, _ := os.ReadDir(open) // other systems have no such directory
	for _, descriptor := range descriptors {
		file, err := os.Readlink(filepath.Join(open, descriptor.Name()))
		if err == nil && strings.HasPrefix(file, d.root) {
			files = append(files, file)
		}
	}
	return files
}

// image copies the files. The caller holds mu, and nobody writes a transaction.
func (d *disk) image() string {
	d.images++
	to := filepath.Join(d.root, strconv.Itoa(d.images))
	if err := os.CopyFS(to, os.DirFS(d.dir)); err != nil {
		panic(err)
	}
	return to
}

// at is called where a transaction is committed or synced.
func (d *disk) at(point fault.Point) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next != "" {
		return // the machine has stopped
	}
	if point == fault.Synced && d.losesPower {
		old := d.synced
		d.synced = d.image()
		_ = os.RemoveAll(old)
	}
	if d.armed == point {
		d.stop(d.isPower)
	}
}

// stop makes the machine stop, as of now. The caller holds mu.
func (d *disk) stop(isPower bool) {
	d.armed = ""
	d.next = d.synced
	if isPower {
		d.machine.reboot()
	} else {
		d.next = d.image()
	}
	for _, s := range d.w.servers {
		s.log.kill()
	}
}

// disarm makes the machine run on.
func (d *disk) disarm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = ""
}

// crash stops the machine, or lets it stop at a point.
func (w *world) crash(s step) {
	if w.disk == nil || !w.servers[0].up {
		return
	}
	d := w.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	w.reached.add("disk: " + []string{"the process is killed", "the power is cut"}[s.A%2] + []string{"", " when a transaction is committed", " when it is synced"}[s.B%3])
	if s.B%3 > 0 {
		d.armed, d.isPower = []fault.Point{fault.Committed, fault.Synced}[s.B%3-1], s.A%2 == 1
		return
	}
	d.stop(s.A%2 == 1)
}

// noteCrash ends the server of a machine that has stopped.
func (w *world) noteCrash() {
	if w.disk == nil {
		return
	}
	d := w.disk
	d.mu.Lock()
	next := d.next
	d.mu.Unlock()
	if next == "" {
		return
	}
	if w.servers[0].up {
		w.end(w.servers[0])
	}
	d.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.next = next, ""
}

// backup copies the files, without the evidence of acknowledged records.
func (w *world) backup(step) {
	if w.disk == nil || w.disk.log == nil {
		return
	}
	d := w.disk
	_, next := w.store.state()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == "" {
		d.copied, d.copyEnd = d.image(), next
	}
}

// restore puts the copy back in the place of the database.
func (w *world) restore(step) {
	if w.disk == nil || w.disk.log == nil || w.disk.copied == "" || !w.servers[0].up {
		return
	}
	d := w.disk
	epoch, next := w.store.state()
	w.end(w.servers[0])
	d.close()
	w.reached.add("disk: a copy is put back")
	w.wentBack = true
	names, _ := filepath.Glob(filepath.Join(d.copied, sqlitelog.DatabaseFile+"*"))
	old, _ := filepath.Glob(filepath.Join(d.dir, sqlitelog.DatabaseFile+"*"))
	for _, name := range old {
		_ = os.Remove(name)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(d.dir, filepath.Base(name)), data, 0o600)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.begin(w.servers[0]); err != nil {
		w.problemf("after a copy was put back: %v", err)
		return
	}
	now, _ := w.store.state()
	if isLess := d.copyEnd < next; isLess && now == epoch {
		w.problemf("a copy that ends before %d was put back for one that ends before %d, and the epoch is still %s", d.copyEnd, next, epoch)
	}
}

// checkAcknowledged checks that all records that were acknowledged in the present epoch are
// those that are stored.
func (d *disk) checkAcknowledged() {
	epoch, next := d.w.store.state()
	first := d.w.store.retained(epoch)
	for _, op := range d.w.sends {
		if op.err != nil || op.epoch != epoch || op.offset < first || op.offset >= next {
			if op.err == nil && op.epoch == epoch && op.offset >= next {
				d.w.problemf("%.40q was acknowledged as %d, and the next record is %d", op.content, op.offset, next)
			}
			continue
		}
		chunk, err := d.log.Read(context.Background(), epoch, op.offset, op.offset+1, 1<<20)
		if err != nil || len(chunk.Entries) != 1 {
			d.w.problemf("record %d cannot be read: %v", op.offset, err)
			continue
		}
		got := messageOf(chunk.Entries[0].Record)
		if string(got.GetContent()) != op.content && (!op.again || !op.shared) {
			d.w.problemf("%.40q was acknowledged as %d, which is %.40q", op.content, op.offset, got.GetContent())
		}
	}
}
