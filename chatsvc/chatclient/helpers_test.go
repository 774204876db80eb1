package chatclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// network is a network in memory, so that all goroutines of a test are in its
// bubble. It is safe for concurrent use.
type network struct {
	mu    sync.Mutex
	hosts map[string]*host
	wrap  func(net.Conn) net.Conn // the client's end of a new connection
}

// host is an address that can be dialled.
type host struct {
	accept chan net.Conn
	down   chan struct{} // closed when nobody listens any more
	once   sync.Once
}

func newNetwork() *network {
	return &network{hosts: make(map[string]*host), wrap: func(c net.Conn) net.Conn { return c }}
}

// Accept implements [net.Listener].
func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.accept:
		return c, nil
	case <-h.down:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *host) Close() error {
	h.once.Do(func() { close(h.down) })
	return nil
}

// Addr implements [net.Listener].
func (h *host) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

// dial connects to a host as [net.Dialer.DialContext] does.
func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	refused := &net.OpError{Op: "dial", Net: "memory", Err: syscall.ECONNREFUSED}
	n.mu.Lock()
	h, ok := n.hosts[addr]
	n.mu.Unlock()
	if !ok {
		return nil, refused
	}
	client, server := net.Pipe()
	select {
	case h.accept <- server:
	case <-h.down:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wrap(client), nil
}

// serve serves h at http://NAME:80 until the returned function is called.
func (n *network) serve(name string, h http.Handler) (stop func()) {
	l := &host{accept: make(chan net.Conn), down: make(chan struct{})}
	n.mu.Lock()
	n.hosts[name+":80"] = l
	n.mu.Unlock()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: h, Protocols: protocols}
	go func() { _ = srv.Serve(l) }()
	return func() { _ = srv.Close() }
}

// serveChat serves a service at http://NAME:80 until the returned function is
// called, or the test ends.
func (n *network) serveChat(tb testing.TB, name string, opts ...chatsvc.Option) (stop func()) {
	tb.Helper()
	svc, err := chatsvc.New(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	stopServer := n.serve(name, mux)
	stop = sync.OnceFunc(func() {
		stopServer()
		_ = svc.Shutdown(context.Background())
	})
	tb.Cleanup(stop)
	return stop
}

// client returns a client of urls that uses the network, as user1.
func (n *network) client(tb testing.TB, urls string, opts ...chatclient.Option) *chatclient.Client {
	tb.Helper()
	c, err := chatclient.New(urls, append([]chatclient.Option{chatclient.WithLogger(nosecret.Logger(tb)),
		chatclient.WithBasicAuth("user1", "qwerty"),
		chatclient.WithDialer(n.dial),
	}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

var errEnough = errors.New("enough")

// follow returns the events of Follow until n records have arrived.
func follow(ctx context.Context, tb testing.TB, c *chatclient.Client, from chatclient.Position, n int) []chatclient.Event {
	tb.Helper()
	var got []chatclient.Event
	err := c.Follow(ctx, from, func(e chatclient.Event) error {
		got = append(got, e)
		if len(records(got)) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		told := contents(got)
		tb.Fatalf("follow from %v: %v after %v", from, err, told[max(0, len(told)-10):])
	}
	return got
}

// records returns those of events that are records.
func records(events []chatclient.Event) []chatclient.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e chatclient.Event) bool { return e.Message == nil })
}

// contents returns events in short: "3:hello" for a record, and for a stream
// that was opened the offset, what was lost, and a new epoch.
func contents(events []chatclient.Event) []string {
	var texts []string
	for _, e := range events {
		text := fmt.Sprintf("%d:%s", e.Offset, e.Message.GetContent())
		if e.Message == nil {
			text = fmt.Sprintf("open %d lost %d", e.Offset, e.Lost)
		}
		if e.NewEpoch {
			text += " new epoch"
		}
		texts = append(texts, text)
	}
	return texts
}

// sendAll sends texts and fails the test if one is refused.
func sendAll(ctx context.Context, tb testing.TB, c *chatclient.Client, texts ...string) {
	tb.Helper()
	for _, text := range texts {
		if _, err := c.SendText(ctx, text); err != nil {
			tb.Fatal(err)
		}
	}
}

// forEachProtocol runs test once for each protocol in a bubble of
// [testing/synctest].
func forEachProtocol(t *testing.T, test func(t *testing.T, protocol chatclient.Protocol)) {
	t.Helper()
	for _, protocol := range []chatclient.Protocol{chatclient.GRPC, chatclient.GRPCWeb, chatclient.Connect} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, protocol) })
		})
	}
}

// text returns a message of the type Text.
func text(content string) *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: []byte(content), Type: chatpb.ChatMessage_Text}
}

// patience bounds a test's calls. Where time is a bubble's own it costs nothing.
const patience = 6 * time.Hour
