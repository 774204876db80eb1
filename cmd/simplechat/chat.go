package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/term"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/simplechat/internal/login"
	"example.com/simplechat/cmd/simplechat/internal/tui"
)

// chatCmd is the conversation on the whole screen of a terminal.
type chatCmd struct {
	login.Flags
}

// Help is what --help says below the flags.
func (*chatCmd) Help() string {
	return `Examples:
  simplechat chat
  simplechat chat --user ada --server https://chat.example.com

The program asks for a missing user or password. /help in the conversation lists the keys and commands.`
}

// Run shows the conversation until the user quits.
func (c *chatCmd) Run(ctx context.Context) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) || os.Getenv("TERM") == "dumb" {
		return login.Exit(login.ExitUsage, errors.New("chat needs a terminal: use `simplechat tail` to read the conversation here, and `simplechat send` to write"))
	}
	user, password := c.Given()
	if _, err := c.ClientOf("user", ""); err != nil {
		return err // the flags, not the user
	}
	return tui.Run(ctx, tui.Options{
		Server:   c.Server,
		Name:     user,
		Password: password,
		Login: func(ctx context.Context, name, password string, onRetry func(chatclient.Retry)) (tui.Conversation, error) {
			client, err := c.ClientOf(name, password, chatclient.WithRetryObserver(onRetry))
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, client.Close)
			return client, nil
		},
	})
}
