package report

import (
	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Figures of the report.
const (
	Deliveries = "deliveries/s"
	CPU        = "CPU per delivery"
	P50        = "p50"
	P99        = "p99"
	Sends      = "sends/s"
	SendCPU    = "CPU per send"
	SendP99    = "send p99"
	SendP999   = "send p99.9"
	SendMax    = "send max"
	Idle       = "memory per idle subscriber"
	Peak       = "peak memory above rest"
	SendP50    = "send p50"
	Killed     = "first message after SIGKILL"
	Stopped    = "first message after a stop"
	Rest       = "memory at rest"
	JSON       = "memory after reading as JSON"
	Reads      = "messages/s to one subscriber"
	Alone      = "p99 without readers"
	Beside     = "p99 beside readers"
	Hot        = "reconnected, hot"
	Cold       = "reconnected, cold"
)

// figure is a number of a result.
type figure struct {
	of    func(*bench.Result) float64
	human func(float64) string
}

var figures = map[string]figure{
	Deliveries: {func(r *bench.Result) float64 { return r.DeliveriesPerSecond }, human.Count},
	CPU:        {func(r *bench.Result) float64 { return r.Server.NanosPerDelivery }, human.Micros},
	P50:        {func(r *bench.Result) float64 { return float64(r.Latency.P50) }, human.Time},
	P99:        {func(r *bench.Result) float64 { return float64(r.Latency.P99) }, human.Time},
	Sends:      {func(r *bench.Result) float64 { return r.SendsPerSecond }, human.Count},
	SendCPU:    {func(r *bench.Result) float64 { return r.Server.NanosPerSend }, human.Micros},
	SendP99:    {func(r *bench.Result) float64 { return float64(r.SendLatency.P99) }, human.Time},
	SendP999:   {func(r *bench.Result) float64 { return float64(r.SendLatency.P999) }, human.Time},
	SendMax:    {func(r *bench.Result) float64 { return float64(r.SendLatency.Max) }, human.Time},
	Idle:       {func(r *bench.Result) float64 { return float64(r.Server.BytesPerSubscriber) }, human.Bytes},
	Peak:       {func(r *bench.Result) float64 { return float64(r.Server.PeakBytes - r.Server.RestBytes) }, human.Bytes},
	SendP50:    {func(r *bench.Result) float64 { return float64(r.SendLatency.P50) }, human.Time},
	Killed:     {func(r *bench.Result) float64 { return float64(r.History.AfterKill) }, human.Time},
	Stopped:    {func(r *bench.Result) float64 { return float64(r.History.AfterStop) }, human.Time},
	Rest:       {func(r *bench.Result) float64 { return float64(r.History.RestBytes) }, human.Bytes},
	JSON:       {func(r *bench.Result) float64 { return float64(r.History.JSONBytes) }, human.Bytes},
	Reads:      {func(r *bench.Result) float64 { return r.History.ReadsPerSecond }, human.Count},
	Alone:      {func(r *bench.Result) float64 { return float64(r.History.Alone) }, human.Time},
	Beside:     {func(r *bench.Result) float64 { return float64(r.History.Beside) }, human.Time},
	Hot:        {func(r *bench.Result) float64 { return float64(r.History.Hot) }, human.Time},
	Cold:       {func(r *bench.Result) float64 { return float64(r.History.Cold) }, human.Time},
}
