package chatclient_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// A send is tried again for as long as that may help, each time with the same
// key, and its error reports whether the message may have been stored.
func TestSendErrors(t *testing.T) {
	t.Parallel()
	for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				server := n.serveScript(t, "chat", answer{err: connect.NewError(code, errors.New("because"))}, answer{epoch: "E", first: 7})
				sent, err := n.client(t, "http://chat").SendText(chattest.Context(t, patience), "a")
				calls := server.asked()
				if !isRefusal(code) {
					if want := (chatclient.Sent{Epoch: "E", Offset: 7}); err != nil || sent != want || len(calls) != 2 {
						t.Errorf("after %d calls: %+v, %v", len(calls), sent, err)
					}
					checkKeys(t, calls)
					return
				}
				if connect.CodeOf(err) != code || !strings.Contains(err.Error(), "because") || len(calls) != 1 {
					t.Errorf("after %d calls: %v", len(calls), err)
				}
				if errors.Is(err, chatclient.ErrUncertain) { // also on a full disk, which is the log's error
					t.Errorf("uncertain after %v", err)
				}
			})
		})
	}
}

// checkKeys checks that all calls had one key.
func checkKeys(t *testing.T, calls []call) {
	t.Helper()
	for _, call := range calls {
		if key := call.header.Get("Idempotency-Key"); key == "" || key != calls[0].header.Get("Idempotency-Key") {
			t.Errorf("a call with the key %q after one with %q", key, calls[0].header.Get("Idempotency-Key"))
		}
	}
}

// An attempt that comes when the server has forgotten the key would store the
// message twice.
func TestSendStopsBeforeTheKeyIsForgotten(t *testing.T) {
	t.Parallel()
	for _, a := range []answer{{err: errUnavailable}, {hang: true}} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork()
			server := n.serveScript(t, "chat", a)
			_, err := n.client(t, "http://chat").SendText(chattest.Context(t, patience), "a")
			if !errors.Is(err, chatclient.ErrUncertain) || !strings.Contains(err.Error(), "forgotten the key") {
				t.Errorf("%v", err)
			}
			calls := server.asked()
			checkKeys(t, calls)
			first, last := calls[0].at, calls[len(calls)-1].at
			if took := last.Add(chatclient.DefaultTimeout).Sub(first); took > chatsvc.KeyWindow || took < chatsvc.KeyWindow/2 {
				t.Errorf("%d attempts over %v", len(calls), took)
			}
		})
	}
}

// While there is no server nothing can be stored, however long that takes.
func TestSendWaitsForAServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		time.AfterFunc(30*time.Minute, func() { n.serveScript(t, "chat", answer{epoch: "E", first: 1}) })
		if sent, err := n.client(t, "http://chat").SendText(chattest.Context(t, patience), "a"); err != nil || sent.Offset != 1 {
			t.Errorf("%+v, %v", sent, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := n.client(t, "http://nobody").SendText(ctx, "a")
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, chatclient.ErrUncertain) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("without a server: %v", err)
		}
	})
}

// Where a server without TLS is called with TLS, nothing can be stored.
func TestSendToTheWrongScheme(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	url := "https" + strings.TrimPrefix(server.URL, "http")
	var told []chatclient.Retry
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"), chatclient.WithRetryObserver(func(r chatclient.Retry) {
		told = append(told, r)
		cancel() // in the pause
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SendText(ctx, "a"); !errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, chatclient.ErrUncertain) {
		t.Errorf("%v", err)
	}
	if len(told) != 1 || told[0].IsFollow || told[0].Server != url || !errors.Is(told[0].Err, http.ErrSchemeMismatch) {
		t.Errorf("told %v", told)
	}
}

// A context that ends in the middle of an attempt leaves it open whether the
// message is stored.
func TestSendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serveScript(t, "chat", answer{hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		client := n.client(t, "http://chat", chatclient.WithRetryObserver(func(r chatclient.Retry) { t.Errorf("told of %v", r) }))
		_, err := client.SendText(ctx, "a")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, chatclient.ErrUncertain) || !strings.HasSuffix(err.Error(), "got no answer") {
			t.Errorf("%v", err)
		}
	})
}

// Acknowledged, but nobody knows where: another attempt tells no more.
func TestSendNeedsOffsets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		server := n.serveScript(t, "chat", answer{})
		_, err := n.client(t, "http://chat").SendText(chattest.Context(t, patience), "a")
		if !errors.Is(err, chatclient.ErrUncertain) || len(server.asked()) != 1 {
			t.Errorf("after %d calls: %v", len(server.asked()), err)
		}
	})
}

// deafConn is a connection that breaks when an answer comes.
type deafConn struct{ net.Conn }

func (c deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// A message whose acknowledgement is lost is stored once, and the send says
// where.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat")
		var dialled atomic.Int64
		n.wrap = func(c net.Conn) net.Conn {
			if dialled.Add(1) <= 3 {
				return deafConn{c}
			}
			return c
		}
		// Over HTTP/1.1 nothing comes before the answer.
		client := n.client(t, "http://chat", chatclient.WithProtocol(chatclient.Connect))
		sent, err := client.SendText(ctx, "once")
		if err != nil || sent.Offset != 1 || !sent.Duplicate {
			t.Errorf("%+v, %v", sent, err)
		}
		sendAll(ctx, t, client, "next")
		if got := contents(records(follow(ctx, t, client, chatclient.All(), 2))); !slices.Equal(got, []string{"1:once", "2:next"}) {
			t.Errorf("stored %v", got)
		}
	})
}

// A key of one's own makes two sends one.
func TestSendWithAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat")
		client := n.client(t, "http://chat")
		first, err := client.Send(ctx, text("a"), "order 17")
		if err != nil || first.Duplicate || first.Offset != 1 || first.Epoch == "" {
			t.Errorf("first: %+v, %v", first, err)
		}
		second, err := client.Send(ctx, text("a"), "order 17")
		if err != nil || !second.Duplicate || second.Offset != 1 || second.Epoch != first.Epoch {
			t.Errorf("second: %+v, %v", second, err)
		}
		for _, key := range []string{" order", "order ", "or\tder", "or\nder", strings.Repeat("k", 129)} {
			if sent, err := client.Send(ctx, text("a"), key); err == nil || errors.Is(err, chatclient.ErrUncertain) {
				t.Errorf("key %q: %+v, %v", key, sent, err)
			}
		}
	})
}

// net/http repeats a request that has a key by itself, so the error of a send may
// be that of a second dial.
func TestSendIsUncertainAfterARepeatedRequest(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		requests := bufio.NewReader(conn)
		for n := 1; ; n++ {
			r, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if n == 2 { // it is stored, and the server dies
				_ = listener.Close()
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 0\r\nChat-Epoch: E\r\nChat-Offset: 1\r\n\r\n")
		}
	}()
	client, err := chatclient.New("http://"+listener.Addr().String(), chatclient.WithProtocol(chatclient.Connect))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SendText(chattest.Context(t, patience), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := client.SendText(ctx, "b"); !errors.Is(err, chatclient.ErrUncertain) {
		t.Errorf("it was written, and the error is %v", err)
	}
}

// Nor is it certain after a refusal that nothing is stored, if that was the answer to a
// request that net/http has repeated: the first one may have been stored.
func TestSendIsUncertainAfterARepeatedRequestIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		svc, err := chatsvc.New()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = svc.Shutdown(context.Background()) }()
		_, handler := svc.Handler()
		var calls atomic.Int64
		stop := n.serve("chat", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch calls.Add(1) {
			case 1:
				handler.ServeHTTP(w, r)
			case 2: // it is stored, and the answer is lost
				handler.ServeHTTP(httptest.NewRecorder(), r)
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
			default: // the user was removed
				r.Header.Del("Authorization")
				handler.ServeHTTP(w, r)
			}
		}))
		defer stop()
		client := n.client(t, "http://chat", chatclient.WithProtocol(chatclient.Connect))
		sendAll(chattest.Context(t, patience), t, client, "a")
		_, err = client.SendText(chattest.Context(t, patience), "b")
		if connect.CodeOf(err) != connect.CodeUnauthenticated || calls.Load() != 3 {
			t.Fatalf("after %d calls: %v", calls.Load(), err)
		}
		if !errors.Is(err, chatclient.ErrUncertain) {
			t.Errorf("it was stored, and the error is %v", err)
		}
	})
}
