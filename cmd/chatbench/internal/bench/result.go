package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Result holds the results of a run. Times are nanoseconds in JSON.
type Result struct {
	Faults   Faults    `json:"faults"`
	Workload Workload  `json:"workload"`
	Address  string    `json:"address"`
	Date     time.Time `json:"date"`
	Machine  Machine   `json:"machine"`

	Seconds             float64 `json:"seconds"` // measured, without the warm-up
	Sends               int64   `json:"sends"`   // stored, with the warm-up
	SendsPerSecond      float64 `json:"sendsPerSecond"`
	SendLatency         Latency `json:"sendLatency"`
	LateSends           int64   `json:"lateSends"`
	Deliveries          int64   `json:"deliveries"` // to healthy subscribers, with the warm-up
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	Latency             Latency `json:"latency"` // from when the message was due
	MessagesPerBatch    float64 `json:"messagesPerBatch"`
	BytesPerSecond      float64 `json:"bytesPerSecond"`
	Foreign             int64   `json:"foreign"` // messages of the history or of other senders

	SubscribeTime time.Duration `json:"subscribeTime"` // until all had their first batch
	DrainTime     time.Duration `json:"drainTime"`     // from the last send to the last delivery
	OwnCores      float64       `json:"ownCores"`      // CPU of the generator

	Server *Server  `json:"server,omitempty"`
	Series []Sample `json:"series"`

	DeliveryTimes *hdrhistogram.Histogram `json:"-"` // in ns, from when the message was due
	SendTimes     *hdrhistogram.Histogram `json:"-"` // in ns
	History       History                 `json:"-"` // of a run with a history only
}

// Faults counts faults of the server.
type Faults struct {
	Lost       int64  `json:"lost"` // missing deliveries
	Gaps       int64  `json:"gaps"` // times that a subscriber saw a gap in the numbers, also if it was filled later
	Duplicates int64  `json:"duplicates"`
	Reordered  int64  `json:"reordered"`
	Ended      int    `json:"ended"`   // streams of healthy subscribers that the server ended
	Refused    int64  `json:"refused"` // sends that the server did not store, or did not answer
	Cut        int    `json:"cut"`     // slow subscribers whose stream ended, which is not a fault
	Cause      string `json:"cause,omitempty"`
}

var errFaults = errors.New("the run found faults: see the first lines of the report")

// Err returns errFaults if there are any.
func (f Faults) Err() error {
	if f.Lost+f.Gaps+f.Duplicates+f.Reordered+int64(f.Ended)+f.Refused > 0 || f.Cause != "" {
		return errFaults
	}
	return nil
}

// Server holds the resources that the server's process used.
type Server struct {
	PID                int     `json:"pid"`
	Cores              float64 `json:"cores"`            // CPU while measured
	NanosPerDelivery   float64 `json:"nanosPerDelivery"` // all CPU, that of the sends too
	NanosPerSend       float64 `json:"nanosPerSend"`     // all CPU, that of the deliveries too
	RestBytes          int64   `json:"restBytes"`        // resident before the subscribers came
	IdleBytes          int64   `json:"idleBytes"`        // with all of them, before the load
	BytesPerSubscriber int64   `json:"bytesPerSubscriber"`
	PeakBytes          int64   `json:"peakBytes"`
}

// Latency is a distribution.
type Latency struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean"`
	P50   time.Duration `json:"p50"`
	P90   time.Duration `json:"p90"`
	P99   time.Duration `json:"p99"`
	P999  time.Duration `json:"p999"`
	Max   time.Duration `json:"max"`
}

// String implements [fmt.Stringer].
func (l Latency) String() string {
	if l.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, p99.9 %v, max %v", human.Round(l.P50), human.Round(l.P90), human.Round(l.P99), human.Round(l.P999), human.Round(l.Max))
}

func summarize(h *hdrhistogram.Histogram) Latency {
	at := func(percent float64) time.Duration { return time.Duration(h.ValueAtQuantile(percent)) }
	return Latency{
		Count: h.TotalCount(),
		Mean:  time.Duration(h.Mean()),
		P50:   at(50),
		P90:   at(90),
		P99:   at(99),
		P999:  at(99.9),
		Max:   time.Duration(h.Max()),
	}
}

// History holds the results of runs with a history.
type History struct {
	AfterKill, AfterStop time.Duration // from execution to the first message at a subscriber
	RestBytes, JSONBytes int64         // resident: at rest, and when one subscriber has read all as JSON
	ReadsPerSecond       float64       // messages to one subscriber
	Alone, Beside        time.Duration // p99 of live subscribers, without and with readers of the history
	Hot, Cold            time.Duration // until all of a crowd have read everything
}

// verify fills in the results that are known when all readers have ended.
func (b *Bench) verify() {
	r := &b.result
	counts, _ := b.tallies.counts()
	r.Sends = b.pubs.stored.Load()
	r.Deliveries = counts.deliveries
	r.Foreign = counts.foreign
	r.LateSends = b.pubs.late.Load()
	r.DeliveryTimes, r.SendTimes = b.tallies.latency(), b.pubs.latency
	r.Latency, r.SendLatency = summarize(r.DeliveryTimes), summarize(r.SendTimes)
	f := &r.Faults
	f.Refused = b.pubs.sent.Load() - r.Sends
	if err := b.pubs.broken(); err != nil {
		f.Cause = err.Error()
	}
	b.pubs.settle()
	for _, s := range b.subs {
		f.Lost += s.lost(b.pubs.slots)
		f.Gaps += s.checker.gaps
		f.Duplicates += s.checker.duplicates
		f.Reordered += s.checker.reordered
		err := s.broken()
		switch {
		case err == nil:
		case s.kind != healthy:
			f.Cut++
		default:
			f.Ended++
			if f.Cause == "" {
				f.Cause = fmt.Sprintf("a subscriber's stream: %v", err)
			}
		}
	}
}

// settle counts sends without an answer as refused. All connections have ended.
func (p *publishers) settle() {
	for _, s := range p.slots {
		if s.inFlight {
			s.refused = append(s.refused, s.next-1)
		}
	}
}
