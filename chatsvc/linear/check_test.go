package linear

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// system is a log that tells the truth, and clients whose calls overlap.
type system struct {
	*Recorder

	chance  *rand.Rand
	epoch   string
	records []string // the first has offset 1
	running []func() // the second halves of calls
	sent    int
	lost    float64 // part of the answers that never arrive
}

func newSystem(seed uint64, lost float64) *system {
	return &system{Recorder: NewRecorder(), chance: rand.New(rand.NewPCG(seed, 0)), epoch: "A", lost: lost}
}

// run lets clients do a number of operations, of which up to 20 run at a time.
func (s *system) run(operations int) {
	for range operations {
		s.begin()
		for len(s.running) > s.chance.IntN(20) {
			s.proceed()
		}
	}
	for len(s.running) > 0 {
		s.proceed()
	}
}

// proceed lets one of the calls proceed.
func (s *system) proceed() {
	i := s.chance.IntN(len(s.running))
	f := s.running[i]
	s.running = slices.Delete(s.running, i, i+1)
	f()
}

func (s *system) later(f func()) { s.running = append(s.running, f) }

func (s *system) begin() {
	if s.chance.IntN(3) > 0 {
		s.sent++
		key := ""
		if s.sent%2 == 0 {
			key = fmt.Sprint("key ", s.sent)
		}
		s.send(fmt.Sprint("record ", s.sent), key)
		return
	}
	read := s.Read()
	s.later(func() {
		next := uint64(len(s.records) + 1)
		from := max(1, int(next)-s.chance.IntN(50))
		records := slices.Clone(s.records[from-1:])
		s.later(func() {
			half := len(records) / 2
			read.Return(s.epoch, uint64(from), records[:half]...)
			read.Return(s.epoch, uint64(from+half), records[half:]...)
			read.End(s.epoch, next)
		})
	})
}

// send sends a record until it is acknowledged if it has a key, or else once.
func (s *system) send(record, key string) {
	a := s.Append(record, key)
	s.later(func() { // it is lost on the way, stored, or both
		reached := s.chance.Float64() >= s.lost
		at := slices.Index(s.records, record)
		repeat := at >= 0
		if reached && !repeat {
			s.records = append(s.records, record)
			at = len(s.records) - 1
		}
		s.later(func() {
			switch answered := s.chance.Float64() >= s.lost; {
			case reached && answered:
				a.Return(s.epoch, uint64(at+1), repeat)
			case key != "":
				s.send(record, key)
			}
		})
	})
}

// readAll reads the log to its end.
func (s *system) readAll() {
	read := s.Read()
	read.Return(s.epoch, 1, s.records...)
	read.End(s.epoch, uint64(len(s.records)+1))
}

func TestTruthIsAccepted(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		for _, lost := range []float64{0, 0.01, 0.2} {
			s := newSystem(seed, lost)
			s.run(300)
			if seed%2 == 0 {
				s.readAll()
			}
			if err := s.Check(); err != nil {
				t.Errorf("seed %d, %v of answers are lost: %v", seed, lost, err)
			}
		}
	}
}

// Histories of several windows are accepted, and a fault in any of them is found.
func TestLongHistory(t *testing.T) {
	t.Parallel()
	s := newSystem(1, 0.01)
	s.run(10 * windowSize)
	s.readAll()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	early := s.Append("early", "")
	s.run(10)
	early.Return("A", 3, false)
	if err := s.Check(); err == nil {
		t.Error("an append at the beginning of a long log was accepted")
	}
}

// A checker that accepts everything would prove nothing.
func TestFaultsAreRejected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(r *Recorder)
		want string // part of the problem, or empty if there is none
	}{
		{"nothing", func(*Recorder) {}, ""},
		{"append follows", func(r *Recorder) { r.Append("d", "").Return("A", 4, false) }, ""},
		{"stale end", func(r *Recorder) { r.Read().End("A", 3) }, "the log ends before 3"},
		{"stale end of a read that began in time", func(r *Recorder) {
			read := r.Read()
			r.Append("d", "").Return("A", 4, false)
			read.End("A", 4)
		}, ""},
		{"stale end after another reader", func(r *Recorder) {
			r.Append("d", "")
			r.Read().Return("A", 4, "d")
			r.Read().End("A", 4)
		}, "the log ends before 4"},
		{"end of a log that only has an unknown record more", func(r *Recorder) {
			r.Append("d", "")
			r.Read().End("A", 4)
			r.Read().End("A", 5)
		}, ""},
		{"end goes back", func(r *Recorder) {
			r.Append("d", "")
			r.Read().End("A", 5)
			r.Read().End("A", 4)
		}, "the log ends before 4"},
		{"end is beyond all that was sent", func(r *Recorder) { r.Read().End("A", 5) }, "invented: no append accounts for offset 4"},
		{"acknowledged record is lost at the end", func(r *Recorder) {
			r.Append("d", "").Return("A", 4, false)
			read := r.Read()
			read.Return("A", 1, "a", "b", "c")
			read.End("A", 4)
		}, "the log ends before 4"},
		{"acknowledged record is lost within", func(r *Recorder) {
			r.Append("d", "").Return("A", 4, false)
			r.Append("e", "").Return("A", 5, false)
			r.Read().Return("A", 3, "c", "e")
		}, `"e" is known to be at 4`},
		{"acknowledged record is another's", func(r *Recorder) {
			r.Append("d", "")
			r.Append("e", "").Return("A", 4, false)
			r.Read().Return("A", 4, "d")
		}, `"d" is known to be at 4`},
		{"two are told one offset", func(r *Recorder) {
			r.Append("d", "").Return("A", 4, false)
			r.Append("e", "").Return("A", 4, false)
		}, `"e" is appended at 4`},
		{"appends are stored in another order than they were sent", func(r *Recorder) {
			r.Append("d", "").Return("A", 5, false)
			r.Append("e", "").Return("A", 4, false)
		}, `is appended at`},
		{"concurrent appends are stored in any order", func(r *Recorder) {
			d, e := r.Append("d", ""), r.Append("e", "")
			d.Return("A", 5, false)
			e.Return("A", 4, false)
		}, ""},
		{"records are read in another order than they were sent", func(r *Recorder) {
			r.Append("d", "").Return("A", 4, false)
			r.Append("e", "")
			r.Read().Return("A", 4, "e", "d")
		}, "changed: offset 4|is known to be at 4|twice"},
		{"readers see two orders", func(r *Recorder) {
			r.Append("d", "")
			r.Append("e", "")
			r.Read().Return("A", 4, "d", "e")
			r.Read().Return("A", 4, "e", "d")
		}, "changed: offset 4"},
		{"record is sent after one behind it was read", func(r *Recorder) {
			e := r.Append("e", "")
			r.Read().Return("A", 5, "e")
			r.Append("d", "").Return("A", 4, false)
			e.Return("A", 5, false)
		}, `"e" is known to be at 5`},
		{"invented record", func(r *Recorder) { r.Read().Return("A", 4, "d") }, "invented"},
		{"refused record", func(r *Recorder) {
			r.Append("d", "").Refuse()
			r.Read().Return("A", 4, "d")
		}, "invented"},
		{"record is read before it is sent", func(r *Recorder) {
			r.Read().Return("A", 4, "d")
			r.Append("d", "").Return("A", 4, false)
		}, "invented"},
		{"record without a key is stored twice", func(r *Recorder) {
			r.Append("d", "")
			r.Read().Return("A", 4, "d", "d")
		}, "twice"},
		{"acknowledged record is stored twice", func(r *Recorder) {
			r.Append("d", "").Return("A", 4, false)
			r.Read().Return("A", 4, "d", "d")
		}, "twice"},
		{"key is stored once", func(r *Recorder) {
			r.Append("d", "k")
			r.Append("d", "k").Return("A", 4, true)
			r.Append("d", "k").Return("A", 4, true)
			r.Read().Return("A", 4, "d")
		}, ""},
		{"key is stored twice", func(r *Recorder) {
			r.Append("d", "k")
			r.Append("d", "k").Return("A", 4, false)
			r.Append("d", "k").Return("A", 5, false)
		}, "twice"},
		{"key is stored twice though it was forgotten by one client", func(r *Recorder) {
			r.Append("d", "k")
			r.Append("d", "k").Return("A", 4, false)
			r.Read().Return("A", 4, "d", "d")
		}, "twice"},
		{"duplicate is told another offset", func(r *Recorder) {
			r.Append("d", "k").Return("A", 4, false)
			r.Append("e", "").Return("A", 5, false)
			r.Append("d", "k").Return("A", 5, true)
		}, "twice"},
		{"both of two are called the first", func(r *Recorder) {
			r.Append("d", "k").Return("A", 4, false)
			r.Append("d", "k").Return("A", 4, false)
		}, `"d" is appended at 4`},
		{"duplicate before the first", func(r *Recorder) {
			r.Append("d", "k").Return("A", 4, true)
			r.Append("d", "k").Return("A", 4, false)
		}, `"d" is known to be at 4`},
		{"keys are forgotten in time", func(r *Recorder) {
			r.Append("d", "k").Return("A", 4, false)
			time.Sleep(KeyWindow)
			r.Append("d", "k").Return("A", 5, false)
		}, "twice"},
		{"keys are forgotten after their time", func(r *Recorder) {
			r.Append("d", "k").Return("A", 4, false)
			time.Sleep(KeyWindow + 1)
			r.Append("d", "k").Return("A", 5, false)
		}, ""},
		{"unknown record fills a hole", func(r *Recorder) {
			r.Append("d", "")
			r.Append("e", "").Return("A", 5, false)
		}, ""},
		{"unknown record was sent too late for a hole", func(r *Recorder) {
			r.Append("e", "").Return("A", 5, false)
			r.Append("d", "")
		}, `"e" is appended at 5`},
		{"nobody fills a hole", func(r *Recorder) { r.Append("e", "").Return("A", 5, false) }, "invented: no append accounts for offset 4"},
		{"unknown record happens late", func(r *Recorder) {
			r.Append("d", "")
			r.Append("e", "").Return("A", 4, false)
			r.Read().End("A", 5)
			r.Read().Return("A", 5, "d")
			r.Read().End("A", 6)
		}, ""},
		{"two appends of one record", func(r *Recorder) {
			r.Append("d", "")
			r.Append("d", "")
		}, "cannot tell"},
		{"new epoch is empty", func(r *Recorder) {
			r.Read().End("B", 1)
			r.Append("d", "").Return("B", 1, false)
		}, ""},
		{"new epoch has kept some", func(r *Recorder) {
			r.Append("d", "").Return("A", 4, false)
			r.Append("e", "").Return("B", 3, false)
			r.Read().Return("B", 1, "a", "b", "e")
		}, ""},
		{"unseen record of the old epoch is sent again in the new one", func(r *Recorder) {
			r.Append("d", "k")
			r.Append("e", "").Return("A", 5, false)
			r.Append("d", "k").Return("B", 4, false)
		}, ""},
		{"no append is left for an unseen record of the old epoch", func(r *Recorder) {
			r.Append("e", "").Return("A", 5, false)
			r.Append("d", "k").Return("B", 4, false)
		}, "invented"},
		{"new epoch has an invented record", func(r *Recorder) { r.Read().Return("B", 1, "x") }, "invented"},
		{"new epoch loses what was acknowledged in it", func(r *Recorder) {
			r.Append("d", "").Return("B", 3, false)
			r.Append("e", "").Return("B", 4, false)
			r.Read().End("B", 4)
		}, "the log ends before 4"},
		{"old epoch comes back", func(r *Recorder) {
			r.Append("d", "").Return("B", 1, false)
			r.Append("e", "").Return("A", 4, false)
		}, "epoch B"},
		{"append of the old epoch is answered late", func(r *Recorder) {
			e := r.Append("e", "")
			r.Append("d", "").Return("B", 1, false)
			e.Return("A", 4, false)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := NewRecorder()
				for i, record := range []string{"a", "b", "c"} {
					r.Append(record, "").Return("A", uint64(i+1), false)
				}
				read := r.Read()
				read.Return("A", 1, "a", "b", "c")
				read.End("A", 4)
				test.do(r)
				err := r.Check()
				found := func(part string) bool { return err != nil && strings.Contains(err.Error(), part) }
				switch {
				case test.want == "" && err != nil:
					t.Errorf("blamed for nothing:\n%v", err)
				case test.want != "" && !slices.ContainsFunc(strings.Split(test.want, "|"), found):
					t.Errorf("no problem with %q was found, but:\n%v", test.want, err)
				}
			})
		})
	}
}

// A recorder until an event knows only the answers that clients had received by then.
func TestUntil(t *testing.T) {
	t.Parallel()
	r := NewRecorder()
	r.Append("a", "").Return("A", 1, false)
	b := r.Append("b", "")
	event := r.Now()
	b.Return("A", 2, false)
	r.Append("c", "").Return("A", 3, false)
	r.Read().Return("A", 1, "a", "b", "c")
	for name, test := range map[string]struct {
		event int64
		end   uint64
		ok    bool
	}{
		"what was not acknowledged may be lost":    {event, 2, true},
		"what was not acknowledged may be stored":  {event, 3, true},
		"what was acknowledged is not lost":        {event, 1, false},
		"what was acknowledged later is not there": {event, 4, false},
		"all may be stored":                        {r.Now(), 4, true},
		"all was acknowledged":                     {r.Now(), 3, false},
	} {
		past := r.Until(test.event)
		past.Read().End("A", test.end)
		if err := past.Check(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, lost := range []float64{0, 0.01} {
		b.Run(fmt.Sprintf("operations=5000/lost=%v", lost), func(b *testing.B) {
			s := newSystem(1, lost)
			s.run(5000)
			for b.Loop() {
				if err := s.Check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
