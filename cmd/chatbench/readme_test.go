package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// README's commands run. Comparisons take long, and have tests of their own: of theirs,
// only the flags are checked, by a last one that is refused after all others
// were accepted.
func TestREADMECommands(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	addr := newServer(t, wire.H2C)
	seen := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "go run ./cmd/chatbench ")
		if !ok {
			continue
		}
		args := strings.Fields(strings.ReplaceAll(command, "run.svg", filepath.Join(t.TempDir(), "run.svg")))
		seen[args[0]] = true
		switch args[0] {
		case "run":
			args = append(args, "--subscribers", "4", "--warmup", "0s", "--duration", "200ms", "--settle", "0s")
		case "pipe":
			args = append(args, "--warmup", "0s", "--duration", "200ms")
		case "jitter", "restart", "soak":
			code, _, stderr := chatbench(t, append(args, "--clients", "0")...)
			if code != 2 || !strings.Contains(stderr, "--clients and --rate must be positive") {
				t.Errorf("%s: exit code %d, %s", command, code, stderr)
			}
			continue
		default:
			code, _, stderr := chatbench(t, append(args, "--rounds", "0")...)
			if code != 2 || !strings.Contains(stderr, "--rounds and --duration must be positive") {
				t.Errorf("%s: exit code %d, %s", command, code, stderr)
			}
			continue
		}
		if code, stdout, stderr := chatbench(t, append(args, "--addr", addr)...); code != 0 || stdout == "" {
			t.Errorf("%s: exit code %d, %s%s", command, code, stdout, stderr)
		}
	}
	for _, command := range []string{"run", "pipe", "compare", "storage", "slow", "jitter", "restart", "soak"} {
		if !seen[command] {
			t.Errorf("README.md does not show %q", command)
		}
	}
}
