package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// every calls do repeatedly, with a pause of between, until ctx is done or do fails. With
// a pause of 0 it never calls do.
func every(ctx context.Context, between time.Duration, do func(context.Context) error) error {
	if between == 0 {
		return nil
	}
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := do(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // the end of the load is not an error
			}
			return err
		}
	}
}

// sizeOf returns the content's size of message n: most are text, some are images.
func sizeOf(n uint64) int {
	const often, image = 100, 256 << 10
	if n%often == often-1 {
		return image
	}
	return bench.SmallContent
}

// restart ends the server, every other time with SIGKILL, and starts it again. The end of
// the load does not interrupt it, because clients still have to catch up.
func (s *soak) restart(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	signal := syscall.SIGTERM
	if s.restarts%2 == 1 {
		signal = syscall.SIGKILL
	}
	s.restarts++
	addr := s.server.addr
	if err := s.server.end(signal); err != nil && signal == syscall.SIGTERM {
		return fmt.Errorf("restart %d: %w", s.restarts, err)
	}
	server, err := systems[syncAlways].relaunch(ctx, s.path, s.dir, addr, s.flags...)
	if err != nil {
		return fmt.Errorf("restart %d: %w", s.restarts, err)
	}
	s.server = server
	return nil
}

// backup copies the log while the server runs.
func (s *soak) backup(ctx context.Context) error {
	s.backed++
	file := filepath.Join(s.backups, fmt.Sprintf("backup-%d.db", s.backed))
	defer func() { _ = os.Remove(file) }()
	if text, err := exec.CommandContext(ctx, s.path, "log", "backup", file, "--data", s.dir).CombinedOutput(); err != nil { //nolint:gosec // the program is named by the user
		return fmt.Errorf("backup %d: %w: %s", s.backed, err, text)
	}
	return nil
}

// readSlowly reads the whole history a little at a time, again and again. The server may
// end the stream when the next record is no longer retained.
func readSlowly(ctx context.Context, addr string) error {
	const piece, pause = 8 << 10, 200 * time.Millisecond
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+chatconnect.SimpleChatMessageListProcedure+"?offset=1", nil)
		if err != nil {
			return err
		}
		req.SetBasicAuth(bench.DemoUser.User, bench.DemoUser.Password)
		res, err := transport.RoundTrip(req)
		for err == nil && ctx.Err() == nil {
			_, err = io.CopyN(io.Discard, res.Body, piece)
			bench.Wait(ctx, pause)
		}
		if res != nil {
			_ = res.Body.Close()
		}
		bench.Wait(ctx, pause)
	}
	return nil
}

// sampler measures a server.
type sampler struct {
	url    string // of its metrics
	dir    string // its data
	began  time.Time
	client *http.Client
	trends []*report.Trend
}

// Names of the sampled values.
const (
	sampleMemory     = "resident memory"
	sampleFiles      = "open descriptors"
	sampleGoroutines = "goroutines"
	sampleDatabase   = "chat.db"
	sampleWAL        = "chat.db-wal"
)

func newSampler(url, dir string, settled float64) *sampler {
	s := &sampler{url: url, dir: dir, began: time.Now(), client: &http.Client{Timeout: sampleTime}}
	for _, name := range []string{sampleMemory, sampleDatabase, sampleWAL} {
		s.trends = append(s.trends, &report.Trend{Name: name, Human: human.Bytes, Unit: "MiB", Scale: 1 << 20, Settled: settled})
	}
	for _, name := range []string{sampleFiles, sampleGoroutines} {
		s.trends = append(s.trends, &report.Trend{Name: name, Human: human.Count, Unit: name, Scale: 1, Settled: settled})
	}
	return s
}

// sampleTime bounds one look at the metrics.
const sampleTime = 5 * time.Second

var errMetrics = errors.New("the metrics are incomplete")

// take takes a sample. It takes none while the server restarts.
func (s *sampler) take(ctx context.Context) error {
	values, err := s.metrics(ctx)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, errMetrics) {
			return err
		}
		return nil // it does not listen now
	}
	for name, file := range map[string]string{sampleDatabase: "chat.db", sampleWAL: "chat.db-wal"} {
		if info, err := os.Stat(filepath.Join(s.dir, file)); err == nil {
			values[name] = float64(info.Size())
		}
	}
	for _, t := range s.trends {
		t.Hours, t.Values = append(t.Hours, time.Since(s.began).Hours()), append(t.Values, values[t.Name])
	}
	return nil
}

// metrics asks the server.
func (s *sampler) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for name, metric := range map[string]string{sampleMemory: "process_resident_memory_bytes", sampleFiles: "process_open_fds", sampleGoroutines: "go_goroutines"} {
		family := families[metric]
		if family == nil || len(family.GetMetric()) != 1 {
			return nil, fmt.Errorf("%w: no %s", errMetrics, metric)
		}
		values[name] = family.GetMetric()[0].GetGauge().GetValue()
	}
	return values, nil
}
