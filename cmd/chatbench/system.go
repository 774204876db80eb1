package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// system is a server of the comparison.
type system struct {
	protocol string
	before   bool   // the older simplechat of --before
	sync     string // --sync of simplechat, "" for --memory
	peer     string // name for the peer command, "" for simplechat
	module   string // the module whose version is reported
}

const (
	ours       = "simplechat"
	connectGo  = "connect-go"
	grpcGo     = "grpc-go"
	natsCore   = "nats"
	writeFloor = "floor"
)

// systemNames are the names of the systems in the report.
var systemNames = []string{ours, connectGo, grpcGo, natsCore, writeFloor}

var systems = map[string]system{
	ours:       {protocol: wire.GRPC},
	connectGo:  {protocol: wire.GRPC, peer: "connect", module: "connectrpc.com/connect"},
	grpcGo:     {protocol: wire.GRPC, peer: "grpc", module: "google.golang.org/grpc"},
	natsCore:   {protocol: wire.NATS, peer: "nats", module: "github.com/nats-io/nats-server/v2"},
	writeFloor: {protocol: wire.Floor, peer: "floor"},
	inMemory:   {protocol: wire.GRPC},
	syncAlways: {protocol: wire.GRPC, sync: "always"},
	syncSecond: {protocol: wire.GRPC, sync: "1s"},

	beforeAlways: {protocol: wire.GRPC, before: true, sync: "always"},
	beforeMemory: {protocol: wire.GRPC, before: true},
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

// buildServer builds simplechat in dir, without debug information.
func buildServer(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "simplechat")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "example.com/simplechat/cmd/simplechat") //nolint:gosec // the path is ours
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build simplechat (or name one with --server): %w\n%s", err, text)
	}
	return path, nil
}

// serverVersion asks simplechat.
func serverVersion(ctx context.Context, path string) (string, error) {
	text, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", path, err)
	}
	return strings.TrimSpace(string(text)), nil
}
