package ledger

import "testing"

// Report fails the test with problems, and shows the first of them.
func Report(tb testing.TB, problems []string) {
	tb.Helper()
	const shown = 20
	for _, problem := range problems[:min(len(problems), shown)] {
		tb.Error(problem)
	}
	if more := len(problems) - shown; more > 0 {
		tb.Errorf("and %d problems more", more)
	}
}
