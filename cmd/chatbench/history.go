package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// history is the messages that a server stores before a measurement.
type history struct {
	messages int
	size     int // bytes of content
	measure  func(context.Context, *scene) (*bench.Result, error)
}

func (h *history) title() string {
	return fmt.Sprintf("%s × %s bytes stored", human.Thousands(h.messages), human.Thousands(h.size))
}

// scene is a run with a history: one data directory, and the servers that use it
// one after the other.
type scene struct {
	load    load
	path    string // of simplechat
	dir     string
	system  system
	child   *child
	results bench.History
}

// retainAll are the flags with which every simplechat keeps all messages.
var retainAll = []string{"--retain-messages", "0", "--retain-bytes", "1GiB"}

// withHistory runs the load's scene. An error is recorded as a fault of the run, so that
// the other runs are still reported.
func (cmp *comparison) withHistory(ctx context.Context, l load, name, dir string) (*bench.Result, error) {
	s := &scene{load: l, path: cmp.server(name), dir: dir, system: systems[name]}
	defer s.stop()
	r, err := s.load.history.measure(ctx, s)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r == nil {
		r = &bench.Result{}
	}
	r.History = s.results
	if err != nil {
		r.Faults.Cause = err.Error()
	}
	return r, nil
}

// begin starts the first server, and stores the history.
func (s *scene) begin(ctx context.Context) error {
	var err error
	if s.child, err = s.system.start(ctx, s.path, s.dir, retainAll...); err != nil {
		return err
	}
	if err := bench.New(bench.Storing(s.load.history.size), s.child.addr, bench.DemoUser).Store(ctx, s.load.history.messages); err != nil {
		return fmt.Errorf("store the history: %w", err)
	}
	return nil
}

// stop ends the scene's server, if it runs.
func (s *scene) stop() {
	if s.child != nil {
		s.child.stop()
		s.child = nil
	}
}

// restart ends the server with a signal, and returns the time from the execution of
// the next one to its first message.
func (s *scene) restart(ctx context.Context, signal syscall.Signal) (time.Duration, error) {
	err := s.child.end(signal)
	s.child = nil
	if err != nil && signal != syscall.SIGKILL {
		return 0, fmt.Errorf("stop the server that stored the history: %w", err)
	}
	listen, err := freePort()
	if err != nil {
		return 0, err
	}
	if s.child, err = s.system.launch(ctx, s.path, s.dir, listen, retainAll...); err != nil {
		return 0, err
	}
	took, err := s.child.firstMessage(ctx)
	if err != nil {
		return 0, fmt.Errorf("start with the history after %v: %w", signal, err)
	}
	return took, nil
}

// freePort returns an address on which nothing listens. To measure a start, it must
// be known before the server logs it.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", anyPort) //nolint:noctx // it does not wait
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// measureLong measures starts with a long history, the cost of one subscriber that reads
// it, and the effect of such readers on live subscribers.
func measureLong(ctx context.Context, s *scene) (*bench.Result, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.results.AfterKill, err = s.restart(ctx, syscall.SIGKILL); err != nil {
		return nil, err
	}
	if s.results.AfterStop, err = s.restart(ctx, syscall.SIGTERM); err != nil {
		return nil, err
	}
	bench.Wait(ctx, s.load.settle)
	server := bench.Process{PID: s.child.pid()}
	if s.results.RestBytes, err = server.Resident(); err != nil {
		return nil, err
	}
	if _, err := s.read(ctx, wire.ConnectJSON); err != nil {
		return nil, fmt.Errorf("read the history as JSON: %w", err)
	}
	if s.results.JSONBytes, err = server.Resident(); err != nil {
		return nil, err
	}
	took, err := s.read(ctx, wire.GRPC)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	s.results.ReadsPerSecond = float64(s.load.history.messages) / took.Seconds()
	return s.measureLive(ctx)
}

// read has one subscriber read the history.
func (s *scene) read(ctx context.Context, protocol string) (time.Duration, error) {
	return bench.New(bench.Reading(protocol, 1, 1), s.child.addr, bench.DemoUser).Recall(ctx, s.load.history.messages)
}

// coldReaders is the number of readers of the history beside live subscribers.
const coldReaders = 8

// measureLive runs live subscribers alone, then beside readers that begin again when they
// have read all.
func (s *scene) measureLive(ctx context.Context) (*bench.Result, error) {
	live := s.load.workload
	alone, err := bench.New(live, s.child.addr, bench.DemoUser).Execute(ctx)
	if err != nil {
		return nil, fmt.Errorf("live subscribers: %w", err)
	}
	s.results.Alone = alone.Latency.P99
	var readers sync.WaitGroup
	problems := make([]error, coldReaders)
	reading, stop := context.WithCancel(ctx)
	for i := range problems {
		readers.Go(func() { problems[i] = s.readAgain(reading) })
	}
	beside, err := bench.New(live, s.child.addr, bench.DemoUser).Execute(ctx)
	stop()
	readers.Wait()
	if err := errors.Join(err, errors.Join(problems...)); err != nil {
		return alone, fmt.Errorf("live subscribers beside readers: %w", err)
	}
	s.results.Beside = beside.Latency.P99
	if alone.Faults.Err() != nil {
		beside.Faults = alone.Faults
	}
	return beside, nil
}

// readAgain reads the history again and again, until ctx is done.
func (s *scene) readAgain(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := s.read(ctx, wire.GRPC); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// measureReconnect has a crowd read the history on the server that stored it, then
// on one that was just started. Each is the first crowd of its process.
func measureReconnect(ctx context.Context, s *scene) (*bench.Result, error) {
	base := s.dir
	for _, dir := range []string{"rehearsal", "data"} { // the generator's own first crowd takes longer
		s.stop()
		s.dir = filepath.Join(base, dir)
		if err := s.begin(ctx); err != nil {
			return nil, err
		}
		var err error
		if s.results.Hot, err = s.crowd(ctx); err != nil {
			return nil, fmt.Errorf("read what was just stored: %w", err)
		}
	}
	err := s.child.end(syscall.SIGTERM)
	s.child = nil
	if err != nil {
		return nil, fmt.Errorf("stop the server that stored the history: %w", err)
	}
	if s.child, err = s.system.start(ctx, s.path, s.dir, retainAll...); err != nil {
		return nil, err
	}
	if s.results.Cold, err = s.crowd(ctx); err != nil {
		return nil, fmt.Errorf("read after a start: %w", err)
	}
	return nil, nil //nolint:nilnil // all results are in the scene
}

// crowd has the load's subscribers read the history together.
func (s *scene) crowd(ctx context.Context) (time.Duration, error) {
	w := s.load.workload
	return bench.New(w, s.child.addr, bench.DemoUser).Recall(ctx, w.Subscribers*s.load.history.messages)
}
