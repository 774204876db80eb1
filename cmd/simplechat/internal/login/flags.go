// Package login has what the client commands share: the flags for the server and the
// user, the password's origin, and the exit codes.
package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/cli"
)

// Flags name the server that a client talks to and the user that it logs in as. Commands
// embed them. There is no flag for the password, because the command lines of all
// processes are public.
type Flags struct {
	Server string `group:"server" default:"http://127.0.0.1:65002" placeholder:"URL" help:"Server to talk to; several replicas with commas between them (${default})."`
	User   string `group:"server" placeholder:"NAME" help:"User to log in as. The password is in SIMPLECHAT_PASSWORD, or in the file that SIMPLECHAT_PASSWORD_FILE names; otherwise it is asked for."`
	CA     string `group:"server" name:"ca" env:"SIMPLECHAT_CA" type:"path" placeholder:"FILE" help:"Trust only the certificates in this PEM file: a certificate authority's, or the server's own if it is self-signed."`
}

// DefaultServer is the default of --server.
const DefaultServer = "http://127.0.0.1:65002"

// passwordVariable is the environment variable with the password. The variable with _FILE
// at the end of its name sets it.
const passwordVariable = "SIMPLECHAT_PASSWORD"

// Client returns a client with the credentials of the flags and the environment. A
// missing name or password is asked for on the terminal that the process was started
// from, if it has one. The options come after those of the flags. Errors have an exit
// code. The caller closes the client.
func (f *Flags) Client(ctx context.Context, options ...chatclient.Option) (*chatclient.Client, error) {
	user, password, err := f.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	return f.ClientOf(user, password, options...)
}

// Credentials returns the user's name and password, as [Flags.Client] finds them.
func (f *Flags) Credentials(ctx context.Context) (user, password string, err error) {
	user, password = f.Given()
	if user != "" && password != "" {
		return user, password, nil
	}
	user, password, err = ask(ctx, user)
	switch {
	case errors.Is(err, errNoTerminal):
		return "", "", Exit(ExitUsage, errors.New("no user or no password is given, and there is no terminal to ask on: set SIMPLECHAT_USER, and SIMPLECHAT_PASSWORD or SIMPLECHAT_PASSWORD_FILE"))
	case errors.Is(err, cli.ErrInterrupted):
		return "", "", Exit(ExitInterrupted, err)
	case err != nil:
		return "", "", Exit(ExitUsage, err)
	}
	return user, password, nil
}

// Given returns the user's name and password from the flags and the environment. It does
// not ask for missing ones, which are empty.
func (f *Flags) Given() (user, password string) { return f.User, os.Getenv(passwordVariable) }

// ClientOf returns a client with other credentials than those of the flags and the
// environment. Errors are usage errors.
func (f *Flags) ClientOf(user, password string, options ...chatclient.Option) (*chatclient.Client, error) {
	all := []chatclient.Option{chatclient.WithBasicAuth(user, password)}
	if f.CA != "" {
		config, err := f.trusted()
		if err != nil {
			return nil, Exit(ExitUsage, fmt.Errorf("--ca: %w", err))
		}
		all = append(all, chatclient.WithTLS(config))
	}
	client, err := chatclient.New(f.Server, append(all, options...)...)
	if err != nil {
		return nil, Exit(ExitUsage, fmt.Errorf("--server or --user: %w", err))
	}
	return client, nil
}

// trusted returns the TLS settings that trust the certificates of --ca only.
func (f *Flags) trusted() (*tls.Config, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: it has no certificate: name a file with -----BEGIN CERTIFICATE----- in it", f.CA)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
