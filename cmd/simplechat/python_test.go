//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var pythonSnippet = regexp.MustCompile("(?s)<!-- python -->\n```python\n(.*?)```")

// The protocol page's lines of Python send and read, with Debian's python3-grpcio, python3-protobuf
// and protobuf-compiler.
func TestREADMEPython(t *testing.T) {
	t.Parallel()
	match := pythonSnippet.FindStringSubmatch(readPage(t, protocolPage))
	if match == nil {
		t.Fatal("the page has no Python")
	}
	python, protoc := grpcPython(t), lookPath("protoc")
	if python == "" || protoc == "" {
		t.Skip("python3 with grpcio, or protoc, is not installed")
	}
	p := startServer(t)
	dir := t.TempDir()
	source := filepath.Join(repo, "proto", "qtgrpc", "examples", "chat")
	execute(t, protoc, "--python_out="+dir, "-I", source, filepath.Join(source, "simplechat.proto"))
	script := filepath.Join(dir, "chat.py")
	if err := os.WriteFile(script, []byte(strings.ReplaceAll(match[1], readmeAddr, p.addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := execute(t, python, script); got != "b'hello'\n" {
		t.Errorf("it prints %q", got)
	}
}

// grpcPython returns a python3 that has grpcio, or the empty string. Debian's has it
// where it is not the first on the PATH.
func grpcPython(tb testing.TB) string {
	tb.Helper()
	for _, python := range []string{lookPath("python3"), "/usr/bin/python3"} {
		if python != "" && exec.CommandContext(tb.Context(), python, "-c", "import grpc, google.protobuf").Run() == nil {
			return python
		}
	}
	return ""
}

// lookPath returns the path of a program, or the empty string.
func lookPath(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}
