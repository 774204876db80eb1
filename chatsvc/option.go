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

const (
	// DefaultMaxContent is the largest content of a message in bytes, unless
	// [WithMaxContent] says otherwise: 1 MiB.
	DefaultMaxContent = 1 << 20
	// MaxContentCeiling is the largest value that [WithMaxContent] takes, in
	// bytes. A content of this size still fits, as base64 in JSON and with its
	// envelope, in the 4 MiB that a gRPC client accepts by default.
	MaxContentCeiling = 3<<20 - 64<<10
	// DefaultHeartbeat is the silence after which a subscriber gets an empty
	// batch, unless [WithHeartbeat] says otherwise.
	DefaultHeartbeat = 25 * time.Second
	// DefaultHotBytes is the memory for the newest records, in bytes, unless
	// [WithHotBytes] says otherwise: 64 MiB.
	DefaultHotBytes = 64 << 20
	// DefaultColdBytes is the memory for older records that are being read, in bytes,
	// unless [WithColdBytes] says otherwise: 32 MiB.
	DefaultColdBytes = 32 << 20
	// DefaultPendingBytes bounds the memory that pending writes hold, in bytes,
	// unless [WithPendingBytes] says otherwise: 64 MiB.
	DefaultPendingBytes = 64 << 20
	// DefaultBodyBytes bounds the memory for messages that are being received, in
	// bytes, unless [WithBodyBytes] says otherwise: 64 MiB.
	DefaultBodyBytes = 64 << 20
	// DefaultWriteDeadline is the time that one batch may take to be written,
	// unless [WithWriteDeadline] says otherwise.
	DefaultWriteDeadline = 30 * time.Second
)

// DefaultRetention returns what the [MemoryLog] of a [Service] retains unless
// [WithRetention] says otherwise: 10,000 messages, 64 MiB, any age.
func DefaultRetention() Retention {
	return Retention{Messages: 10_000, Bytes: 64 << 20}
}

// DefaultReplay returns what a subscriber without an offset gets unless [WithReplay]
// says otherwise: the last 10,000 messages, and at most 64 MiB.
func DefaultReplay() Replay {
	return Replay{Messages: 10_000, Bytes: 64 << 20}
}

// Option configures a [Service]. Options are applied in order; where two set
// the same thing, the last one wins.
type Option interface {
	apply(c *config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

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
	missing        []error // an option's value that must not be nil, but is
}

// WithUsers replaces the predefined users, [DemoUsers]. [New] fails if they
// are not valid: see [NewUserAuthenticator]. It has no effect together with
// [WithAuthenticator].
func WithUsers(users *chatpb.Users) Option {
	return optionFunc(func(c *config) { c.users = users })
}

// WithAuthenticator replaces the user database by the embedder's own way to
// tell who is calling: bearer tokens, sessions, client certificates. [New]
// fails if a is nil.
func WithAuthenticator(a Authenticator) Option {
	return optionFunc(func(c *config) {
		c.authenticator = a
		if a == nil {
			c.missing = append(c.missing, errors.New("WithAuthenticator: the authenticator is nil"))
		}
	})
}

// WithLog stores messages in l instead of a [MemoryLog] of the service's own.
// [New] fails if l is nil. The service does not close l. What is retained is a
// matter of l alone.
func WithLog(l Log) Option {
	return optionFunc(func(c *config) {
		c.log = l
		if l == nil {
			c.missing = append(c.missing, errors.New("WithLog: the log is nil"))
		}
	})
}

// WithRetention bounds the history of the service's own [MemoryLog]. It has no effect
// together with [WithLog]: another log has a retention of its own. [New] fails for
// negative bounds. The default is [DefaultRetention].
func WithRetention(r Retention) Option {
	return optionFunc(func(c *config) { c.retention = r })
}

// WithReplay bounds what a subscriber gets of the history if it does not ask for an
// offset: such clients keep everything that they receive. Subscribers that ask for
// an offset get all that is retained from it on. [New] fails for negative bounds. The
// default is [DefaultReplay].
func WithReplay(r Replay) Option {
	return optionFunc(func(c *config) { c.replay = r })
}

// WithHotBytes bounds the memory for the newest records, the hot end, in bytes:
// subscribers that keep up never read from the log. It holds at least two chunks of
// 64 KiB, or two larger records. The default is [DefaultHotBytes], and no more than
// the retention for a service with a [MemoryLog] of its own.
func WithHotBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.memory.hot, c.hotSet = bytes, true })
}

// WithColdBytes bounds the memory for records that subscribers read from the log, in
// bytes. Where it does not suffice, subscribers wait for each other; one chunk of 64
// KiB, or one larger record, can always be read. Less than a few times the largest
// content lets a slow subscriber delay others that read old records. The default is
// [DefaultColdBytes].
func WithColdBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.memory.cold = bytes })
}

// WithMaxContent sets the largest content of one message in bytes, from 1 to
// [MaxContentCeiling]. The default is [DefaultMaxContent].
func WithMaxContent(bytes int) Option {
	return optionFunc(func(c *config) { c.maxContent = bytes })
}

// WithBodyBytes bounds the memory for messages that are being received, in bytes: about
// half of it is messages. One user can hold half of it. Requests with a message on each
// line hold a part for as long as they are open, together half of it. Where it does not
// suffice, sends get resource_exhausted with [HeaderRetryAfter]. It must have room for
// two messages of the largest size, each of which takes about three times its size. The
// default is [DefaultBodyBytes]. A body must arrive within 30 s plus the time that its
// size takes at 16 KiB/s, whatever its protocol.
func WithBodyBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.bodyBytes = bytes })
}

// WithHeartbeat sets the silence after which a subscriber gets an empty batch,
// so that proxies do not cut an idle stream. Zero: none. The default is
// [DefaultHeartbeat].
func WithHeartbeat(d time.Duration) Option {
	return optionFunc(func(c *config) { c.heartbeat = d })
}

// WithPendingBytes bounds the memory that pending writes to subscribers hold beside
// the hot end and the cold cache, in bytes: a subscriber that does not read holds the
// batch that is being written to it. Beyond the bound, the oldest write of the user
// and address that hold the most is cut, and the subscriber may resume. The bound may
// be exceeded by an eighth. It must be at least 1 MiB. The default is
// [DefaultPendingBytes].
func WithPendingBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.pendingBytes = bytes })
}

// WithWriteDeadline sets the time that one batch may take to be written to a
// subscriber before its stream is cut, beside the time that its size takes at 16
// KiB/s. It must be positive. The default is [DefaultWriteDeadline].
func WithWriteDeadline(d time.Duration) Option {
	return optionFunc(func(c *config) { c.writeDeadline = d })
}

// WithLogger sets where the service logs; no credential or content is ever
// logged. The default discards.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) { c.logger = l })
}

// WithTrustedRequests lets calls through that look like those of a page of another site.
// Without it, a GET with Sec-Fetch-Site: cross-site and a plain body that
// [http.CrossOriginProtection] refuses get permission_denied: a browser sends both
// without asking first. All other calls need a preflight, so the server's CORS decides.
// A server with CORS trusts here the origins that it allows. Trusts is called for
// requests that would be refused; it must be safe for concurrent use.
func WithTrustedRequests(trusts func(r *http.Request) bool) Option {
	return optionFunc(func(c *config) { c.trusts = trusts })
}

// WithAppendObserver makes the service call observe after each [Log.Append] with the
// time that it took and its error, nil for none. It is called by the goroutines of
// senders, many at a time, and must return soon. The default is none.
func WithAppendObserver(observe func(took time.Duration, err error)) Option {
	return optionFunc(func(c *config) { c.onAppend = observe })
}

// Limits of the memory that clients can make a service hold.
const (
	// LimitBodies is hit when a message is refused because too many are arriving
	// ([WithBodyBytes]).
	LimitBodies = "memory for messages"
	// LimitPending is hit when a stream is cut because subscribers do not take their
	// batches ([WithPendingBytes]).
	LimitPending = "memory for batches"
)

// WithLimitObserver makes the service call observe for each call that it refuses or
// cuts because of limit, [LimitBodies] or [LimitPending], with the call's context and
// its user. It is called by the goroutines of the calls, many at a time, and must return
// soon. The default is none.
func WithLimitObserver(observe func(ctx context.Context, user, limit string)) Option {
	return optionFunc(func(c *config) {
		if observe != nil {
			c.onLimit = observe
		}
	})
}

// WithHandlerOptions passes options on to connect's handlers, after the
// service's own: interceptors run with the user in the context
// ([UserFromContext]), for every face of the endpoint, curl's stream included.
// The stream writes its batches past connect, so interceptors that wrap a
// stream see its headers and its end, not its messages. Compression must stay
// off: Qt's clients cannot inflate.
func WithHandlerOptions(opts ...connect.HandlerOption) Option {
	return optionFunc(func(c *config) { c.handlerOptions = append(c.handlerOptions, opts...) })
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
		return nil, fmt.Errorf("heartbeat of %v: it must not be negative, zero for none", c.heartbeat)
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

// validateHistory checks the options about the history.
func (c *config) validateHistory() error {
	if c.memory.hot < 0 || c.memory.cold < 0 {
		return fmt.Errorf("memory of %d bytes for the newest records, %d for older ones: neither may be negative", c.memory.hot, c.memory.cold)
	}
	if err := c.retention.validate(); err != nil {
		return fmt.Errorf("retention of %w", err)
	}
	return c.replay.validate()
}
