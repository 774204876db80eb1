package chatclient_test

import (
	"os"
	"strings"
	"testing"
)

// The Go code of the front page is code of examples that run.
func TestREADMESnippets(t *testing.T) {
	t.Parallel()
	examples := unindented(t, "example_test.go") + unindented(t, "../example_test.go")
	found := 0
	for i, fence := range strings.Split(unindented(t, "../../README.md"), "\n```") {
		code, isGo := strings.CutPrefix(fence, "go\n")
		if !isGo {
			continue
		}
		found++
		if !strings.Contains(examples, code) {
			t.Errorf("fence %d is in no example:\n%s", i, code)
		}
	}
	if found != 2 {
		t.Errorf("README.md has %d fences of Go", found)
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
