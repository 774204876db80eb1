//go:build unix

package main

import (
	"strings"
	"testing"
)

// failures has what happens in each row of the operators' table of what fails.
var failures = map[string]func(*testing.T, *promise){
	"a server":                        serverFails,
	"the disk is full":                diskIsFull,
	"`--data` is removed or replaced": directoryIsRemoved,
	"`chat.db` is removed, replaced or cut while the server runs":                  databaseIsRemoved,
	"`chat.db-wal` is removed, or replaced by another file, while the server runs": logIsRemoved,
	"the disk fails to write":                              diskFails,
	"the disk is full or read-only at the start":           diskIsNotWritable,
	"files in `--data` are damaged":                        filesAreDamaged,
	"one of three NATS servers":                            natsServerFails,
	"two of three, or the network to them":                 mostNATSServersFail,
	"the stream is removed or goes back while servers run": streamIsReplaced,
	"an older `chat.db` is put back":                       olderCopyIsPutBack,
}

// TestREADMEFailures lets each failure of the operators' table happen, row by row.
// Each part of what the row says must be shown: the page cannot promise more than is
// tested.
func TestREADMEFailures(t *testing.T) {
	t.Parallel()
	rows := parseFailures(readPage(t, operatorsPage))
	for what := range failures {
		if rows[what] == "" {
			t.Errorf("the operators' page does not say what happens when this fails: %s", what)
		}
	}
	for what, says := range rows {
		happen := failures[what]
		if happen == nil {
			t.Errorf("no test lets this row of the operators' page happen: %s", what)
			continue
		}
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := &promise{tb: t, text: says, kept: make([]bool, len(says))}
			happen(t, p)
			if rest := p.rest(); rest != "" {
				t.Errorf("no test shows this of the operators' page: %s", rest)
			}
		})
	}
}

// parseFailures returns the rows of a page's table of failures: each failure,
// and its effect.
func parseFailures(readme string) map[string]string {
	rows := map[string]string{}
	_, table, _ := strings.Cut(readme, "\n| what fails | what happens |\n|---|---|\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSuffix(line, " |\n"), " | ")
		what, ok := strings.CutPrefix(cells[0], "| ")
		if !ok {
			break // the table has ended
		}
		rows[what] = strings.Join(cells[1:], " | ")
	}
	return rows
}

// promise is a statement of the operators' page about a failure.
type promise struct {
	tb   testing.TB
	text string
	kept []bool // for each byte whether it was shown
}

// isKept notes that a test has just shown a part.
func (p *promise) isKept(part string) {
	p.tb.Helper()
	at := strings.Index(p.text, part)
	if at < 0 {
		p.tb.Errorf("the operators' page does not say %q, but: %s", part, p.text)
		return
	}
	for i := range part {
		p.kept[at+i] = true
	}
}

// rest returns what was not shown, but for signs between the parts.
func (p *promise) rest() string {
	var rest []byte
	for i, kept := range p.kept {
		if !kept {
			rest = append(rest, p.text[i])
		}
	}
	return strings.Trim(string(rest), " ,.:;")
}

func TestPromises(t *testing.T) {
	t.Parallel()
	const readme = "# Title\n\n| x | y |\n|---|---|\n| other | table |\n\n| what fails | what happens |\n|---|---|\n" +
		"| one, `a` | This, that `b`. And more. |\n| two | x |\n\nText | with | bars.\n"
	rows := parseFailures(readme)
	if len(rows) != 2 || rows["one, `a`"] != "This, that `b`. And more." || rows["two"] != "x" {
		t.Fatalf("rows %q", rows)
	}
	text := rows["one, `a`"]
	p := &promise{tb: t, text: text, kept: make([]bool, len(text))}
	p.isKept("that `b`")
	p.isKept("This")
	p.isKept("that `b`")
	if rest := p.rest(); rest != "And more" {
		t.Errorf("left is %q", rest)
	}
	p.isKept("And more")
	if rest := p.rest(); rest != "" {
		t.Errorf("left is %q", rest)
	}
}
