package linear

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// kind is what an operation of the model does.
type kind int

const (
	begins   kind = iota // the window begins: all operations of earlier windows have happened
	appends              // the record becomes the next one, at its offset
	observes             // the record is at its offset
	ends                 // the offset is that of the next record
)

// step is one operation of the model.
type step struct {
	kind   kind
	offset uint64
	record string
}

// String describes the step for an error message.
func (s step) String() string {
	switch s.kind {
	case begins:
		return fmt.Sprintf("everything before offset %d", s.offset)
	case appends:
		return fmt.Sprintf("%.60q is appended at %d", s.record, s.offset)
	case observes:
		return fmt.Sprintf("%.60q is known to be at %d", s.record, s.offset)
	default:
		return fmt.Sprintf("the log ends before %d", s.offset)
	}
}

// log is the state of the model: the records of a window.
type log struct {
	begun   bool
	base    uint64
	records []string // the first one has the offset base; the slice is replaced, never changed
}

func (l log) next() uint64 { return l.base + uint64(len(l.records)) }

// take returns the log after a step, and reports whether the step is possible.
func (l log) take(s step) (log, bool) {
	switch {
	case s.kind == begins:
		return log{begun: true, base: s.offset}, !l.begun
	case !l.begun:
		return l, false
	case s.kind == appends:
		due := s.offset == l.next()
		if due {
			l.records = append(slices.Clip(l.records), s.record)
		}
		return l, due
	case s.kind == observes:
		return l, s.offset >= l.base && s.offset < l.next() && l.records[s.offset-l.base] == s.record
	default:
		return l, s.offset == l.next()
	}
}

// model returns the log as a model for porcupine.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return log{} },
		Step: func(state, input, _ any) (bool, any) {
			next, ok := state.(log).take(input.(step)) //nolint:forcetypeassert // there are no others
			return ok, next
		},
		Equal: func(a, b any) bool {
			x, y := a.(log), b.(log) //nolint:forcetypeassert // there are no others
			return x.begun == y.begun && x.base == y.base && slices.Equal(x.records, y.records)
		},
		Hash:              func(state any) uint64 { return state.(log).next() }, //nolint:forcetypeassert // there are no others
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
	}
}
