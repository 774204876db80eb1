// Package tui is a full-screen conversation in a terminal: [Run] shows the messages of a
// server and sends what the user writes.
//
// It is a program of bubbletea: [Model] is its whole state, changed by one goroutine only.
// A [session] follows the conversation and hands on what comes through a bounded channel, so
// a screen that is slow holds the stream back. A [window] of messages is in memory; what is
// older is read when the user scrolls to it. Messages of the user go through an [outbox],
// one at a time and each with its idempotency key, until they have come back on the stream.
//
// Nothing that comes from the server reaches the terminal without [cleanText]: neither
// texts, names nor errors. Of images only the pixels do.
package tui

import (
	"context"
	"errors"
	"os/signal"
	"syscall"

	tea "charm.land/bubbletea/v2"

	"example.com/simplechat/chatsvc/chatclient"
)

// LoginFunc connects as a user. It must not wait for the server: whether that accepts the
// password is known when the conversation is followed. OnRetry must be called as
// [chatclient.WithRetryObserver] says. The connection is used until ctx is done.
type LoginFunc func(ctx context.Context, name, password string, onRetry func(chatclient.Retry)) (Conversation, error)

// Options are what [Run] needs.
type Options struct {
	// Server is what the user calls the server.
	Server string
	// Name and Password are those of the user. If one is empty, the program asks.
	Name, Password string
	// Login connects.
	Login LoginFunc
}

// Run shows the conversation on the terminal, which standard input and output must be, until
// the user quits, ctx is done or the process receives SIGHUP. The terminal is then as it was.
func Run(ctx context.Context, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program := tea.NewProgram(newModel(ctx, o), tea.WithoutSignalHandler())
	// tea.WithContext would kill the program: bubbletea then closes the terminal's reader
	// while its goroutine still reads, and leaves that goroutine behind.
	defer context.AfterFunc(ctx, program.Quit)()
	_, err := program.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil // the terminal is gone: SIGHUP was sent, and reading failed
	}
	return err
}
