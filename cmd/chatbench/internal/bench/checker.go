package bench

// checker finds lost, duplicate and reordered messages of a subscriber by their numbers.
// It is not safe for concurrent use.
type checker struct {
	next       []uint64       // by slot: the number expected
	missing    map[int][]span // by slot: numbers passed over, in order; nil while there are none
	gaps       int64          // times that numbers were passed over
	duplicates int64
	reordered  int64 // messages that came after a later one
}

// span is the numbers from..to-1.
type span struct{ from, to uint64 }

func newChecker(slots int) checker { return checker{next: make([]uint64, slots)} }

// see takes the next message that arrived. It reports whether it is the first
// time.
func (c *checker) see(slot int, seq uint64) bool {
	next := c.next[slot]
	switch {
	case seq == next:
		c.next[slot]++
	case seq > next:
		if c.missing == nil {
			c.missing = make(map[int][]span)
		}
		c.missing[slot] = append(c.missing[slot], span{next, seq})
		c.gaps++
		c.next[slot] = seq + 1
	case c.fill(slot, seq):
		c.reordered++
	default:
		c.duplicates++
		return false
	}
	return true
}

// fill removes seq from the missing numbers, and reports whether it was one of them.
func (c *checker) fill(slot int, seq uint64) bool {
	spans := c.missing[slot]
	for i, s := range spans {
		if seq < s.from || seq >= s.to {
			continue
		}
		var rest []span
		if s.from < seq {
			rest = append(rest, span{s.from, seq})
		}
		if seq+1 < s.to {
			rest = append(rest, span{seq + 1, s.to})
		}
		c.missing[slot] = append(append(append([]span(nil), spans[:i]...), rest...), spans[i+1:]...)
		return true
	}
	return false
}

// lost returns how many of the slot's messages 0..sent-1 did not arrive. Those that the
// server refused, in order, do not count. If toEnd is false, messages after the last
// arrival do not count either.
func (c *checker) lost(slot int, sent uint64, refused []uint64, toEnd bool) int64 {
	spans := c.missing[slot]
	if toEnd && c.next[slot] < sent {
		spans = append(append([]span(nil), spans...), span{c.next[slot], sent})
	}
	var n int64
	for _, s := range spans {
		n += int64(s.to - s.from)
		for _, seq := range refused {
			if seq >= s.from && seq < s.to {
				n--
			}
		}
	}
	return n
}
