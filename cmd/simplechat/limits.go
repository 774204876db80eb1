package main

import (
	"errors"
	"log/slog"
	"net/netip"

	"example.com/simplechat/cmd/simplechat/internal/limit"
)

// limitFlags bound what clients can make the server hold. Zero is no limit.
type limitFlags struct {
	BodyBytes             byteSize       `default:"64MiB" placeholder:"SIZE" help:"Memory for messages that are being received (${default})."`
	PendingBytes          byteSize       `default:"64MiB" placeholder:"SIZE" help:"Memory for batches that subscribers do not take (${default})."`
	MaxConnections        int            `default:"20000" placeholder:"N" help:"Connections at a time, 0 for any number (${default})."`
	AddressConnections    int            `default:"500" placeholder:"N" help:"Connections at a time of one address (${default})."`
	MaxSubscribers        int            `default:"20000" placeholder:"N" help:"Streams at a time (${default})."`
	UserStreams           int            `default:"1000" placeholder:"N" help:"Streams at a time of one user (${default})."`
	AddressStreams        int            `default:"1000" placeholder:"N" help:"Streams at a time of one address (${default})."`
	MaxPublicCalls        int            `default:"1000" placeholder:"N" help:"Calls without credentials at a time (${default})."`
	AddressPublicCalls    int            `default:"100" placeholder:"N" help:"Calls without credentials at a time of one address (${default})."`
	UserSends             float64        `default:"100" placeholder:"N" help:"Messages per second of one user (${default})."`
	UserSendBurst         int            `default:"1000" placeholder:"N" help:"Messages that one user may send at once (${default})."`
	AddressWrongPasswords int            `default:"60" placeholder:"N" help:"Wrong passwords per minute of one address (${default})."`
	TrustedProxy          []netip.Prefix `placeholder:"CIDR" help:"Proxy whose X-Forwarded-For tells the client's address; may be repeated. Limits of one address or user do not apply to loopback, nor to such a proxy itself."`
	AllowHost             []string       `placeholder:"HOST" help:"Further host name for which a server on loopback with the demo users answers; may be repeated."`
}

// check returns an error that names a flag which is out of range.
func (f *limitFlags) check() error {
	for _, n := range []int{
		f.MaxConnections, f.AddressConnections, f.MaxSubscribers, f.UserStreams, f.AddressStreams,
		f.MaxPublicCalls, f.AddressPublicCalls, f.UserSendBurst, f.AddressWrongPasswords, int(f.UserSends),
	} {
		if n < 0 {
			return errors.New("a limit is negative: give a positive number, or 0 for no limit")
		}
	}
	return nil
}

// limits returns the limits of a server.
func (f *limitFlags) limits(logger *slog.Logger) *limit.Limits {
	return limit.New(limit.Config{
		Connections:           f.MaxConnections,
		ConnectionsPerAddress: f.AddressConnections,
		Streams:               f.MaxSubscribers,
		StreamsPerUser:        f.UserStreams,
		StreamsPerAddress:     f.AddressStreams,
		Public:                f.MaxPublicCalls,
		PublicPerAddress:      f.AddressPublicCalls,
		Sends:                 f.UserSends,
		SendBurst:             f.UserSendBurst,
		WrongPasswords:        f.AddressWrongPasswords,
		Trusted:               f.TrustedProxy,
		Logger:                logger,
	})
}
