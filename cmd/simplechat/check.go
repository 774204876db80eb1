package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/sqlitelog"
	"example.com/simplechat/cmd/internal/cli"
)

// natsTime bounds how long a check waits for a NATS cluster.
const natsTime = 10 * time.Second

// checkCmd checks everything that serve would use with the same flags. It changes
// nothing.
type checkCmd struct {
	serveCmd
}

// Run prints one line for each check. It fails if one of the checks fails.
func (c *checkCmd) Run(ctx context.Context, out *cli.Output) error {
	failed := false
	for _, look := range []struct {
		name string
		at   func(context.Context) (string, error)
	}{
		{"users", c.lookAtUsers},
		{"certificate", c.lookAtTLS},
		{"storage", c.lookAtStorage},
	} {
		found, err := look.at(ctx)
		if err != nil {
			failed = true
			fmt.Fprintf(out.Stdout, "%-12s FAILED: %v\n", look.name, err)
			continue
		}
		fmt.Fprintf(out.Stdout, "%-12s ok: %s\n", look.name, found)
	}
	if failed {
		return errChecks
	}
	return nil
}

func (c *checkCmd) lookAtUsers(ctx context.Context) (string, error) {
	discard := slog.New(slog.DiscardHandler)
	if _, err := c.serviceOptions(ctx, discard, c.Limits.limits(discard), newMetrics()); err != nil {
		return "", err
	}
	if c.Users == "" {
		return "the demo users, whose password everybody knows", nil
	}
	return c.Users, nil
}

func (c *checkCmd) lookAtTLS(context.Context) (string, error) {
	if !c.TLS.isOn() {
		return "none: passwords travel in clear text", nil
	}
	if len(c.TLS.ACMEDomain) > 0 { // loading it would create the directory
		return c.lookAtACME()
	}
	config, err := c.TLS.load(new(reloader), slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	if c.TLS.TLSCert == "" {
		return "made by the server", nil
	}
	certificate, err := config.GetCertificate(nil)
	if err != nil {
		return "", err
	}
	until := certificate.Leaf.NotAfter
	if left := time.Until(until); left <= 0 {
		return "", fmt.Errorf("--tls-cert: it has expired at %s: renew it", until.Format(time.RFC3339))
	}
	return "valid until " + until.Format(time.RFC3339), nil
}

func (c *checkCmd) lookAtACME() (string, error) {
	if err := errors.Join(c.TLS.checkWays(), c.TLS.checkACME()); err != nil {
		return "", err
	}
	cache := c.TLS.acmeCache()
	if _, err := os.Stat(cache); errors.Is(err, fs.ErrNotExist) {
		cache = filepath.Dir(filepath.Clean(cache)) // serve will create it
	}
	if err := canWrite(cache); err != nil {
		return "", explainACMECache(err)
	}
	return "obtained from " + c.TLS.ACMEDirectory + " when the first client connects", nil
}

func (c *checkCmd) lookAtStorage(ctx context.Context) (string, error) {
	switch {
	case c.Storage.Memory:
		return "memory: messages are gone when the server ends", nil
	case len(c.Storage.NATS) > 0:
		return c.lookAtNATS(ctx)
	}
	directory := c.Storage.directory()
	info, err := os.Stat(directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(filepath.Clean(directory))
		if err := canWrite(parent); err != nil {
			return "", fmt.Errorf("--data %s: it is missing and cannot be made: %w", directory, explainDirectory(err))
		}
		return directory + " does not exist yet: it will be made", nil
	case err != nil:
		return "", fmt.Errorf("--data: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("--data %s: it is not a directory: give another one", directory)
	}
	if err := canWrite(directory); err != nil {
		return "", fmt.Errorf("--data: %w", explainDirectory(err))
	}
	if _, err := os.Stat(filepath.Join(directory, sqlitelog.DatabaseFile)); errors.Is(err, fs.ErrNotExist) {
		return directory + " has no messages yet", nil
	}
	return directory + ": it can be written; simplechat log check reads every message", nil
}

// canWrite returns an error if no file can be made in a directory.
func canWrite(directory string) error {
	file, err := os.CreateTemp(directory, ".simplechat-check-")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// lookAtNATS asks the cluster for the stream, and makes none.
func (c *checkCmd) lookAtNATS(ctx context.Context) (string, error) {
	cluster, err := c.Storage.cluster(int(c.MaxContent))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, natsTime)
	defer cancel()
	log, err := jetlog.Inspect(ctx, cluster, jetlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if errors.Is(err, jetlog.ErrNoStream) {
		return fmt.Sprintf("stream %s does not exist yet: serve makes it", cluster.Stream), nil
	}
	if err != nil {
		return "", fmt.Errorf("--nats: %w", err)
	}
	defer log.Close() //nolint:errcheck // it was only asked
	state, err := log.State(ctx)
	if err != nil {
		return "", fmt.Errorf("--nats: %w", err)
	}
	return fmt.Sprintf("stream %s with messages %d to %d", cluster.Stream, state.First, state.Next-1), nil
}
