package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"example.com/simplechat/cmd/internal/cli"
)

type natsCmd struct{ flags }

// natsStart bounds the start of the NATS server.
const natsStart = 10 * time.Second

var errNATSStart = errors.New("the NATS server does not listen")

// Run serves until ctx is done.
func (c *natsCmd) Run(ctx context.Context, out *cli.Output) error {
	host, service, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(&server.Options{
		Host: host, Port: port, NoSigs: true, NoLog: true,
		Username: "user1", Password: "qwerty",
		MaxPayload: server.MAX_PAYLOAD_SIZE,
	})
	if err != nil {
		return fmt.Errorf("NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(natsStart) {
		return errNATSStart
	}
	c.announce(out, srv.Addr())
	<-ctx.Done()
	srv.Shutdown()
	srv.WaitForShutdown()
	return nil
}
