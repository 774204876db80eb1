package limit

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/grpchealth"

	"example.com/simplechat/chatsvc/h2"
)

// A call without credentials whose body never arrives is answered after publicBodyTime
// over HTTP/1.1, by either server, and leaves room for the next one.
func TestPublicCallWithoutItsBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		serve func(srv *http.Server, l net.Listener) (stop func() error)
	}{
		{"net/http", func(srv *http.Server, l net.Listener) func() error {
			go func() { _ = srv.Serve(l) }()
			return srv.Close
		}},
		{"h2", func(srv *http.Server, l net.Listener) func() error {
			own := h2.New(srv)
			go func() { _ = own.Serve(l) }()
			return own.Close
		}},
	} {
		for _, contentType := range []string{"application/json", "application/grpc-web"} {
			t.Run(test.name+" "+contentType, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					l := New(Config{Public: 1})
					_, health := grpchealth.NewHandler(grpchealth.NewStaticChecker())
					pipe := newPipeListener()
					closeServer := test.serve(&http.Server{Handler: l.Handler(l.Public(context.Background(), false, health))}, pipe)
					defer func() { _ = closeServer() }()
					began := time.Now()
					for range 2 {
						checkIsAnswered(t, pipe, contentType)
					}
					if waited := time.Since(began); waited != 2*publicBodyTime { // the bubble's clock is exact
						t.Errorf("both were answered after %v", waited)
					}
				})
			})
		}
	}
}

// checkIsAnswered sends the header of a Check, and reads the answer.
func checkIsAnswered(t *testing.T, pipe *pipeListener, contentType string) {
	t.Helper()
	client, server := net.Pipe()
	defer func() { _ = client.Close() }()
	pipe.conns <- server
	_ = client.SetDeadline(time.Now().Add(time.Hour))
	if _, err := io.WriteString(client, "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
		contentType+"\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatalf("not answered: %v", err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("the answer: %v", err)
	}
	_ = res.Body.Close()
	// gRPC-Web has the code, 4, and the text in the header.
	answer := res.Header.Get("Grpc-Status") + " " + res.Header.Get("Grpc-Message") + string(text)
	if !strings.Contains(answer, "deadline_exceeded") && !strings.HasPrefix(answer, "4 ") || !strings.Contains(answer, "did not arrive within") {
		t.Errorf("answered %s: %s", res.Status, answer)
	}
}

// pipeListener accepts one end of each pipe that is put into conns.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipeListener() *pipeListener {
	closed := make(chan struct{})
	return &pipeListener{make(chan net.Conn), closed, sync.OnceFunc(func() { close(closed) })}
}

// Accept implements [net.Listener].
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *pipeListener) Close() error {
	l.close()
	return nil
}

// Addr implements [net.Listener].
func (*pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// A call without credentials ends after publicTime, also while its handler waits.
func TestPublicCallEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Public: 1})
		for _, isStream := range []bool{false, true} {
			handler := l.Handler(l.Public(context.Background(), isStream, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
			})))
			began := time.Now()
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
			if lasted := time.Since(began); lasted != publicTime { // the bubble's clock is exact
				t.Errorf("stream %t: it lasted %v", isStream, lasted)
			}
		}
	})
}
