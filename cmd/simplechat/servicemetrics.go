package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// stateTime bounds the request for the log's state in a scrape, because a cluster may not
// answer.
const stateTime = time.Second

// serviceMetric is a number of [chatsvc.Stats].
type serviceMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(chatsvc.Stats) float64
}

var serviceMetrics = []serviceMetric{
	{desc("subscribers", "Streams that are open."), prometheus.GaugeValue,
		func(s chatsvc.Stats) float64 { return float64(s.Subscribers) }},
	{desc("subscribers_behind", "Streams with at least 1000 unread messages."), prometheus.GaugeValue,
		func(s chatsvc.Stats) float64 { return float64(s.Behind) }},
	{desc("subscriber_lag_max_messages", "Unread messages of the stream that has the most."), prometheus.GaugeValue,
		func(s chatsvc.Stats) float64 { return float64(s.MaxLag) }},
	{desc("deliveries_total", "Messages written to subscribers, each counted once for each subscriber."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.Delivered) }},
	{desc("batches_total", "Batches written to subscribers."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.Batches) }},
	{desc("delivered_bytes_total", "Bytes of the batches written to subscribers."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.Bytes) }},
	{desc("releases_total", "Number of times that waiting subscribers were woken together."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.Releases) }},
	{desc("wakeups_total", "Number of times that a waiting subscriber was woken."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.Wakeups) }},
	{desc("hot_bytes", "Memory for the newest messages."), prometheus.GaugeValue,
		func(s chatsvc.Stats) float64 { return float64(s.HotBytes) }},
	{desc("cold_bytes", "Memory for older messages that are being read."), prometheus.GaugeValue,
		func(s chatsvc.Stats) float64 { return float64(s.ColdBytes) }},
	{desc("body_bytes", "Memory for messages that are being received."), prometheus.GaugeValue,
		func(s chatsvc.Stats) float64 { return float64(s.BodyBytes) }},
	{desc("cold_reads_total", "Reads of older messages from the log."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.ColdReads) }},
	{desc("cold_hits_total", "Reads of older messages that were answered from memory."), prometheus.CounterValue,
		func(s chatsvc.Stats) float64 { return float64(s.ColdHits) }},
}

var (
	readyDesc = desc("ready", "1 if the server can store messages and is not shutting down.")
	firstDesc = desc("log_first_offset", "Offset of the oldest retained message.")
	nextDesc  = desc("log_next_offset", "Offset that the next message will get.")
	sizeDesc  = desc("log_size_bytes", "Size of the log's files in --data.")
)

// serviceCollector collects the counts of the service and its log.
type serviceCollector struct{ front *front }

// Describe implements [prometheus.Collector].
func (c *serviceCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range serviceMetrics {
		to <- m.desc
	}
	for _, d := range []*prometheus.Desc{readyDesc, firstDesc, nextDesc, sizeDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *serviceCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	ready := 0.0
	if len(c.front.reasons()) == 0 {
		ready = 1
	}
	gauge(readyDesc, ready)
	opened := c.front.opened.Load()
	if opened == nil {
		return
	}
	stats := opened.service.Stats()
	for _, m := range serviceMetrics {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats))
	}
	ctx, cancel := context.WithTimeout(context.Background(), stateTime)
	defer cancel()
	if state, err := opened.log.State(ctx); err == nil { // without an answer the metrics are left out
		gauge(firstDesc, float64(state.First))
		gauge(nextDesc, float64(state.Next))
	}
	if size := c.front.logSize(); size > 0 {
		gauge(sizeDesc, float64(size))
	}
}

// logSize returns the size of the log's files in bytes, or 0 if there are none.
func (f *front) logSize() int64 {
	if f.data == "" {
		return 0
	}
	sum := int64(0)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(filepath.Join(f.data, sqlitelog.DatabaseFile+suffix)); err == nil {
			sum += info.Size()
		}
	}
	return sum
}
