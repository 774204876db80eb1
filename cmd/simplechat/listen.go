package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

const (
	// unixPrefix is the prefix of an address that is a path.
	unixPrefix = "unix:"
	// socketMode lets proxies in the same group connect.
	socketMode = 0o660
)

// listen opens all addresses. It fails if the demo users could be reached from a network.
// Sockets that systemd passes on replace --listen.
func (c *serveCmd) listen(ctx context.Context, logger *slog.Logger) ([]net.Listener, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of systemd: %w", err)
	}
	if len(listeners) > 0 {
		for _, l := range listeners {
			if l == nil {
				return nil, errors.New("sockets of systemd: one of them is not a stream socket: use ListenStream= in the socket unit")
			}
		}
		return listeners, errors.Join(c.checkAddresses(listeners, logger)...)
	}
	for _, address := range c.Listen {
		l, err := c.listenOn(ctx, address)
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	c.checkAddresses(listeners, logger)
	return listeners, nil
}

// checkAddresses returns an error for each listener where the demo users can be reached
// from a network, and warns about listeners where passwords travel in clear text.
func (c *serveCmd) checkAddresses(listeners []net.Listener, logger *slog.Logger) (errs []error) {
	for _, l := range listeners {
		tcp, ok := l.Addr().(*net.TCPAddr)
		if !ok || tcp.IP.IsLoopback() {
			continue
		}
		if c.Users == "" && !c.DemoUsers {
			errs = append(errs, demoUsersError(tcp.String()))
		}
		if !c.TLS.isOn() {
			logger.Warn("passwords travel in clear text to this address: give --tls-cert and --tls-key, or listen on loopback behind a proxy with TLS", "addr", tcp.String())
		}
	}
	return errs
}

func demoUsersError(address string) error {
	return fmt.Errorf("--listen %q is not loopback, and everybody knows the demo users' password: give --users FILE, or --demo-users to allow it", address)
}

// listenOn opens one address, HOST:PORT or unix:PATH.
func (c *serveCmd) listenOn(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, errors.New("--listen is empty: give HOST:PORT or unix:PATH")
	}
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(ctx, path)
	}
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen %q: %w", address, err)
	}
	if c.Users == "" && !c.DemoUsers && !addr.IP.IsLoopback() {
		return nil, demoUsersError(address)
	}
	listener, err := listenTCP(ctx, addr.String())
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", explainListen(err))
	}
	return listener, nil
}

func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	// Multipath TCP sockets lack TCP_QUICKACK and most statistics of connections, and no
	// chat client uses them.
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", address)
}

// listenUnix opens a socket in the file system. It replaces a socket file that another
// server has left there, but not one on which a server listens.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("--listen unix:%s: another server listens on it: stop it, or give another path", path)
		}
		_ = os.Remove(path) // if that fails, so does the next call
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("--listen unix: %w", explainListen(err))
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("--listen unix: %w", err)
	}
	return listener, nil
}

// explainListen adds to an error of listening what to do.
func explainListen(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: stop the program that uses it, or give another port; port 0 picks a free one", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: ports below 1024 need the capability CAP_NET_BIND_SERVICE, and a path needs a directory that this user may write", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: this machine does not have the address; 0.0.0.0 or [::] stands for all its addresses", err)
	}
	return err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}
