package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"example.com/simplechat/cmd/simplechat/internal/limit"
)

// limitFlags bound the resources that clients can use. Zero is no limit.
type limitFlags struct {
	BodyBytes             byteSize       `default:"64MiB" placeholder:"SIZE" help:"Memory for messages that are being received (${default})."`
	PendingBytes          byteSize       `default:"64MiB" placeholder:"SIZE" help:"Memory for batches that subscribers have not read (${default})."`
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
	TrustedProxy          []netip.Prefix `placeholder:"CIDR" help:"Proxy whose X-Forwarded-For has the client's address; may be repeated. A proxy on a Unix socket is always one. Limits of one address or user do not apply to loopback or to such a proxy itself."`
	ProxyProtocol         bool           `help:"Connections from a trusted proxy begin with the header of the PROXY protocol (version 1 or 2), which has the client's address."`
	AllowHost             []string       `placeholder:"HOST" help:"Another host name that requests may use to reach a server on loopback with the demo users, or --ops-listen on loopback; may be repeated."`
}

// check returns an error that names a flag which is out of range.
func (f *limitFlags) check(maxContent int64) error {
	if least := 6*maxContent + 1<<20; int64(f.BodyBytes) < least {
		return fmt.Errorf("--body-bytes %d: it must be at least %d for the largest message", int64(f.BodyBytes), least)
	}
	if f.PendingBytes < 1<<20 {
		return fmt.Errorf("--pending-bytes %d: it must be at least 1MiB", int64(f.PendingBytes))
	}
	if f.ProxyProtocol && len(f.TrustedProxy) == 0 {
		return errors.New("--proxy-protocol has no effect without --trusted-proxy: give the proxy's address as --trusted-proxy CIDR")
	}
	if !(f.UserSends >= 0) { // also true for NaN
		return fmt.Errorf("--user-sends %v: it must not be negative, 0 for no limit", f.UserSends)
	}
	for _, flag := range []struct {
		name  string
		value int
	}{
		{"max-connections", f.MaxConnections},
		{"address-connections", f.AddressConnections},
		{"max-subscribers", f.MaxSubscribers},
		{"user-streams", f.UserStreams},
		{"address-streams", f.AddressStreams},
		{"max-public-calls", f.MaxPublicCalls},
		{"address-public-calls", f.AddressPublicCalls},
		{"user-send-burst", f.UserSendBurst},
		{"address-wrong-passwords", f.AddressWrongPasswords},
	} {
		if flag.value < 0 {
			return fmt.Errorf("--%s %d: it must not be negative, 0 for no limit", flag.name, flag.value)
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
		ProxyProtocol:         f.ProxyProtocol,
		Logger:                logger,
	})
}
