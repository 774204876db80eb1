package h2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/h2"
)

// faces are the ways to reach a server.
var faces = []struct {
	name  string
	start func(testing.TB, *http.Server) *server
	http2 bool
}{
	{"h2c", serve, true},
	{"http1", serve, false},
	{"tls", serveTLS, true},
	{"tls+http1", serveTLS, false},
}

// forEachFace runs test for every way to reach a server of its own.
func forEachFace(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, s *server, client *http.Client)) {
	t.Helper()
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			s := face.start(t, &http.Server{Handler: handler})
			test(t, s, s.client(t, face.http2))
		})
	}
}

// echo reads all before it answers: HTTP/1.1 does not go both ways at once.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// Clients of both versions of HTTP are served side by side, and each call gets
// its own bytes back.
func TestEcho(t *testing.T) {
	t.Parallel()
	forEachFace(t, echo, func(t *testing.T, s *server, client *http.Client) {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				body := bytes.Repeat(fmt.Appendf(nil, "%d ", i), 1<<(i%18))
				resp, err := client.Post(s.url, "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
			})
		}
		wg.Wait()
	})
}

// A request says what net/http's says: version, address, TLS, context.
func TestRequestContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	check := func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		addr, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
		_, isServer := ctx.Value(http.ServerContextKey).(*http.Server)
		fmt.Fprintln(w, r.Proto, r.TLS != nil, ctx.Value(key{}), isServer, addr != nil && addr.String() == r.Host, r.RemoteAddr != "")
	}
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			var conns sync.Map
			s := face.start(t, &http.Server{
				Handler:     http.HandlerFunc(check),
				BaseContext: func(l net.Listener) context.Context { return context.WithValue(t.Context(), key{}, l.Addr().Network()) },
				ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
					if _, twice := conns.LoadOrStore(nc.RemoteAddr().String(), true); twice {
						t.Error("ConnContext is called twice")
					}
					return context.WithValue(ctx, key{}, fmt.Sprint(ctx.Value(key{}), "+conn"))
				},
			})
			resp, err := s.client(t, face.http2).Get(s.url)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, _ := io.ReadAll(resp.Body)
			proto := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[face.http2]
			if want := fmt.Sprintln(proto, s.tls != nil, "tcp+conn", true, true, true); string(got) != want {
				t.Errorf("got %swant %s", got, want)
			}
		})
	}
}

// A handler and a client may talk in both directions at once.
func TestDuplex(t *testing.T) {
	t.Parallel()
	s := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.Flush()
		b := make([]byte, 64)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				_, _ = w.Write(bytes.ToUpper(b[:n]))
				_ = control.Flush()
			}
			if err != nil {
				return
			}
		}
	})})
	in, out := io.Pipe()
	resp, err := s.client(t, true).Post(s.url, "text/plain", in)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 50 {
		say := fmt.Sprintf("word %d", i)
		if _, err := io.WriteString(out, say); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(say))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != strings.ToUpper(say) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	_ = out.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}

// bytesCodec is gRPC without a scheme.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (bytesCodec) Name() string                       { return "bytes" }

// grpc-go's client and its server side, which is a handler too, understand each
// other over this package: unary calls, streams both ways, errors in trailers.
func TestGRPC(t *testing.T) {
	t.Parallel()
	desc := grpc.ServiceDesc{ServiceName: "test", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "echo", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				var msg []byte
				switch err := stream.RecvMsg(&msg); {
				case err == io.EOF: //nolint:errorlint // as gRPC documents it
					return status.Error(codes.DataLoss, "that was all: ünï")
				case err != nil:
					return err
				}
				if err := stream.SendMsg(&msg); err != nil {
					return err
				}
			}
		},
	}}}
	g := grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}))
	g.RegisterService(&desc, nil)
	for _, face := range faces {
		if !face.http2 {
			continue
		}
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			s := face.start(t, &http.Server{Handler: g})
			creds := insecure.NewCredentials()
			if s.tls != nil {
				creds = credentials.NewTLS(s.tls)
			}
			conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() { converse(t, conn, 1<<i) })
			}
			wg.Wait()
		})
	}
}

// converse sends messages of a size over one stream, and takes each back.
func converse(t *testing.T, conn *grpc.ClientConn, size int) {
	t.Helper()
	stream, err := conn.NewStream(chattest.Context(t, patience), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test/echo")
	if err != nil {
		t.Error(err)
		return
	}
	for i := range 10 {
		msg := bytes.Repeat([]byte{byte(i)}, size)
		var got []byte
		if err := stream.SendMsg(&msg); err != nil {
			t.Error(err)
			return
		}
		if err := stream.RecvMsg(&got); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("%d bytes of %d, %v", len(got), size, err)
			return
		}
	}
	_ = stream.CloseSend()
	var got []byte
	if err := stream.RecvMsg(&got); status.Code(err) != codes.DataLoss || !strings.Contains(err.Error(), "ünï") {
		t.Errorf("ended with %v", err)
	}
}

// A preface that is almost HTTP/2's is net/http's to answer.
func TestAlmostPreface(t *testing.T) {
	t.Parallel()
	s := serve(t, &http.Server{Handler: http.HandlerFunc(echo)})
	for _, first := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "PRI", "P", "\x16\x03\x01"} {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, first+"\r\n\r\n")
		if got, _ := io.ReadAll(nc); !strings.HasPrefix(string(got), "HTTP/1.1 ") {
			t.Errorf("%q is answered %q", first, got)
		}
		_ = nc.Close()
	}
}

// Over TLS, too, the preface must come before anything else.
func TestNoPrefaceOverTLS(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, &http.Server{Handler: http.HandlerFunc(echo)})
	p := s.dial(t)
	p.request(1, true, get)
	p.untilAnswered(1)
	p = newPeer(t, s.dialRaw(t))
	if _, err := io.WriteString(p.nc, strings.Repeat("x", len(http2.ClientPreface))); err != nil {
		t.Fatal(err)
	}
	if code := p.untilEnd(); code > 0 {
		t.Errorf("ended with the code %d", code)
	}
}

func TestServeTLSWithoutConfig(t *testing.T) {
	t.Parallel()
	if err := h2.New(&http.Server{}).ServeTLS(listen(t)); err == nil || !strings.Contains(err.Error(), "TLSConfig") {
		t.Error(err)
	}
}
