package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// child is a server's process.
type child struct {
	cmd     *exec.Cmd
	addr    string // HOST:PORT
	began   time.Time
	listens <-chan string // gets the address that the server logs
}

const (
	// childStart bounds the time until a server listens.
	childStart = time.Minute
	// childEnd is the time that it has to shut down.
	childEnd = 30 * time.Second
)

var (
	listening = regexp.MustCompile(`"?msg"?[=:]"?listening"?[ ,]"?addr"?[=:]"?([^\s",]+)`)

	errChildStart = errors.New("the server did not say that it listens")
)

// anyPort lets the system choose the port.
const anyPort = "127.0.0.1:0"

// start starts the system, and returns when it listens. A simplechat keeps its messages
// in dir if it writes to the disk. It gets the additional flags more.
func (s system) start(ctx context.Context, simplechat, dir string, more ...string) (*child, error) {
	c, err := s.launch(ctx, simplechat, dir, anyPort, more...)
	if err != nil {
		return nil, err
	}
	select {
	case c.addr = <-c.listens:
	case <-time.After(childStart):
	}
	if c.addr == "" {
		c.stop()
		return nil, fmt.Errorf("%s: %w", c.cmd, errChildStart)
	}
	return c, nil
}

// launch starts the system, and does not wait for it.
func (s system) launch(ctx context.Context, simplechat, dir, listen string, more ...string) (*child, error) {
	storage := []string{"--memory"}
	if s.sync != "" {
		storage = []string{"--data", dir, "--sync", s.sync}
	}
	path, args := simplechat, slices.Concat([]string{"serve", "--listen", listen}, storage, more)
	if s.peer != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		path, args = self, []string{"peer", s.peer}
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the program is named by the user
	// Flags of simplechat that the environment sets would change the results.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "SIMPLECHAT_") })
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	addr := make(chan string, 1)
	c := &child{cmd: cmd, addr: listen, began: time.Now(), listens: addr}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(addr)
		for lines := bufio.NewScanner(stderr); lines.Scan(); { // to the end: a full pipe would stop the server
			if match := listening.FindStringSubmatch(lines.Text()); match != nil {
				addr <- match[1]
			}
		}
	}()
	return c, nil
}

// relaunch starts the system at the address of an earlier one, and returns when it
// listens. It tries again if the address is in use, because the kernel may have given the
// port to a client.
func (s system) relaunch(ctx context.Context, simplechat, dir, listen string, more ...string) (*child, error) {
	for deadline := time.Now().Add(childStart); ; bench.Wait(ctx, portTime) {
		c, err := s.launch(ctx, simplechat, dir, listen, more...)
		if err != nil {
			return nil, err
		}
		select {
		case addr := <-c.listens:
			if addr != "" {
				return c, nil
			}
		case <-time.After(childStart):
		}
		c.stop()
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, fmt.Errorf("%s: %w", c.cmd, errChildStart)
		}
	}
}

// portTime is the time between two attempts to listen.
const portTime = 100 * time.Millisecond

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process.
func (c *child) stop() { _ = c.end(syscall.SIGTERM) }

// end ends the process with a signal. It returns an error if the process had to be killed
// or reported an error.
func (c *child) end(signal os.Signal) error {
	_ = c.cmd.Process.Signal(signal) // an error means that it has ended
	timer := time.AfterFunc(childEnd, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	return c.cmd.Wait()
}

// retryTime is the time between two attempts to reach a server that starts.
const retryTime = time.Millisecond

var errNoHistory = errors.New("the server began the stream without a message")

// firstMessage connects until the child takes connections and calls, and returns
// the time from its execution to the first batch with a message.
func (c *child) firstMessage(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, childStart)
	defer cancel()
	w := bench.Reading(wire.GRPC, 1, 1)
	w.History = wire.HistoryReplay
	for {
		messages, err := c.attempt(ctx, w)
		took := time.Since(c.began)
		switch {
		case err == nil && messages == 0:
			return 0, errNoHistory
		case err == nil:
			return took, nil
		case ctx.Err() != nil:
			return 0, err
		}
		bench.Wait(ctx, retryTime)
	}
}

// attempt subscribes once, and returns how many messages came with the first batch.
func (c *child) attempt(ctx context.Context, w bench.Workload) (int64, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return 0, err // do not prepare a bench yet: that takes CPU from the starting server
	}
	_ = conn.Close()
	return bench.New(w, c.addr, bench.DemoUser).FirstBatch(ctx)
}
