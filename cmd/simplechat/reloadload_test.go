//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

const (
	reloadSubscribers = 100
	reloadSenders     = 8
	reloadRounds      = 3
	lastContent       = "the end"
)

// While users and certificates are replaced and SIGHUP comes, under load, no message is
// lost, no send fails, no stream ends, and no client must connect again.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	var users []string
	for i := range reloadSenders {
		users = append(users, fmt.Sprintf("user%d:qwerty", i))
	}
	file := testkit.UsersFile(t, users...)
	p := startServer(t, "--memory", "--users", file, "--tls-cert", cert, "--tls-key", key)
	l := &reloadLoad{t: t, addr: p.addr, roots: roots, stop: make(chan struct{})}
	t.Cleanup(l.end)
	for i := range reloadSubscribers {
		l.subscribe(users[i%reloadSenders])
	}
	for i := range reloadSenders {
		l.startSender(i)
	}
	for round := range reloadRounds {
		l.awaitMore(100)
		newcomer := fmt.Sprintf("new%d", round)
		mustRun(t, "s3cr3t\n", "add", newcomer, "--password-stdin", "--users", file)
		newCert, newKey, newRoots := certificate(t)
		putFile(t, cert, newCert)
		putFile(t, key, newKey)
		p.signal(syscall.SIGHUP)
		l.awaitMore(100)
		awaitTrue(t, "the new certificate is served", func() bool { return handshake(p.addr, &tls.Config{RootCAs: newRoots}) == nil })
		client := chatconnect.NewSimpleChatClient(l.newClient(newcomer+":s3cr3t", newRoots, nil), "https://"+p.addr)
		awaitTrue(t, "the new user may send", func() bool {
			_, err := client.SendMessage(chattest.Context(t, patience), text("of "+newcomer))
			return err == nil
		})
	}
	close(l.stop)
	l.senders.Wait()
	last := chatconnect.NewSimpleChatClient(l.senderClient, "https://"+p.addr)
	send(chattest.Context(t, patience), t, last, text(lastContent))
	l.subscribers.Wait()
	if n := l.dials.Load(); n != reloadSubscribers+reloadSenders {
		t.Errorf("%d clients have connected %d times", reloadSubscribers+reloadSenders, n)
	}
	t.Logf("%d messages", l.sent.Load())
}

// reloadLoad is what clients do while a server reloads.
type reloadLoad struct {
	t            *testing.T
	addr         string
	roots        *x509.CertPool
	dials, sent  atomic.Int64
	stop         chan struct{} // closed when senders are to stop
	senders      sync.WaitGroup
	subscribers  sync.WaitGroup
	senderClient *http.Client // of the first one
}

// newClient returns a client with connections of its own, which are counted in dials.
func (l *reloadLoad) newClient(user string, roots *x509.CertPool, dials *atomic.Int64) *http.Client {
	rt := testkit.NewTransport(l.t, true)
	rt.TLSClientConfig = &tls.Config{RootCAs: roots}
	rt.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials != nil {
			dials.Add(1)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return &http.Client{Transport: testkit.As{User: user, Base: rt}}
}

// subscribe reads a stream until the last message, and checks that each sender's
// messages come once and in order.
func (l *reloadLoad) subscribe(user string) {
	client := chatconnect.NewSimpleChatClient(l.newClient(user, l.roots, &l.dials), "https://"+l.addr, connect.WithGRPC())
	sub := chattest.Subscribe(l.t.Context(), l.t, client)
	l.subscribers.Go(func() {
		next := make(map[string]int)
		for {
			for _, m := range sub.Pending {
				content, from := string(m.GetContent()), m.GetFrom()
				if content == lastContent {
					l.checkAll(next)
					return
				}
				if strings.HasPrefix(content, "of ") {
					continue
				}
				if want := fmt.Sprint(next[from]); content != want {
					l.t.Errorf("%s sent %s, message %q came", from, want, content)
					return
				}
				next[from]++
			}
			if !sub.Stream.Receive() {
				l.t.Errorf("a stream ended: %v", sub.Stream.Err())
				return
			}
			sub.Pending = sub.Stream.Msg().GetMessages()
		}
	})
}

// checkAll checks that all that was sent has come.
func (l *reloadLoad) checkAll(came map[string]int) {
	total := 0
	for _, n := range came {
		total += n
	}
	if int64(total) != l.sent.Load() {
		l.t.Errorf("%d messages came, %d were sent", total, l.sent.Load())
	}
}

// startSender lets a user send numbers until the load stops.
func (l *reloadLoad) startSender(i int) {
	httpClient := l.newClient(fmt.Sprintf("user%d:qwerty", i), l.roots, &l.dials)
	if i == 0 {
		l.senderClient = httpClient
	}
	client := chatconnect.NewSimpleChatClient(httpClient, "https://"+l.addr)
	l.senders.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			case <-time.After(time.Millisecond):
			}
			if _, err := client.SendMessage(l.t.Context(), &chatpb.ChatMessage{Content: fmt.Append(nil, n), Type: chatpb.ChatMessage_Text}); err != nil {
				l.t.Errorf("send: %v", err)
				return
			}
			l.sent.Add(1)
		}
	})
}

// awaitMore waits for n more messages.
func (l *reloadLoad) awaitMore(n int64) {
	l.t.Helper()
	want := l.sent.Load() + n
	awaitTrue(l.t, "messages are sent", func() bool { return l.sent.Load() >= want || l.t.Failed() })
}

// end stops the senders if the test has failed.
func (l *reloadLoad) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.senders.Wait()
}

// awaitTrue waits until a condition holds.
func awaitTrue(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(pause) {
		if time.Now().After(deadline) {
			tb.Fatalf("not in time: %s", what)
		}
	}
}
