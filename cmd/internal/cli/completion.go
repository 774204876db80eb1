package cli

import (
	"embed"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// scripts are what connects shells with the hidden command that completes words.
//
//go:embed completion/*
var scripts embed.FS

// CompletionCmd is the command that prints a script for a shell.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements kong's hook.
func (*CompletionCmd) Help() string {
	return `Examples, for the shell that runs and for those to come:

  source <(simplechat completion bash)
  simplechat completion bash > ~/.local/share/bash-completion/completions/simplechat
  simplechat completion zsh > "${fpath[1]}/_simplechat"
  simplechat completion fish > ~/.config/fish/completions/simplechat.fish`
}

// Run prints the script.
func (c *CompletionCmd) Run(program *kong.Kong, out *Output) error {
	script, err := scripts.ReadFile("completion/" + c.Shell)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out.Stdout, strings.ReplaceAll(string(script), "PROGRAM", program.Model.Name))
	return err
}

// CompleteCmd is the hidden command that the scripts run: it prints the completions of
// the last word, each on a line with a tab and its help behind it, or a line that says to
// complete names of files or directories. The words are those of the command line up to
// the cursor, without the program.
type CompleteCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints the completions.
func (c *CompleteCmd) Run(program *kong.Kong, out *Output) error {
	_, err := fmt.Fprint(out.Stdout, complete(program.Model.Node, c.Words))
	return err
}
