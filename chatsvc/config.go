package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

type config struct {
	users          *chatpb.Users
	authenticator  Authenticator
	log            Log
	retention      Retention
	replay         Replay
	memory         memoryBounds
	hotSet         bool // memory.hot is not the default
	maxContent     int
	bodyBytes      int64
	pendingBytes   int64
	heartbeat      time.Duration
	writeDeadline  time.Duration
	logger         *slog.Logger
	onAppend       func(took time.Duration, err error)
	onLimit        func(ctx context.Context, user, limit string)
	handlerOptions []connect.HandlerOption
	trusts         func(*http.Request) bool
	missing        []error // errors of options whose value is nil and must not be
}

func newConfig(opts []Option) (*config, error) {
	c := &config{
		users:         DemoUsers(),
		retention:     DefaultRetention(),
		replay:        DefaultReplay(),
		memory:        memoryBounds{hot: DefaultHotBytes, cold: DefaultColdBytes},
		maxContent:    DefaultMaxContent,
		bodyBytes:     DefaultBodyBytes,
		pendingBytes:  DefaultPendingBytes,
		heartbeat:     DefaultHeartbeat,
		writeDeadline: DefaultWriteDeadline,
		logger:        slog.New(slog.DiscardHandler),
		onLimit:       func(context.Context, string, string) {},
	}
	for _, opt := range opts {
		opt.apply(c)
	}
	if err := errors.Join(c.missing...); err != nil {
		return nil, err
	}
	if c.maxContent < 1 || c.maxContent > MaxContentCeiling {
		return nil, fmt.Errorf("largest content of %d bytes: it must be 1 to %d", c.maxContent, MaxContentCeiling)
	}
	if least := int64(16*c.maxContent/3 + 8*bodySlack); c.bodyBytes < least {
		return nil, fmt.Errorf("memory of %d bytes for messages that are being received: at least %d are needed for the largest message", c.bodyBytes, least)
	}
	if c.pendingBytes < 1<<20 {
		return nil, fmt.Errorf("memory of %d bytes for pending writes: it must be at least %d", c.pendingBytes, 1<<20)
	}
	if c.heartbeat < 0 {
		return nil, fmt.Errorf("heartbeat of %v: it must not be negative; zero is none", c.heartbeat)
	}
	if c.writeDeadline <= 0 {
		return nil, fmt.Errorf("write deadline of %v: it must be positive", c.writeDeadline)
	}
	if err := c.validateHistory(); err != nil {
		return nil, err
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.authenticator == nil {
		a, err := NewUserAuthenticator(c.users)
		if err != nil {
			return nil, err
		}
		c.authenticator = a
	}
	if c.log == nil {
		c.log = NewMemoryLog(c.retention)
		if stored := c.retention.Stored().Bytes; stored > 0 && !c.hotSet {
			c.memory.hot = min(c.memory.hot, stored)
		}
	}
	return c, nil
}

// validateHistory checks the options for the history.
func (c *config) validateHistory() error {
	if c.memory.hot < 0 || c.memory.cold < 0 {
		return fmt.Errorf("memory of %d bytes for the newest records and %d for older ones: neither may be negative", c.memory.hot, c.memory.cold)
	}
	if err := c.retention.validate(); err != nil {
		return fmt.Errorf("retention of %w", err)
	}
	return c.replay.validate()
}
