package chatclient

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
)

const (
	// DefaultTimeout bounds one attempt, unless [WithTimeout] says otherwise.
	DefaultTimeout = 10 * time.Second
	// DefaultSilence is the silence after which a stream is cut, unless
	// [WithSilence] says otherwise: more than two of the server's heartbeats.
	DefaultSilence = time.Minute

	// The pauses between attempts, unless WithBackoff says otherwise.
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second

	// A connection that is silent for pingAfter must answer a ping within pingAnswer. That
	// includes the time for data that a slow network has not delivered yet.
	pingAfter  = 15 * time.Second
	pingAnswer = 15 * time.Second

	// slowestUpload is the slowest expected upload in bytes per second: each attempt gets
	// more time for its content at this rate.
	slowestUpload = 32 << 10

	// readMax is the largest batch in bytes that a server sends.
	readMax = 4 << 20
)

// Protocol is the protocol of calls on the wire.
type Protocol string

// The protocols. For gRPC the server must speak HTTP/2; without TLS that is
// h2c with prior knowledge. The others use HTTP/1.1 without TLS.
const (
	GRPC    Protocol = "grpc"
	GRPCWeb Protocol = "grpcweb"
	Connect Protocol = "connect"
)

// Option configures a [Client]. Options are applied in order; where two set
// the same thing, the last one wins.
type Option interface {
	apply(c *config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	protocol          Protocol
	header            http.Header
	http              connect.HTTPClient
	tls               *tls.Config
	dial              func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout           time.Duration
	silence           time.Duration
	hasSilence        bool          // the caller has set silence
	shortest, longest time.Duration // pauses between attempts
	logger            *slog.Logger
	onRetry           func(Retry)
	clientOptions     []connect.ClientOption
	invalid           []error // errors of options whose value is not valid
}

func defaults() config {
	return config{
		protocol: GRPC,
		header:   make(http.Header),
		dial:     (&net.Dialer{}).DialContext,
		timeout:  DefaultTimeout,
		silence:  DefaultSilence,
		shortest: shortestPause,
		longest:  longestPause,
		logger:   slog.New(slog.DiscardHandler),
		onRetry:  func(Retry) {},
	}
}

func (c *config) validate() error {
	switch {
	case len(c.invalid) > 0:
		return errors.Join(c.invalid...)
	case c.protocol != GRPC && c.protocol != GRPCWeb && c.protocol != Connect:
		return fmt.Errorf("protocol %q: it must be %s, %s or %s", c.protocol, GRPC, GRPCWeb, Connect)
	case c.timeout <= 0:
		return fmt.Errorf("timeout of %v: it must be positive", c.timeout)
	case c.silence < 0:
		return fmt.Errorf("silence of %v: it must not be negative, zero for any", c.silence)
	case c.shortest <= 0 || c.longest < c.shortest:
		return fmt.Errorf("pauses of %v to %v: the first must be positive, and the second not shorter", c.shortest, c.longest)
	}
	return nil
}

// options returns the options of connect's client.
func (c *config) options() []connect.ClientOption {
	options := []connect.ClientOption{connect.WithReadMaxBytes(readMax)}
	switch c.protocol {
	case GRPC:
		options = append(options, connect.WithGRPC())
	case GRPCWeb:
		options = append(options, connect.WithGRPCWeb())
	case Connect: // connect's default
	}
	return append(options, c.clientOptions...)
}

// WithBasicAuth makes calls as the user name, with Authorization: Basic
// (RFC 7617). [New] fails if the name holds a colon, which Basic cannot carry.
func WithBasicAuth(name, password string) Option {
	return optionFunc(func(c *config) {
		if name == "" || strings.Contains(name, ":") {
			c.invalid = append(c.invalid, fmt.Errorf("user name %q: it must not be empty or hold a colon", name))
		}
		token := base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
		c.header.Set("Authorization", "Basic "+token)
	})
}

// WithHeader sends h with every call: for servers with an authenticator of
// their own.
func WithHeader(h http.Header) Option {
	return optionFunc(func(c *config) {
		for name, values := range h {
			c.header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	})
}

// WithProtocol sets the protocol. The default is [GRPC].
func WithProtocol(p Protocol) Option {
	return optionFunc(func(c *config) { c.protocol = p })
}

// WithTLS sets how https URLs are dialled. The default trusts the system's
// certificate authorities. The client has a copy of t.
func WithTLS(t *tls.Config) Option {
	return optionFunc(func(c *config) { c.tls = t })
}

// WithDialer sets the function that makes connections, instead of
// [net.Dialer.DialContext]: for a server that listens on a Unix socket, for example.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return optionFunc(func(c *config) { c.dial = dial })
}

// WithHTTPClient sends calls through h instead of a client of its own, and
// [WithTLS] and [WithDialer] have no effect. It must not have a timeout, which
// would end streams, and for [GRPC] it must speak HTTP/2; it should ping
// connections that are silent, as [http.HTTP2Config] can.
func WithHTTPClient(h connect.HTTPClient) Option {
	return optionFunc(func(c *config) { c.http = h })
}

// WithTimeout bounds one attempt to open a stream or to send. A send gets one second more
// for each 32 KiB of content. The default is [DefaultTimeout].
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) { c.timeout = d })
}

// WithSilence sets how long a stream may be silent, without even the server's heartbeat,
// before it is cut and resumed. Zero means for ever. The default is two heartbeats of the
// server plus 10 s, for ever if the server announces that it sends none, and
// [DefaultSilence] if it announces nothing.
func WithSilence(d time.Duration) Option {
	return optionFunc(func(c *config) { c.silence, c.hasSilence = d, true })
}

// WithBackoff sets the pauses between attempts: about shortest after the first
// failure, twice as long after each further one, at most longest. The default
// is 100 ms to 5 s.
func WithBackoff(shortest, longest time.Duration) Option {
	return optionFunc(func(c *config) { c.shortest, c.longest = shortest, longest })
}

// WithLogger logs why attempts failed, and how many records streams lost. No credential
// or content is ever logged. The default discards everything.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) { c.logger = l })
}

// Retry is an attempt that has failed, and will be made again.
type Retry struct {
	// Server is the URL of the server that failed. The next attempt goes to the next
	// one, if there are several.
	Server string
	// Err is the reason.
	Err error
	// Pause is the time until the next attempt.
	Pause time.Duration
	// IsFollow tells that a stream of [Client.Follow] has ended or could not be opened.
	// Otherwise it was an attempt to send, or a stream of [Client.Read].
	IsFollow bool
}

// WithRetryObserver calls f before the pause between an attempt that has failed and the next
// one. An event of [Client.Follow], or the return of [Client.Send], tells that an attempt
// has succeeded. The call that makes the attempts waits for f, which must be safe for
// concurrent use if several calls run at a time.
func WithRetryObserver(f func(Retry)) Option {
	return optionFunc(func(c *config) { c.onRetry = f })
}

// WithClientOptions passes options on to connect's clients, after the client's
// own: interceptors, or connect.WithProtoJSON.
func WithClientOptions(opts ...connect.ClientOption) Option {
	return optionFunc(func(c *config) { c.clientOptions = append(c.clientOptions, opts...) })
}
