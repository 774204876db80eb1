package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"example.com/simplechat/chatsvc/userfile"
	"example.com/simplechat/cmd/internal/cli"
)

// maxPasswordInput bounds the input that is read from standard input, in bytes.
const maxPasswordInput = 4096

// passwordFlag says where a command gets a password from. There is no flag for the
// password: the command lines of all processes are public.
type passwordFlag struct {
	PasswordStdin bool `help:"Read the password from standard input, not from the terminal."`
}

// hash asks for a password, and returns its hash.
func (f *passwordFlag) hash(ctx context.Context, out *cli.Output, name string) (string, error) {
	password, err := f.read(ctx, out.Stderr, name)
	if err != nil {
		return "", err
	}
	if err := checkPassword(name, password); err != nil {
		return "", err
	}
	return userfile.Hash(password)
}

func (f *passwordFlag) read(ctx context.Context, prompts io.Writer, name string) (string, error) {
	if f.PasswordStdin {
		data, err := io.ReadAll(io.LimitReader(os.Stdin, maxPasswordInput))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("standard input is not a terminal to ask for the password on: use --password-stdin")
	}
	password, err := prompt(ctx, prompts, fmt.Sprintf("Password of %s: ", name))
	if err != nil {
		return "", err
	}
	again, err := prompt(ctx, prompts, "Once more: ")
	if err != nil {
		return "", err
	}
	if password != again {
		return "", errors.New("the passwords differ: nothing was changed")
	}
	return password, nil
}

// prompt asks for a password on the terminal.
func prompt(ctx context.Context, prompts io.Writer, text string) (string, error) {
	password, err := cli.ReadPassword(ctx, os.Stdin, prompts, text)
	if errors.Is(err, cli.ErrInterrupted) {
		return "", fmt.Errorf("%w: nothing was changed", err)
	}
	return password, err
}
