package chatsvc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	// DefaultMaxContent is the default of [WithMaxContent] in bytes: 1 MiB.
	DefaultMaxContent = 1 << 20
	// MaxContentCeiling is the largest value for [WithMaxContent], in
	// bytes. Content of this size, as base64 in JSON and with its
	// envelope, still fits in the 4 MiB that a gRPC client accepts by default.
	MaxContentCeiling = 3<<20 - 64<<10
	// DefaultHeartbeat is the default of [WithHeartbeat].
	DefaultHeartbeat = 25 * time.Second
	// DefaultHotBytes is the default of [WithHotBytes]: 64 MiB.
	DefaultHotBytes = 64 << 20
	// DefaultColdBytes is the default of [WithColdBytes]: 32 MiB.
	DefaultColdBytes = 32 << 20
	// DefaultPendingBytes is the default of [WithPendingBytes]: 64 MiB.
	DefaultPendingBytes = 64 << 20
	// DefaultBodyBytes is the default of [WithBodyBytes]: 64 MiB.
	DefaultBodyBytes = 64 << 20
	// DefaultWriteDeadline is the default of [WithWriteDeadline].
	DefaultWriteDeadline = 30 * time.Second
)

// DefaultRetention returns the default of [WithRetention]: 10,000 messages, 64 MiB, any
// age.
func DefaultRetention() Retention {
	return Retention{Messages: 10_000, Bytes: 64 << 20}
}

// DefaultReplay returns the default of [WithReplay]: the last 10,000 messages, and at most
// 64 MiB.
func DefaultReplay() Replay {
	return Replay{Messages: 10_000, Bytes: 64 << 20}
}

// Option configures a [Service]. Options are applied in order; if two set
// the same thing, the last one wins.
type Option interface {
	apply(c *config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithUsers replaces the predefined users, [DemoUsers]. [New] fails if they
// are not valid: see [NewUserAuthenticator]. It has no effect together with
// [WithAuthenticator].
func WithUsers(users *chatpb.Users) Option {
	return optionFunc(func(c *config) { c.users = users })
}

// WithAuthenticator replaces the user database by the embedder's own authentication, such
// as bearer tokens, sessions or client certificates. [New]
// fails if a is nil.
func WithAuthenticator(a Authenticator) Option {
	return optionFunc(func(c *config) {
		c.authenticator = a
		if a == nil {
			c.missing = append(c.missing, errors.New("WithAuthenticator: the authenticator is nil"))
		}
	})
}

// WithLog stores messages in l instead of a new [MemoryLog]. [New] fails if l is nil. The
// service does not close l. Only l decides which messages are retained.
func WithLog(l Log) Option {
	return optionFunc(func(c *config) {
		c.log = l
		if l == nil {
			c.missing = append(c.missing, errors.New("WithLog: the log is nil"))
		}
	})
}

// WithRetention bounds the history of the service's own [MemoryLog]. It has no effect
// together with [WithLog]: another log has its own retention. [New] fails for
// negative bounds. The default is [DefaultRetention].
func WithRetention(r Retention) Option {
	return optionFunc(func(c *config) { c.retention = r })
}

// WithReplay bounds the history for subscribers that do not ask for an offset, because
// such clients keep everything that they receive. Subscribers that ask for
// an offset get all retained records from there on. [New] fails for negative bounds. The
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
// bytes. If it does not suffice, subscribers wait for each other; one chunk of 64
// KiB, or one larger record, can always be read. If it is less than a few times the
// largest content, a slow subscriber can delay others that read old records. The default is
// [DefaultColdBytes].
func WithColdBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.memory.cold = bytes })
}

// WithMaxContent sets the largest content of one message in bytes, from 1 to
// [MaxContentCeiling]. The default is [DefaultMaxContent].
func WithMaxContent(bytes int) Option {
	return optionFunc(func(c *config) { c.maxContent = bytes })
}

// WithBodyBytes bounds the memory for messages that are being received, in bytes. About
// half of it is for the messages themselves. One user can hold half of it. Open requests
// with a message on each line hold a part of it, together at most half. If it does not
// suffice, sends get resource_exhausted with [HeaderRetryAfter]. It must have room for
// two messages of the largest size, each of which takes about three times its size. The
// default is [DefaultBodyBytes]. In any protocol, a body must arrive within 30 s plus the
// time for its size at 16 KiB/s.
func WithBodyBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.bodyBytes = bytes })
}

// WithHeartbeat sets the silence after which a subscriber gets an empty batch,
// so that proxies do not cut an idle stream. Zero means no empty batches. The default is
// [DefaultHeartbeat].
func WithHeartbeat(d time.Duration) Option {
	return optionFunc(func(c *config) { c.heartbeat = d })
}

// WithPendingBytes bounds the memory that pending writes to subscribers hold in addition to
// the hot end and the cold cache, in bytes: a subscriber that does not read holds the
// batch that is being written to it. Beyond the bound, the oldest write of the user
// and address that hold the most is cut; that subscriber may resume. The bound may
// be exceeded by an eighth. It must be at least 1 MiB. The default is
// [DefaultPendingBytes].
func WithPendingBytes(bytes int64) Option {
	return optionFunc(func(c *config) { c.pendingBytes = bytes })
}

// WithWriteDeadline sets the time for writing one batch to a subscriber, in addition to the
// time for its size at 16 KiB/s. After that the stream is cut. It must be positive. The
// default is [DefaultWriteDeadline].
func WithWriteDeadline(d time.Duration) Option {
	return optionFunc(func(c *config) { c.writeDeadline = d })
}

// WithLogger sets the service's logger. Credentials and content are never
// logged. By default, messages are discarded.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) { c.logger = l })
}

// WithTrustedRequests allows calls that look like calls from a page of another site.
// Without it, a GET with Sec-Fetch-Site: cross-site, and a plain body that
// [http.CrossOriginProtection] refuses, get permission_denied, because a browser sends both
// without asking first. All other calls need a preflight, so the server's CORS decides.
// A server with CORS should trust the same origins here. Trusts is called for
// requests that would be refused. It must be safe for concurrent use.
func WithTrustedRequests(trusts func(r *http.Request) bool) Option {
	return optionFunc(func(c *config) { c.trusts = trusts })
}

// WithAppendObserver makes the service call observe after each [Log.Append] with its
// duration and its error. Observe is called by the goroutines of senders, many at a time,
// and must return soon. By default, nothing is called.
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
// cuts because of a limit, [LimitBodies] or [LimitPending], with the call's context and
// its user. Observe is called by the goroutines of the calls, many at a time, and must
// return soon. By default, nothing is called.
func WithLimitObserver(observe func(ctx context.Context, user, limit string)) Option {
	return optionFunc(func(c *config) {
		if observe != nil {
			c.onLimit = observe
		}
	})
}

// WithHandlerOptions passes options on to connect's handlers, after the
// service's own. Interceptors run with the user in the context
// ([UserFromContext]), for calls in every form, including streams for curl.
// Batches are written directly to the response, so interceptors that wrap a
// stream see its headers and its end, but not its messages. Compression must stay
// off, because Qt's clients cannot decompress.
func WithHandlerOptions(opts ...connect.HandlerOption) Option {
	return optionFunc(func(c *config) { c.handlerOptions = append(c.handlerOptions, opts...) })
}
