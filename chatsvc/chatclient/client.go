package chatclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"connectrpc.com/connect"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Client is a client of one conversation. It is safe for concurrent use: any
// number of sends and follows may run at a time, over one HTTP/2 connection.
type Client struct {
	config

	isTraced bool // http reports each request that it writes, as net/http does
	replicas []replica
	failures atomic.Uint64 // the current replica is replicas[failures % len(replicas)]
}

// replica is a server of the conversation.
type replica struct {
	url string
	rpc chatconnect.SimpleChatClient
}

// New returns a client of the server at urls: the URL below which the procedures are, or
// the URLs of several replicas, separated by commas. It does not connect yet. It fails if a
// URL or an option is not valid. The caller must call [Client.Close] at the end.
func New(urls string, opts ...Option) (*Client, error) {
	c := &Client{config: defaults()}
	for _, opt := range opts {
		opt.apply(&c.config)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("chatclient: %w", err)
	}
	if c.http == nil {
		c.http, c.isTraced = &http.Client{Transport: c.newTransport()}, true
	}
	for i, one := range strings.Split(urls, ",") {
		one = strings.TrimSpace(one)
		if err := checkURL(one); err != nil {
			return nil, fmt.Errorf("chatclient: URL number %d: %w", i+1, err)
		}
		c.replicas = append(c.replicas, replica{one, c.newRPC(c.http, one)})
	}
	return c, nil
}

// checkURL returns an error that says what is wrong with a server's URL. The error does
// not contain the URL, which may have a password.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("it must be http://HOST:PORT or https://HOST:PORT")
	case u.User != nil:
		return errors.New("it contains credentials: use WithBasicAuth")
	}
	return nil
}

// Close closes the idle connections. It does not end calls; cancel their contexts for
// that.
func (c *Client) Close() {
	if idle, ok := c.http.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections()
	}
}

// newTransport returns a transport for c's protocol that detects dead connections.
func (c *Client) newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	if c.protocol == GRPC {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         c.dial,
		TLSClientConfig:     c.tls.Clone(), // net/http changes it
		TLSHandshakeTimeout: c.timeout,
		Protocols:           protocols,
		// Without pings, new calls would use a dead connection until the kernel notices.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAnswer},
	}
}

// newRPC returns connect's client of the server at url, over h.
func (c *Client) newRPC(h connect.HTTPClient, url string) chatconnect.SimpleChatClient {
	return chatconnect.NewSimpleChatClient(h, url, c.options()...)
}

// replica returns the current replica, and the number of failures so far for
// [Client.failed].
func (c *Client) replica() (replica, uint64) {
	failures := c.failures.Load()
	return c.replicas[failures%uint64(len(c.replicas))], failures
}

// failed makes later calls use the next replica, unless another call has reported the
// failure first.
func (c *Client) failed(failures uint64) { c.failures.CompareAndSwap(failures, failures+1) }

// newCall returns a context for a call, and the call's information with the client's
// headers.
func (c *Client) newCall(ctx context.Context) (context.Context, connect.CallInfo) {
	ctx, call := connect.NewClientContext(ctx)
	maps.Copy(call.RequestHeader(), c.header)
	return ctx, call
}
