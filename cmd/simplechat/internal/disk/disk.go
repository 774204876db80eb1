// Package disk models a file tree and the part of it that survives a cut of the power: only
// the writes that a program has synced are sure to be left.
package disk

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Disk is a file tree as the kernel shows it, and the part of it that would remain after
// a power cut. It is stricter than any file system in use: data is durable once its file
// was synced, a name once its directory was, and neither makes the other so (fsync(2):
// syncing a file "does not necessarily ensure that the entry in the directory containing
// the file has also reached disk").
type Disk struct {
	nodes []*node // by number; the first is the root, which is durable
}

// node is a file or a directory.
type node struct {
	durable state
	changes []Change // since then, oldest first
	past    int      // changes that were made durable and are no longer in changes
	mapped  bool     // programs have written to the file's memory, so its content is not known
}

// state is the content of a node: the bytes of a file, or the names in a directory.
type state struct {
	data  []byte
	names map[string]int // nil for a file
}

// Change is one change of a node: that of a file if its names are nil.
type Change struct {
	Offset int64          // where data goes
	Data   []byte         // nil where the file's size becomes offset
	Names  map[string]int // entries, gone if negative: those of a rename change together
}

// Gone is the number of a node that a name no longer has.
const Gone = -1

// Event is something that happened to a disk, in the order in which it did.
type Event struct {
	Change

	Kind EventKind
	Node int // that it happened to; a directory for new and gone names
	Seen int // for synced: how many changes of the node its sync has seen begin
}

// EventKind says what an event did to its node.
type EventKind int

// The kinds of events, with the change to the node.
const (
	Created EventKind = iota // a node, empty; it is a directory if the change's names are not nil
	Changed
	Synced
	Mapped // a file's pages, shared and writable
)

// New returns a disk with an empty, durable root directory.
func New() *Disk { return &Disk{nodes: []*node{{durable: state{names: map[string]int{}}}}} }

// Next returns the number of the node that is created next.
func (d *Disk) Next() int { return len(d.nodes) }

// Apply makes e happen.
func (d *Disk) Apply(e Event) {
	switch n := e.Node; e.Kind {
	case Created:
		if n != len(d.nodes) {
			panic(fmt.Sprintf("node %d is created where %d is the next", n, len(d.nodes)))
		}
		d.nodes = append(d.nodes, &node{durable: state{names: maps.Clone(e.Names)}})
	case Changed:
		d.nodes[n].changes = append(d.nodes[n].changes, e.Change)
	case Synced:
		d.nodes[n].sync(e.Seen)
	case Mapped:
		d.nodes[n].mapped = true
	}
}

// Begun returns how many changes of a node there have been: what a sync that
// begins now makes durable.
func (d *Disk) Begun(n int) int { return d.nodes[n].past + len(d.nodes[n].changes) }

// sync makes the first of all changes ever made durable.
func (n *node) sync(first int) {
	for n.past < first {
		n.durable.change(n.changes[0])
		n.changes = n.changes[1:]
		n.past++
	}
}

// change changes a state.
func (s *state) change(c Change) {
	if c.Names != nil {
		for name, number := range c.Names {
			if number == Gone {
				delete(s.names, name)
			} else {
				s.names[name] = number
			}
		}
		return
	}
	end := c.Offset + int64(len(c.Data))
	if c.Data == nil && end < int64(len(s.data)) {
		s.data = s.data[:end:end]
	}
	if grow := end - int64(len(s.data)); grow > 0 {
		s.data = append(s.data, make([]byte, grow)...)
	}
	copy(s.data[c.Offset:], c.Data)
}

// now returns the content of a node as programs read it now.
func (n *node) now() state {
	s := state{slices.Clone(n.durable.data), maps.Clone(n.durable.names)}
	for _, c := range n.changes {
		s.change(c)
	}
	return s
}

// Lookup returns the node that names lead to from the root, if there is one.
func (d *Disk) Lookup(names ...string) (int, bool) {
	number := 0
	for _, name := range names {
		s := d.nodes[number].now()
		next, ok := s.names[name]
		if !ok {
			return 0, false
		}
		number = next
	}
	return number, true
}

// Compare returns the differences between the model and the real files below dir.
func (d *Disk) Compare(dir string) (differences []string) {
	return d.compareNode(0, dir)
}

func (d *Disk) compareNode(number int, path string) (differences []string) {
	s := d.nodes[number].now()
	if s.names == nil {
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(data, s.data) && !d.nodes[number].mapped {
			differences = append(differences, fmt.Sprintf("%s has %d bytes where there are %d: %v", path, len(s.data), len(data), err))
		}
		return differences
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != len(s.names) {
		differences = append(differences, fmt.Sprintf("%s has %d names where there are %d: %v", path, len(s.names), len(entries), err))
	}
	for name, n := range s.names {
		differences = append(differences, d.compareNode(n, filepath.Join(path, name))...)
	}
	return differences
}

// Restore writes what is left after a cut of the power into dir. With a source
// of chance a part of what was not synced has reached the disk too, as it may:
// some of a file's writes, the last of them torn, and of a directory's changes
// those up to some moment, as its journal has them in order. Without, nothing.
// A mapped file then has random bytes, as no program may rely on what it holds.
func (d *Disk) Restore(dir string, chance *rand.Rand) error {
	return d.restoreNode(0, dir, chance)
}

func (d *Disk) restoreNode(number int, path string, chance *rand.Rand) error {
	s := d.nodes[number].left(chance)
	if s.names == nil {
		return os.WriteFile(path, s.data, 0o600)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		if err := d.restoreNode(s.names[name], filepath.Join(path, name), chance); err != nil {
			return err
		}
	}
	return nil
}

// left returns the part of a node that remains after a cut.
func (n *node) left(chance *rand.Rand) state {
	s := state{slices.Clone(n.durable.data), maps.Clone(n.durable.names)}
	if chance == nil || len(n.changes) == 0 {
		return s
	}
	if s.names != nil {
		for _, c := range n.changes[:chance.IntN(len(n.changes)+1)] {
			s.change(c)
		}
		return s
	}
	if n.mapped {
		s = n.now()
		for i := range s.data {
			s.data[i] = byte(chance.Uint32())
		}
		return s
	}
	for _, c := range n.changes {
		if chance.IntN(2) == 0 {
			continue
		}
		if len(c.Data) > 1 && chance.IntN(2) == 0 {
			c.Data = c.Data[:1+chance.IntN(len(c.Data)-1)]
		}
		s.change(c)
	}
	return s
}
