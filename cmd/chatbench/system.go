package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// system is a server that is compared.
type system struct {
	protocol string
	before   bool   // the older simplechat of --before
	sync     string // of simplechat: its --sync, "" for --memory
	peer     string // of the peer command, "" for simplechat
	module   string // whose version says what it is
}

const (
	ours       = "simplechat"
	connectGo  = "connect-go"
	grpcGo     = "grpc-go"
	natsCore   = "nats"
	writeFloor = "floor"
)

// systemNames are the systems as the report has them.
var systemNames = []string{ours, connectGo, grpcGo, natsCore, writeFloor}

var systems = map[string]system{
	ours:       {protocol: protocolGRPC},
	connectGo:  {protocol: protocolGRPC, peer: "connect", module: "connectrpc.com/connect"},
	grpcGo:     {protocol: protocolGRPC, peer: "grpc", module: "google.golang.org/grpc"},
	natsCore:   {protocol: protocolNATS, peer: "nats", module: "github.com/nats-io/nats-server/v2"},
	writeFloor: {protocol: protocolFloor, peer: "floor"},
	inMemory:   {protocol: protocolGRPC},
	syncAlways: {protocol: protocolGRPC, sync: "always"},
	syncSecond: {protocol: protocolGRPC, sync: "1s"},

	beforeAlways: {protocol: protocolGRPC, before: true, sync: "always"},
	beforeMemory: {protocol: protocolGRPC, before: true},
}

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
	// childEnd is what it has to end in good order.
	childEnd = 30 * time.Second
)

var (
	listening = regexp.MustCompile(`"?msg"?[=:]"?listening"?[ ,]"?addr"?[=:]"?([^\s",]+)`)

	errChildStart = errors.New("the server did not say that it listens")
)

// anyPort lets the system choose the port.
const anyPort = "127.0.0.1:0"

// start starts the system, and returns when it listens. A simplechat keeps its
// messages in dir if it writes to the disk, and gets more flags.
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
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // whoever runs us names it
	// Flags of simplechat that the environment sets would change what is measured.
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

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process.
func (c *child) stop() { _ = c.end(syscall.SIGTERM) }

// end ends the process with a signal. The error says that it was killed, or did
// not end in good order.
func (c *child) end(signal os.Signal) error {
	_ = c.cmd.Process.Signal(signal) // an error is its end
	timer := time.AfterFunc(childEnd, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	return c.cmd.Wait()
}

// moduleVersion is the version of a module that this program is built with.
func moduleVersion(path string) string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}
