package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/simplechat/cmd/internal/cli"
)

const (
	// healthTime bounds the request that asks whether a server is ready.
	healthTime = 2 * time.Second
	// maxReasons is how many bytes of the answer are read.
	maxReasons = 4 << 10
)

// healthCmd asks a server on this machine whether it is ready: for images without a
// shell, whose health check is a command.
type healthCmd struct {
	Ops opsFlags `embed:""`
}

// Run prints the server's answer, and fails if it is not ready.
func (c *healthCmd) Run(ctx context.Context, out *cli.Output) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	address := c.Ops.OpsListen
	if address == "" {
		address = defaultOps
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("--ops-listen: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no server answers at --ops-listen: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReasons))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	_, err = out.Stdout.Write(text)
	return err
}
