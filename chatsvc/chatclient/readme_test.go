package chatclient_test

import (
	"os"
	"strings"
	"testing"
)

// README's Go for the client is code of an example that runs.
func TestREADMESnippets(t *testing.T) {
	t.Parallel()
	examples := unindented(t, "example_test.go")
	found := 0
	for i, fence := range strings.Split(unindented(t, "../../README.md"), "\n```") {
		code, isGo := strings.CutPrefix(fence, "go\n")
		if !isGo || !strings.Contains(code, "chatclient.") {
			continue
		}
		found++
		if !strings.Contains(examples, code) {
			t.Errorf("fence %d is in no example:\n%s", i, code)
		}
	}
	if found == 0 {
		t.Error("README.md has no Go that uses chatclient")
	}
}

// unindented returns a file's text without the white space at the beginning of
// its lines.
func unindented(tb testing.TB, name string) string {
	tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(data)) {
		text.WriteString(strings.TrimLeft(line, "\t "))
	}
	return text.String()
}
