package main

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

// peerCmd runs a peer that compare measures. Each is written as a good user of
// its library would write it.
type peerCmd struct {
	Connect peerConnectCmd `cmd:"" name:"connect" help:"The chat over connect-go, by the book."`
	GRPC    peerGRPCCmd    `cmd:"" name:"grpc" help:"The chat over grpc-go, by the book."`
	NATS    peerNATSCmd    `cmd:"" name:"nats" help:"A core NATS server."`
	Floor   peerFloorCmd   `cmd:"" name:"floor" help:"One write per delivery."`
}

// peerFlags are what all peers have.
type peerFlags struct {
	Listen string `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address to listen on; port 0 picks one (${default})."`
}

// announce logs where the peer listens, in simplechat's words.
func (peerFlags) announce(out *cli.Output, addr net.Addr) {
	slog.New(slog.NewTextHandler(out.Stderr, nil)).Info("listening", "addr", addr.String())
}

// listen opens the peer's address.
func (f peerFlags) listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return listener, nil
}

// peerEnd bounds how long a peer waits for its handlers.
const peerEnd = time.Second

// serveHTTP serves until ctx is done.
func (f peerFlags) serveHTTP(ctx context.Context, out *cli.Output, handler http.Handler) error {
	listener, err := f.listen(ctx)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: peerEnd}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	f.announce(out, listener.Addr())
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

var errPeerLogin = errors.New("unknown user or wrong password")

// peerUser returns the user that a name and a password stand for: Qt's five
// have the same.
func peerUser(name, password string) (string, error) {
	known := len(name) == len("user1") && name[:4] == "user" && name[4] >= '1' && name[4] <= '5'
	if !known || subtle.ConstantTimeCompare([]byte(password), []byte("qwerty")) == 0 {
		return "", errPeerLogin
	}
	return name, nil
}
