package main

import (
	"os"
	"strings"
	"testing"
)

// README shows the table of the last comparison, as it was written.
func TestREADMEShowsResults(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	results, err := os.ReadFile("RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for line := range strings.Lines(string(results)) {
		if strings.HasPrefix(line, "|") {
			table.WriteString(line)
		} else if table.Len() > 0 {
			break
		}
	}
	if table.Len() == 0 || !strings.Contains(string(readme), table.String()) {
		t.Errorf("README does not have the table of RESULTS.md:\n%s", table.String())
	}
}
