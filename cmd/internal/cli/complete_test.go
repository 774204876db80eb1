package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"example.com/simplechat/cmd/internal/cli"
)

// completed is a program to be completed.
type completed struct {
	Run struct {
		Format string `enum:"text,json" default:"text" help:"Form of the output. It is for people."`
		Input  string `short:"i" placeholder:"FILE" help:"Read this."`
		Out    string `placeholder:"DIR"`
		Fast   *bool  `negatable:"" help:"Hurry."`
		Secret string `hidden:""`
		Name   string `arg:"" optional:""`
	} `cmd:"" help:"Run it."`
	Rest struct {
		File string `arg:"" type:"path"`
	} `cmd:"" help:"Rest: do nothing."`
	Set struct {
		Mode struct {
			Mode string `arg:"" enum:"on,off"`
		} `cmd:""`
	} `cmd:""`
	Complete cli.CompleteCmd `cmd:"" hidden:"" passthrough:""`
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, words string // the last word follows the last space
		want        string
	}{
		{"nothing", "", "run rest set"},
		{"a part of a command", "r", "run rest"},
		{"no command", "x", ""},
		{"flags", "run --f", "--format --fast"},
		{"a flag to be negated", "run --no", "--no-fast"},
		{"all flags", "run -", "--help --format --input --out --fast --no-fast"},
		{"values", "run --format ", "text json"},
		{"a part of a value", "run --format j", "json"},
		{"a value in the same word", "run --format=j", "--format=json"},
		{"a value in words of bash", "run --format = j", "json"},
		{"the value of bash is next", "run --format =", "text json"},
		{"a file", "run --input x", ":files"},
		{"a file of a short flag", "run -i x", ":files"},
		{"a directory", "run --out x", ":directories"},
		{"after a value", "run --input x --fo", "--format"},
		{"after a bool", "run --fast --fo", "--format"},
		{"an argument that is anything", "run x", ""},
		{"an argument that is a file", "rest ", ":files"},
		{"no flags behind --", "rest -- --he", ":files"},
		{"commands below", "set ", "mode"},
		{"an argument that is a word", "set mode o", "on off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, stderr bytes.Buffer
			args := append([]string{"complete"}, strings.Split(tt.words, " ")...)
			if code := cli.Run(t.Context(), &completed{}, args, &cli.Output{Stdout: &out, Stderr: &stderr}, kong.Name("try")); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			var words []string
			for line := range strings.Lines(out.String()) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				words = append(words, word)
			}
			if got := strings.Join(words, " "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
