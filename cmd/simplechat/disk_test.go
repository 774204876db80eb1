//go:build !race

package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// disk is a file tree as the kernel shows it, and the part of it that would remain after
// a power cut. It is stricter than any file system in use: data is durable once its file
// was synced, a name once its directory was, and neither makes the other so (fsync(2):
// syncing a file "does not necessarily ensure that the entry in the directory containing
// the file has also reached disk").
type disk struct {
	nodes []*node // by number; the first is the root, which is durable
}

// node is a file or a directory.
type node struct {
	durable state
	changes []change // since then, oldest first
	past    int      // changes that were made durable and are no longer in changes
	mapped  bool     // programs have written to the file's memory, so its content is not known
}

// state is the content of a node: the bytes of a file, or the names in a directory.
type state struct {
	data  []byte
	names map[string]int // nil for a file
}

// change is one change of a node: that of a file if its names are nil.
type change struct {
	offset int64          // where data goes
	data   []byte         // nil where the file's size becomes offset
	names  map[string]int // entries, gone if negative: those of a rename change together
}

// gone is the number of a node that a name no longer has.
const gone = -1

// event is something that happened to a disk, in the order in which it did.
type event struct {
	change

	kind eventKind
	node int // that it happened to; a directory for new and gone names
	seen int // for synced: how many changes of the node its sync has seen begin
}

type eventKind int

const (
	created eventKind = iota // a node, empty; it is a directory if the change's names are not nil
	changed
	synced
	mapped // a file's pages, shared and writable
)

// newDisk returns a disk with an empty, durable root directory.
func newDisk() *disk { return &disk{nodes: []*node{{durable: state{names: map[string]int{}}}}} }

// apply makes e happen.
func (d *disk) apply(e event) {
	switch n := e.node; e.kind {
	case created:
		if n != len(d.nodes) {
			panic(fmt.Sprintf("node %d is created where %d is the next", n, len(d.nodes)))
		}
		d.nodes = append(d.nodes, &node{durable: state{names: maps.Clone(e.names)}})
	case changed:
		d.nodes[n].changes = append(d.nodes[n].changes, e.change)
	case synced:
		d.nodes[n].sync(e.seen)
	case mapped:
		d.nodes[n].mapped = true
	}
}

// begun returns how many changes of a node there have been: what a sync that
// begins now makes durable.
func (d *disk) begun(n int) int { return d.nodes[n].past + len(d.nodes[n].changes) }

// sync makes the first of all changes ever made durable.
func (n *node) sync(first int) {
	for n.past < first {
		n.durable.change(n.changes[0])
		n.changes = n.changes[1:]
		n.past++
	}
}

// change changes a state.
func (s *state) change(c change) {
	if c.names != nil {
		for name, number := range c.names {
			if number == gone {
				delete(s.names, name)
			} else {
				s.names[name] = number
			}
		}
		return
	}
	end := c.offset + int64(len(c.data))
	if c.data == nil && end < int64(len(s.data)) {
		s.data = s.data[:end:end]
	}
	if grow := end - int64(len(s.data)); grow > 0 {
		s.data = append(s.data, make([]byte, grow)...)
	}
	copy(s.data[c.offset:], c.data)
}

// now returns the content of a node as programs read it now.
func (n *node) now() state {
	s := state{slices.Clone(n.durable.data), maps.Clone(n.durable.names)}
	for _, c := range n.changes {
		s.change(c)
	}
	return s
}

// lookup returns the node that names lead to from the root, if there is one.
func (d *disk) lookup(names ...string) (int, bool) {
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

// compare returns the differences between the model and the real files below dir.
func (d *disk) compare(dir string) (differences []string) {
	return d.compareNode(0, dir)
}

func (d *disk) compareNode(number int, path string) (differences []string) {
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

// restore writes what is left after a cut of the power into dir. With a source
// of chance a part of what was not synced has reached the disk too, as it may:
// some of a file's writes, the last of them torn, and of a directory's changes
// those up to some moment, as its journal has them in order. Without, nothing.
// A mapped file then has random bytes, as no program may rely on what it holds.
func (d *disk) restore(dir string, chance *rand.Rand) error {
	return d.restoreNode(0, dir, chance)
}

func (d *disk) restoreNode(number int, path string, chance *rand.Rand) error {
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
		if len(c.data) > 1 && chance.IntN(2) == 0 {
			c.data = c.data[:1+chance.IntN(len(c.data)-1)]
		}
		s.change(c)
	}
	return s
}
