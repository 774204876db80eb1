//go:build unix

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chattest"
)

// packaged returns the text of a file in packaging.
func packaged(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("packaging", name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// systemd's own tool finds nothing wrong with the units.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze := installed(t, "systemd-analyze")
	dir := t.TempDir()
	args := []string{"verify"}
	for _, name := range []string{"simplechat.service", "simplechat.socket"} {
		text := strings.ReplaceAll(packaged(t, "systemd/"+name), "/usr/local/bin/simplechat", simplechat(t))
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out, err := exec.CommandContext(chattest.Context(t, patience), analyze, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "simplechat.") {
		t.Errorf("%v: %s", err, out)
	}
}

// Every variable and command that a package names is one of the program's.
func TestPackagesNameRealFlags(t *testing.T) {
	t.Parallel()
	var known []string
	for _, flag := range serveFlags(t) {
		known = append(known, variableOf(flag))
	}
	for _, name := range []string{"Dockerfile", "kubernetes.yaml", "systemd/simplechat.service"} {
		named := regexp.MustCompile(`SIMPLECHAT_[A-Z0-9_]+`).FindAllString(packaged(t, name), -1)
		if len(named) == 0 {
			t.Errorf("%s names no variable", name)
		}
		for _, variable := range named {
			if !slices.Contains(known, strings.TrimSuffix(variable, fileSuffix)) {
				t.Errorf("%s: %s is no flag's", name, variable)
			}
		}
	}
}

// NATS accepts its configuration in the manifest, with a password of the kind that the
// manifest's first comment recommends.
func TestManifestConfiguresNATS(t *testing.T) {
	t.Parallel()
	program, err := buildNATS()
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`nats\.conf: \|\n((?:    .*\n)+)`).FindStringSubmatch(packaged(t, "kubernetes.yaml"))
	if match == nil {
		t.Fatal("no nats.conf")
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(match[1], "    ", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(chattest.Context(t, patience), program, "-t", "-c", path)
	cmd.Env = append(os.Environ(), "POD_NAME=nats-0", "NATS_PASSWORD=7e10d3a0c2d94b6f8f0e1a2b3c4d5e6f")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "is valid") {
		t.Errorf("%v: %s", err, out)
	}
}

// A pod is killed only after the drain that its variables ask for and 5 s.
func TestDrainFitsInGrace(t *testing.T) {
	t.Parallel()
	manifest := packaged(t, "kubernetes.yaml")
	_, manifest, _ = strings.Cut(manifest, "kind: Deployment")
	sum := 5 * time.Second
	for _, variable := range []string{"DRAIN_DELAY", "DRAIN_SPREAD"} {
		match := regexp.MustCompile(`SIMPLECHAT_` + variable + `, value: (\w+)`).FindStringSubmatch(manifest)
		if match == nil {
			t.Fatalf("no %s", variable)
		}
		d, err := parseDuration(match[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += d
	}
	match := regexp.MustCompile(`terminationGracePeriodSeconds: (\d+)`).FindStringSubmatch(manifest)
	if match == nil {
		t.Fatal("no time of grace")
	}
	if grace, err := parseDuration(match[1] + "s"); err != nil || grace <= sum {
		t.Errorf("grace %v, a drain takes up to %v", grace, sum)
	}
}

// The image's health check asks the server, and tells why it is not ready.
func TestHealthCommand(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--ops-listen=127.0.0.1:0")
	address := strings.TrimPrefix(p.ops(), "http://")
	if got := runHere(t, "health", "--ops-listen", address); got.code != 0 || got.stdout != "ready\n" {
		t.Errorf("%+v", got)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	if got := runHere(t, "health", "--ops-listen", free.Addr().String()); got.code != 1 || !strings.Contains(got.stderr, "no server answers") {
		t.Errorf("%+v", got)
	}
}
