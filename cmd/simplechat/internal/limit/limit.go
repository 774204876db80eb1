// Package limit bounds what clients can make a chat server hold: connections, streams,
// calls without credentials, sends per second and wrong passwords. A refused call gets
// resource_exhausted with the time to wait. Callers on loopback and trusted proxies that
// name no client are not limited, apart from the totals. Refusals are counted, and logged
// at most once per second and kind.
package limit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// Config holds the limits. Zero means no limit.
type Config struct {
	Connections           int // at a time
	ConnectionsPerAddress int
	Streams               int // subscribers at a time
	StreamsPerUser        int
	StreamsPerAddress     int
	Public                int     // calls without credentials at a time
	PublicPerAddress      int     // at a time
	Sends                 float64 // per second and user
	SendBurst             int     // sends that a user may make at once
	WrongPasswords        int     // per minute and address, and the same number at once
	// Trusted are the addresses of proxies, whose X-Forwarded-For or PROXY header contains
	// the client's address.
	Trusted []netip.Prefix
	// ProxyProtocol means that connections from these proxies begin with a PROXY header.
	ProxyProtocol bool
	Logger        *slog.Logger
}

// Limits holds a server's limits and counts the resources in use. It is safe for
// concurrent use.
type Limits struct {
	config      Config
	connections *counter
	proxied     *counter // connections of clients that the PROXY protocol names
	streams     *counter
	users       *counter
	public      *counter
	sends       *rates
	passwords   *passwords

	mu      sync.Mutex // guards all below
	refused map[string]*refusals
}

// refusals counts the refusals of one kind.
type refusals struct {
	count    int64     // in all
	reported int64     // the value of count when it was last logged
	loggedAt time.Time // zero: never
}

// New returns the limits of a server.
func New(c Config) *Limits {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Limits{
		config:      c,
		connections: newCounter(c.Connections),
		proxied:     newCounter(0),
		streams:     newCounter(c.Streams),
		users:       newCounter(0),
		public:      newCounter(c.Public),
		sends:       newRates(c.Sends, c.SendBurst),
		passwords:   newPasswords(c.WrongPasswords),
		refused:     make(map[string]*refusals),
	}
}

// Refused returns how often a limit was hit since the start. Its kinds are the limits'
// names in the log.
func (l *Limits) Refused(kind string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.refused[kind]; r != nil {
		return r.count
	}
	return 0
}

// Observe counts and logs a call that the service itself refused or cut because of a
// limit: see [chatsvc.WithLimitObserver].
func (l *Limits) Observe(ctx context.Context, user, limit string) {
	l.note(limit, addressOf(ctx), user)
}

// note counts a refusal, and logs it unless one of its kind was logged within the last
// second. The user is empty unless it is known to exist.
func (l *Limits) note(kind string, address netip.Addr, user string) {
	l.mu.Lock()
	r := l.refused[kind]
	if r == nil {
		r = &refusals{}
		l.refused[kind] = r
	}
	r.count++
	now := time.Now()
	if !r.loggedAt.IsZero() && now.Sub(r.loggedAt) < time.Second {
		l.mu.Unlock()
		return
	}
	since := r.count - r.reported
	r.loggedAt, r.reported = now, r.count
	l.mu.Unlock()
	from := "unix" // a peer on a Unix socket has no address
	if address.IsValid() {
		from = address.String()
	}
	attrs := []any{"limit", kind, "address", from, "count", since}
	if user != "" {
		attrs = append(attrs, "user", user)
	}
	l.config.Logger.Warn("refused", attrs...)
}

// refusal returns the error of a limit.
func refusal(after time.Duration, format string, args ...any) *connect.Error {
	return chatsvc.NewLimitError(after, fmt.Errorf(format, args...))
}

// refusedBodyTime is how long a refused call may take for the rest of its body.
const refusedBodyTime = time.Second

// writeRefusal answers a call that a limit refuses, in its protocol.
func writeRefusal(w http.ResponseWriter, r *http.Request, refused *connect.Error) {
	// Over HTTP/1.1 the rest of the body is read before the answer goes out.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBodyTime))
	if writer := connect.NewErrorWriter(); writer.IsSupported(r) {
		_ = writer.Write(w, r, refused)
		return
	}
	w.Header().Set(chatsvc.HeaderRetryAfter, refused.Meta().Get(chatsvc.HeaderRetryAfter))
	http.Error(w, errors.Unwrap(refused).Error(), http.StatusTooManyRequests)
}
