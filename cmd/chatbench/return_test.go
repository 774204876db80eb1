package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands with clients that come back run from the start of the server to the
// report, and nothing is lost.
func TestClientsReturn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := buildServer(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	file, plot := filepath.Join(dir, "SOAK.md"), filepath.Join(dir, "soak.svg")
	for _, test := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"jitter", "--every", "300ms", "--offline", "300ms", "-d", "2s", "-r", "50", "-s", "20"}, []string{"\nsimplechat  20 ", "\ngrpc-go     20 "}},
		{[]string{"restart", "-s", "20"}, []string{"20 clients were back: half of them ", ", 0 lost, 0 twice\n"}},
		{[]string{"restart", "--kill", "-s", "20"}, []string{"20 clients were back: half of them ", ", 0 lost, 0 twice\n"}},
		{[]string{
			"soak", "-s", "12", "--slow", "1", "--every", "500ms", "-r", "100", "-d", "3s", "--restart", "1s", "--backup", "1s", "--sample", "100ms",
			"--settle", "500ms", "--retain", "1MiB", "--out", file, "--plot", plot,
		}, []string{", 0 lost, 0 twice; ", "| goroutines | ", "| chat.db-wal | "}},
	} {
		t.Run(strings.Join(test.args[:2], " "), func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := chatbench(t, append(test.args, "--server", server)...)
			if code != 0 {
				t.Errorf("exit code %d: %s%s", code, stdout, stderr)
			}
			for _, want := range test.wants {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in %s", want, stdout)
				}
			}
		})
	}
	t.Cleanup(func() { // the runs have ended
		for name, want := range map[string]string{file: "# A server under mixed load", plot: ">fitted<"} {
			if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("no %q in %s: %v", want, name, err)
			}
		}
	})
}

// Flags that are not valid are refused.
func TestReturnUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"jitter", "--clients", "0"},
		{"jitter", "--every", "0s"},
		{"jitter", "--size", "5"},
		{"restart", "--rate", "0"},
		{"soak", "--duration", "0s"},
		{"soak", "--slow", "-1"},
	} {
		if code, stdout, stderr := chatbench(t, args...); code != 2 || stdout != "" || stderr == "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
