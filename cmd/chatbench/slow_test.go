package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// Clients that toggle their windows are counted apart, and the others get
// everything.
func TestToggling(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{wire.H2C, wire.TLS} {
		addr := newServer(t, transport)
		code, r, stderr := runLoad(t, addr, "--transport", transport, "--toggling", "3", "--toggle-time", "5ms")
		checkWhole(t, code, r, stderr, 4)
		if r.Faults.Cut != 0 {
			t.Errorf("%d were cut", r.Faults.Cut)
		}
	}
}

// The slow command runs from the start of the server to the report.
func TestSlowQuick(t *testing.T) {
	t.Parallel()
	complete := func(report string) error {
		for _, want := range []string{
			`\| 1 subscriber, 50/s, 2 toggling \| p50 \| [0-9].*s \| [0-9].*s \| [0-9.]+ \| ≤ 1.3 \| – \|`,
			`\| 1 subscriber, 50/s, 2 toggling \| p99 \| [0-9].*s \| [0-9].*s \| [0-9.]+ \| ≤ 1.3 \| – \|`,
			`\| 10 subscribers, 50/s, 10 toggling \| p99 \| \? \| [0-9].*s \| \? \| ≤ 1.5 \| \? \|`, // without its reference
		} {
			if !regexp.MustCompile(want).MatchString(report) {
				return fmt.Errorf("the report does not have %q", want)
			}
		}
		return nil
	}
	report, stdout := quickReport(t, complete, "slow", "--only", "1+0,1+2,900+100")
	if stdout == "" || !strings.Contains(report, stdout) {
		t.Errorf("what was printed is not in the report:\n%s", stdout)
	}
}
