// Package peer serves the chat in other ways for comparison: over connect-go and grpc-go
// in their usual style, with a core NATS server, and as the floor, which is one write per
// delivery. Each peer is a process of its own, as simplechat is.
package peer

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"example.com/simplechat/cmd/internal/cli"
)

// Cmd runs a peer for the command compare. Each peer is written in the usual style of its
// library.
type Cmd struct {
	Connect connectCmd `cmd:"" name:"connect" help:"The chat over connect-go, in its usual style."`
	GRPC    grpcCmd    `cmd:"" name:"grpc" help:"The chat over grpc-go, in its usual style."`
	NATS    natsCmd    `cmd:"" name:"nats" help:"A core NATS server."`
	Floor   floorCmd   `cmd:"" name:"floor" help:"One write per delivery."`
}

// flags are the flags of all peers.
type flags struct {
	Listen string `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address to listen on; port 0 picks one (${default})."`
}

// announce logs where the peer listens, in simplechat's words.
func (flags) announce(out *cli.Output, addr net.Addr) {
	slog.New(slog.NewTextHandler(out.Stderr, nil)).Info("listening", "addr", addr.String())
}

// listen opens the peer's address.
func (f flags) listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return listener, nil
}

// headerTime bounds the wait for the header of an HTTP/1.1 request.
const headerTime = time.Second

// serveHTTP serves until ctx is done.
func (f flags) serveHTTP(ctx context.Context, out *cli.Output, handler http.Handler) error {
	listener, err := f.listen(ctx)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: headerTime}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	f.announce(out, listener.Addr())
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

var errLogin = errors.New("unknown user or wrong password")

// login returns the user with a name and a password. All five users of Qt's example have
// the same password.
func login(name, password string) (string, error) {
	known := len(name) == len("user1") && name[:4] == "user" && name[4] >= '1' && name[4] <= '5'
	if !known || subtle.ConstantTimeCompare([]byte(password), []byte("qwerty")) == 0 {
		return "", errLogin
	}
	return name, nil
}
