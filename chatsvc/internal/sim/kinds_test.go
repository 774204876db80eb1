package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is a kind of step.
type kind struct {
	weight int
	make   func(rng *rand.Rand) step
	do     func(w *world, s step)
}

// kinds are all kinds of steps.
var kinds = map[string]kind{
	// Client A sends B messages of C bytes at the same time.
	"send": {26, func(r *rand.Rand) step { return step{A: r.IntN(8), B: 1 + r.IntN(8), C: size(r)} }, (*world).send},
	// The same, and the client gives up after a time.
	"abandon": {4, func(r *rand.Rand) step {
		return step{A: r.IntN(8), B: 1 + r.IntN(8), C: size(r), For: time.Duration(r.IntN(40)) * 50 * time.Microsecond}
	}, (*world).abandon},
	// B clients send a message each with the same key.
	"race": {6, func(r *rand.Rand) step { return step{B: 2 + r.IntN(3), C: r.IntN(100)} }, (*world).race},
	// Server A publishes B messages of C bytes one after the other.
	"flood": {6, func(r *rand.Rand) step { return step{A: r.IntN(8), B: 5 + r.IntN(60), C: r.IntN(900)} }, (*world).flood},
	// The same with up to 8 large messages.
	"big": {3, func(r *rand.Rand) step { return step{A: r.IntN(8), B: 1 + r.IntN(5), C: 10_000 + r.IntN(40_000)} }, (*world).flood},
	// Client A follows from a place: B says which, C is a number for it.
	"follow": {16, func(r *rand.Rand) step { return step{A: r.IntN(8), B: r.IntN(4), C: r.IntN(60)} }, (*world).follow},
	// A stream of server A, over face B, from C%4 until C/4.
	"stream": {12, func(r *rand.Rand) step { return step{A: r.IntN(8), B: r.IntN(64), C: r.IntN(200)} }, (*world).stream},
	// B subscribers in the process of server A.
	"crowd": {1, func(r *rand.Rand) step { return step{A: r.IntN(8), B: 50 + r.IntN(40)} }, (*world).crowd},
	// Follower or stream A ends.
	"leave": {5, func(r *rand.Rand) step { return step{A: r.IntN(64), B: r.IntN(2)} }, (*world).leave},
	// Follower A, or stream A, reads nothing for some time.
	"nap": {5, func(r *rand.Rand) step { return step{A: r.IntN(64), B: r.IntN(2), For: span(r)} }, (*world).nap},
	// Connection A is cut.
	"cut": {8, func(r *rand.Rand) step { return step{A: r.IntN(64)} }, (*world).cut},
	// All connections to server A are cut.
	"cutall": {3, func(r *rand.Rand) step { return step{A: r.IntN(8)} }, (*world).cutAll},
	// Connection A stalls, from the client for B of 0, else to it.
	"stall": {6, func(r *rand.Rand) step { return step{A: r.IntN(64), B: r.IntN(3), For: span(r)} }, (*world).stall},
	// One side of connection A stops sending: the client for B of 0, else the server.
	"half": {3, func(r *rand.Rand) step { return step{A: r.IntN(64), B: r.IntN(2)} }, (*world).half},
	// All later bytes over connection A are lost.
	"hole": {3, func(r *rand.Rand) step { return step{A: r.IntN(64)} }, (*world).hole},
	// The next connection breaks when its server has written A bytes.
	"breakafter": {8, func(r *rand.Rand) step { return step{A: prefix(r)} }, (*world).breakAfter},
	// Bytes take up to a time to arrive.
	"delay": {3, func(r *rand.Rand) step { return step{For: time.Duration(r.IntN(300)) * time.Millisecond} }, (*world).delay},
	// The next B appends, reads or states of server A have fault C.
	"append": {10, faults, (*world).faultAppend},
	"read":   {8, faults, (*world).faultRead},
	"state":  {4, faults, (*world).faultState},
	// The Follow of server A fails.
	"break": {3, func(r *rand.Rand) step { return step{A: r.IntN(8)} }, (*world).breakFollow},
	// Server A hears of records later.
	"lag": {4, func(r *rand.Rand) step { return step{A: r.IntN(8), For: span(r)} }, (*world).lag},
	// The log loses its last A records.
	"rollback": {2, func(r *rand.Rand) step { return step{A: r.IntN(30)} }, (*world).rollback},
	// Server A is killed, is shut down in order, begins.
	"kill":  {3, func(r *rand.Rand) step { return step{A: r.IntN(8)} }, (*world).kill},
	"stop":  {3, func(r *rand.Rand) step { return step{A: r.IntN(8)} }, (*world).stop},
	"start": {6, func(r *rand.Rand) step { return step{A: r.IntN(8)} }, (*world).start},
	// The machine of the database stops: a process is killed (A even) or the power is cut (A
	// odd), at once (B of 0), or when the next transaction is committed, or on the disk.
	"crash": {1, func(r *rand.Rand) step { return step{A: r.IntN(2), B: r.IntN(3)} }, (*world).crash},
	// The database is copied, and the copy is put back.
	"backup":  {1, func(*rand.Rand) step { return step{} }, (*world).backup},
	"restore": {1, func(*rand.Rand) step { return step{} }, (*world).restore},
	// The wall clock of the database's machine jumps: ahead (A even) or back (A odd). Only
	// scripts with a database have such steps.
	"jump": {0, func(r *rand.Rand) step { return step{A: r.IntN(2), For: time.Duration(r.IntN(100)) * time.Hour} }, (*world).jump},
	// The streams of server A end one after the other.
	"drain": {1, func(r *rand.Rand) step { return step{A: r.IntN(8), For: span(r)} }, (*world).drain},
	// The credentials of client A are not valid for some time.
	"revoke": {2, func(r *rand.Rand) step { return step{A: r.IntN(8), For: span(r)} }, (*world).revoke},
	// Nothing happens.
	"wait": {4, func(r *rand.Rand) step { return step{For: span(r)} }, (*world).idle},
}

var kindNames, kindWeight = func() ([]string, int) {
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	return slices.Sorted(maps.Keys(kinds)), sum
}()

func faults(r *rand.Rand) step {
	return step{A: r.IntN(8), B: 1 + r.IntN(4), C: r.IntN(int(mishapKinds)), For: time.Duration(r.IntN(4000)) * time.Millisecond}
}

// size returns a content's size in bytes: most are small.
func size(r *rand.Rand) int {
	switch r.IntN(16) {
	case 0:
		return 10_000 + r.IntN(40_000)
	case 2: // at the limit, and beyond it
		return maxContent + r.IntN(2)
	case 1:
		return 1000 + r.IntN(5000)
	default:
		return r.IntN(200)
	}
}

// span returns a time.
func span(r *rand.Rand) time.Duration {
	switch r.IntN(8) {
	case 0, 1:
		return time.Duration(r.IntN(90)) * time.Second
	case 2, 3:
		return time.Duration(r.IntN(8000)) * time.Millisecond
	}
	return time.Duration(r.IntN(2000)) * time.Millisecond
}

// prefix returns a number of bytes: many are those of a stream's beginning.
func prefix(r *rand.Rand) int {
	if r.IntN(3) == 0 {
		return r.IntN(40_000)
	}
	return r.IntN(900)
}
