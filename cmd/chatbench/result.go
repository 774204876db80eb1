package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what a run found. Times are nanoseconds in JSON.
type result struct {
	Faults   faults    `json:"faults"`
	Workload workload  `json:"workload"`
	Address  string    `json:"address"`
	Date     time.Time `json:"date"`
	Machine  machine   `json:"machine"`

	Seconds             float64 `json:"seconds"` // measured, without the warm-up
	Sends               int64   `json:"sends"`   // stored, with the warm-up
	SendsPerSecond      float64 `json:"sendsPerSecond"`
	SendLatency         latency `json:"sendLatency"`
	LateSends           int64   `json:"lateSends"`
	Deliveries          int64   `json:"deliveries"` // to healthy subscribers, with the warm-up
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	Latency             latency `json:"latency"` // from when the message was due
	MessagesPerBatch    float64 `json:"messagesPerBatch"`
	BytesPerSecond      float64 `json:"bytesPerSecond"`
	Foreign             int64   `json:"foreign"` // messages of others: history

	SubscribeTime time.Duration `json:"subscribeTime"` // until all had their first batch
	DrainTime     time.Duration `json:"drainTime"`     // from the last send to the last delivery
	OwnCores      float64       `json:"ownCores"`      // CPU of the generator

	Server *serverResult `json:"server,omitempty"`
	Series []sample      `json:"series"`

	deliveryTimes *hdrhistogram.Histogram
	sendTimes     *hdrhistogram.Histogram
	history       historyResult // of a run with a history only
}

// faults are what must not be.
type faults struct {
	Lost       int64  `json:"lost"` // messages that a subscriber did not get
	Gaps       int64  `json:"gaps"` // times that a subscriber saw numbers passed over, whether they came later or not
	Duplicates int64  `json:"duplicates"`
	Reordered  int64  `json:"reordered"`
	Ended      int    `json:"ended"`   // streams of healthy subscribers that the server ended
	Refused    int64  `json:"refused"` // sends that the server did not store, or did not answer
	Cut        int    `json:"cut"`     // slow subscribers whose stream ended: as it should be, and no fault
	Cause      string `json:"cause,omitempty"`
}

var errFaults = errors.New("the run found faults: see the first lines of the report")

// err returns errFaults if there are any.
func (f faults) err() error {
	if f.Lost+f.Gaps+f.Duplicates+f.Reordered+int64(f.Ended)+f.Refused > 0 || f.Cause != "" {
		return errFaults
	}
	return nil
}

// serverResult is what the server's process took.
type serverResult struct {
	PID                int     `json:"pid"`
	Cores              float64 `json:"cores"`            // CPU while measured
	NanosPerDelivery   float64 `json:"nanosPerDelivery"` // all CPU, that of the sends too
	NanosPerSend       float64 `json:"nanosPerSend"`     // all CPU, that of the deliveries too
	RestBytes          int64   `json:"restBytes"`        // resident before the subscribers came
	IdleBytes          int64   `json:"idleBytes"`        // with all of them, before the load
	BytesPerSubscriber int64   `json:"bytesPerSubscriber"`
	PeakBytes          int64   `json:"peakBytes"`
}

// latency is a distribution.
type latency struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean"`
	P50   time.Duration `json:"p50"`
	P90   time.Duration `json:"p90"`
	P99   time.Duration `json:"p99"`
	P999  time.Duration `json:"p999"`
	Max   time.Duration `json:"max"`
}

func summarize(h *hdrhistogram.Histogram) latency {
	at := func(percent float64) time.Duration { return time.Duration(h.ValueAtQuantile(percent)) }
	return latency{
		Count: h.TotalCount(),
		Mean:  time.Duration(h.Mean()),
		P50:   at(50),
		P90:   at(90),
		P99:   at(99),
		P999:  at(99.9),
		Max:   time.Duration(h.Max()),
	}
}

// verify fills in what is known when all readers have ended.
func (b *bench) verify() {
	r := &b.result
	counts, _ := b.tallies.counts()
	r.Sends = b.pubs.stored.Load()
	r.Deliveries = counts.deliveries
	r.Foreign = counts.foreign
	r.LateSends = b.pubs.late.Load()
	r.deliveryTimes, r.sendTimes = b.tallies.latency(), b.pubs.latency
	r.Latency, r.SendLatency = summarize(r.deliveryTimes), summarize(r.sendTimes)
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

// settle counts what was never answered as refused: nobody was told that it is
// stored. All connections have ended.
func (p *publishers) settle() {
	for _, s := range p.slots {
		if s.inFlight {
			s.refused = append(s.refused, s.next-1)
		}
	}
}
