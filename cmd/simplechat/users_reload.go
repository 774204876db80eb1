package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/userfile"
)

// openUsers returns the authenticator for --users, which reloads the file when it changes
// and on SIGHUP until ctx is done, or the authenticator for the demo users.
func (c *serveCmd) openUsers(ctx context.Context, logger *slog.Logger) (chatsvc.Authenticator, error) {
	if c.Users == "" {
		return chatsvc.NewUserAuthenticator(chatsvc.DemoUsers())
	}
	users, err := userfile.Open(c.Users, logger)
	if err != nil {
		return nil, fmt.Errorf("--users: %w", err)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go users.Watch(ctx)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-hangups:
				_ = users.Reload() // it logs
			case <-ctx.Done():
				return
			}
		}
	}()
	return users, nil
}
