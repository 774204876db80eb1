//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// clientSection returns the part of cmd/simplechat/README.md that is about send and tail.
func clientSection(tb testing.TB) string {
	tb.Helper()
	page, err := os.ReadFile("README.md")
	if err != nil {
		tb.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## Terminal client: send and tail\n")
	if !ok {
		tb.Fatal("README.md has no section on the terminal client")
	}
	return section
}

// TestREADMEClient runs the commands of the section one after the other, in one shell.
func TestREADMEClient(t *testing.T) {
	t.Parallel()
	snippets, err := parseSnippets(clientSection(t))
	if err != nil {
		t.Fatal(err)
	}
	p := startServer(t, "--memory")
	dir, ran := t.TempDir(), 0
	picture, err := os.ReadFile(filepath.Join(repo, "web", "screenshot.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "photo.png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "cd " + dir + "\n"
	for _, s := range snippets {
		if strings.HasPrefix(s.name, "client-") {
			script += s.commands + "\n"
			ran++
		}
	}
	out := execute(t, "bash", "-e", "-u", "-c", "export SIMPLECHAT_SERVER="+p.url("")+" PATH="+toolPath(t, snippets)+"\n"+script+"\ncomplete -p simplechat")
	for _, want := range []string{`"text":"where is it stored?"`, "1003 user1: photo.png", "1004 user1: where is it stored?", "complete -F _simplechat simplechat"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	lines, err := os.ReadFile(filepath.Join(dir, "chat.jsonl"))
	if err != nil || strings.Count(string(lines), "\n") != 1004 || ran != 3 {
		t.Errorf("%d commands ran, %d lines, %v", ran, strings.Count(string(lines), "\n"), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pictures", "2-user1.png")); err != nil {
		t.Error(err)
	}
}

// The section names each flag of the client commands, and none that they have not.
func TestREADMEClientNamesFlags(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{}, durationMapper(), kong.Name("simplechat"))
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, name := range []string{"send", "tail"} {
		for _, node := range parser.Model.Children {
			if node.Name != name {
				continue
			}
			for _, flag := range node.Flags {
				flags = append(flags, flag.Name)
				if flag.Tag.Negatable != "" {
					flags = append(flags, "no-"+flag.Name)
				}
			}
		}
	}
	if len(flags) < 10 {
		t.Fatalf("the commands have only %q", flags)
	}
	section, _, _ := strings.Cut(clientSection(t), "\n## ")
	for _, flag := range flags {
		if !strings.Contains(section, "`--"+flag) && !regexp.MustCompile(`--`+flag+`\b`).MatchString(section) {
			t.Errorf("README.md does not name --%s", flag)
		}
	}
	for _, match := range flagName.FindAllStringSubmatch(section, -1) {
		if !slices.Contains(flags, match[1]) {
			t.Errorf("README.md has --%s, which neither send nor tail has", match[1])
		}
	}
}

// The completion of bash works with the real program.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	script := `PATH=` + filepath.Dir(simplechat(t)) + `:$PATH
source <(simplechat completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _simplechat 2>/dev/null; echo "${COMPREPLY[*]}"; }
try simplechat se
try simplechat serve --log-format = j
try simplechat tail --state /etc/host
try simplechat log ba
`
	got := strings.Split(strings.TrimSpace(execute(t, "bash", "-c", script)), "\n")
	if len(got) != 4 || got[0] != "serve send" && got[0] != "send serve" || got[1] != "json" || !strings.Contains(got[2], "/etc/host") || got[3] != "backup" {
		t.Errorf("%q", got)
	}
}
