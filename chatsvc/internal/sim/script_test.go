package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// script is what happens in a run. All of it comes from the seed.
type script struct {
	Seed  uint64 `json:"seed"`
	Setup setup  `json:"setup"`
	Steps []step `json:"steps"`
}

// setup is the beginning of a run.
type setup struct {
	Servers   int           `json:"servers"`
	Clients   int           `json:"clients"`
	Std       bool          `json:"std,omitempty"`  // net/http's HTTP/2
	Disk      bool          `json:"disk,omitempty"` // the log is an SQLite database
	Retention retention     `json:"retention"`
	Hot       int64         `json:"hot"` // bytes
	Cold      int64         `json:"cold"`
	Heartbeat time.Duration `json:"heartbeat"`
	Deadline  time.Duration `json:"deadline"` // of a write
}

// retention is the log's retention.
type retention struct {
	Messages int           `json:"messages,omitempty"`
	Bytes    int64         `json:"bytes,omitempty"`
	Age      time.Duration `json:"age,omitempty"`
}

// step is one thing that happens, After the one before it. The meaning of A, B, C and For
// depends on the kind. Numbers of servers, clients and connections are taken modulo their
// count.
type step struct {
	After time.Duration `json:"after,omitempty"`
	Do    string        `json:"do"`
	A     int           `json:"a,omitempty"`
	B     int           `json:"b,omitempty"`
	C     int           `json:"c,omitempty"`
	For   time.Duration `json:"for,omitempty"`
}

// newScript returns the script of a seed.
func newScript(seed uint64) script {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := script{Seed: seed, Setup: newSetup(rng)}
	themes := pick(rng, [][]string{nil, {"race"}, {"flood"}, {"big", "stall", "nap"}, {"crowd"}, {"cut", "breakafter"}, {"append"}, {"read"}, {"stop", "start"}, {"start", "stop", "follow", "read", "stream"}, {"big", "stream", "follow", "read"}, {"rollback"}, {"revoke"}, {"stall", "nap"}})
	for range 10 + rng.IntN(40) {
		kind := weighted(rng)
		if s.Setup.Disk && rng.IntN(2) == 0 {
			kind = pick(rng, []string{"crash", "crash", "start", "start", "start", "send", "send", "race", "backup", "restore", "jump"})
		}
		if len(themes) > 0 && rng.IntN(3) == 0 {
			kind = pick(rng, themes)
		}
		next := kinds[kind].make(rng)
		next.Do = kind
		next.After = pause(rng)
		s.Steps = append(s.Steps, next)
	}
	return s
}

func newSetup(rng *rand.Rand) setup {
	s := setup{
		Servers:   1 + rng.IntN(3),
		Clients:   2 + rng.IntN(3),
		Std:       rng.IntN(4) == 0,
		Hot:       pick(rng, []int64{0, 0, 200 << 10, 64 << 20}),
		Cold:      pick(rng, []int64{0, 100 << 10, 1 << 20, 32 << 20}),
		Heartbeat: pick(rng, []time.Duration{3 * time.Second, 25 * time.Second}),
		Deadline:  pick(rng, []time.Duration{5 * time.Second, 30 * time.Second}),
	}
	if s.Disk = rng.IntN(12) == 0; s.Disk {
		s.Servers = 1
	}
	switch rng.IntN(4) {
	case 0:
		s.Retention.Messages = 10 + rng.IntN(100)
	case 1:
		s.Retention.Age = time.Duration(1+rng.IntN(60)) * time.Second
	case 2:
		s.Retention.Bytes = int64(1+rng.IntN(200)) << 10
	}
	if s.Disk {
		s.Retention.Age, s.Retention.Bytes = 0, 0
	}
	return s
}

// pause returns the time before a step: most follow at once, and a few after a long time.
func pause(rng *rand.Rand) time.Duration {
	switch n := rng.IntN(200); {
	case n < 80:
		return 0
	case n < 140:
		return time.Duration(rng.IntN(20)) * time.Millisecond
	case n < 185:
		return time.Duration(rng.IntN(3000)) * time.Millisecond
	case n < 199:
		return time.Duration(rng.IntN(150)) * time.Second
	default:
		return 20 * time.Minute
	}
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// weighted returns a kind of step.
func weighted(rng *rand.Rand) string {
	n := rng.IntN(kindWeight)
	for _, name := range kindNames {
		if n -= kinds[name].weight; n < 0 {
			return name
		}
	}
	panic("the weights do not add up")
}

// String returns the script as JSON, with a step on each line.
func (s script) String() string {
	steps := s.Steps
	s.Steps = nil
	var b strings.Builder
	head := strings.TrimSuffix(asJSON(s), `"steps":null}`)
	fmt.Fprintf(&b, "%s\"steps\":[\n", head)
	for i, step := range steps {
		b.WriteString(asJSON(step))
		if i < len(steps)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]}\n")
	return b.String()
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
