package login

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/alecthomas/kong"

	"example.com/simplechat/chatsvc/chatclient"
)

// The exit codes of the client commands.
const (
	ExitRefused         = 1   // the server refused a message or a request; also any other failure
	ExitUsage           = 2   // the command line or the environment makes no sense
	ExitUnreachable     = 3   // no server answered in time, or none was ready
	ExitUnauthenticated = 4   // the user or the password is wrong
	ExitUnknown         = 5   // a message may have been stored or not
	ExitInterrupted     = 130 // ended by SIGINT or SIGTERM, with the number that shells use
)

// exitError is an error with an exit code.
type exitError struct {
	error

	code int
}

var _ kong.ExitCoder = exitError{}

// ExitCode implements [kong.ExitCoder].
func (e exitError) ExitCode() int { return e.code }

func (e exitError) Unwrap() error { return e.error }

// Exit returns err with an exit code, which a command returns from its Run.
func Exit(code int, err error) error { return exitError{err, code} }

// Explain returns the error of a call that will not be tried again, with its exit code
// and what to do. An error that has a code keeps it.
func Explain(err error) error {
	var coded exitError
	if err == nil || errors.As(err, &coded) {
		return err
	}
	switch code := CodeOf(err); {
	case code == ExitUnknown:
		return Exit(code, fmt.Errorf("%w. The message may have been stored: look for it before you send it again", err))
	case code == ExitUnauthenticated:
		return Exit(code, fmt.Errorf("%w: check SIMPLECHAT_USER (or --user), and SIMPLECHAT_PASSWORD or SIMPLECHAT_PASSWORD_FILE", err))
	case code == ExitUnreachable:
		return Exit(code, fmt.Errorf("%w: check --server, and whether the server runs", err))
	case code == ExitRefused && connect.CodeOf(err) == connect.CodeUnimplemented:
		return Exit(code, fmt.Errorf("%w: check --server, SimpleChat is not at this address", err))
	default:
		return Exit(code, err)
	}
}

// Hint returns advice for the error of an attempt that is repeated, or the empty string.
func Hint(err error) string {
	switch certificate := new(tls.CertificateVerificationError); {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "; the server does not use TLS: begin --server with http://"
	case errors.As(err, &certificate):
		return "; --ca names the certificates to trust"
	case strings.Contains(err.Error(), "http2: frame too large"): // net/http exports no such error
		return "; it does not speak HTTP/2: check --server"
	default:
		return ""
	}
}

// CodeOf returns the exit code for the error of a call. It never returns ExitInterrupted.
func CodeOf(err error) int {
	var wire *connect.Error
	switch {
	case errors.Is(err, chatclient.ErrUncertain):
		return ExitUnknown
	case !errors.As(err, &wire):
		return ExitRefused
	}
	switch wire.Code() {
	case connect.CodeUnauthenticated:
		return ExitUnauthenticated
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return ExitUnreachable
	default:
		return ExitRefused
	}
}
