package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
)

// The two ends of a network, each in a network namespace of its own.
const (
	serverEnd = "10.77.0.1"
	clientEnd = "10.77.0.2"
	// tunnelEnds is the variable with the own address and the other's.
	tunnelEnds = "TEST_TUNNEL_ENDS"
	// tunnelFile is the number of the file that carries the packets, each in a datagram.
	tunnelFile = 3
	// roughServer is the variable that makes TestRoughNetwork the clients of a server.
	roughServer = "TEST_ROUGH_SERVER"
)

var _ = addProgram("in a namespace", runInNamespace)

// runInNamespace runs the command in its arguments. The network namespace has one end of the
// network, and nothing else.
func runInNamespace() error {
	var own, other string
	if _, err := fmt.Sscan(os.Getenv(tunnelEnds), &own, &other); err != nil {
		return err
	}
	tunnel, err := openTunnel(netip.MustParseAddr(own), netip.MustParseAddr(other))
	if err != nil {
		return err
	}
	packets := os.NewFile(tunnelFile, "packets")
	relay := func(to io.Writer, from io.Reader) {
		for packet := make([]byte, 64<<10); ; {
			n, err := from.Read(packet)
			if err != nil {
				return
			}
			_, _ = to.Write(packet[:n]) // a packet that cannot be sent is lost
		}
	}
	go relay(packets, tunnel)
	go func() {
		relay(tunnel, packets)
		os.Exit(1) // the test has ended, and so do all processes here
	}()
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, otherProgram+"=") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	return cmd.Run()
}

// openTunnel makes a network interface. Its packets are read from the file and written to it
// (Documentation/networking/tuntap.rst of Linux).
func openTunnel(own, other netip.Addr) (*os.File, error) {
	const name = "rough"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(sock) // it only carried requests
	address := func(a netip.Addr) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { return r.SetInet4Addr(a.AsSlice()) }
	}
	flags := func(flags uint16) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { r.SetUint16(flags); return nil }
	}
	for _, step := range []struct {
		name    string
		fd      int
		request uint
		set     func(*unix.Ifreq) error
	}{
		{"TUNSETIFF", fd, unix.TUNSETIFF, flags(unix.IFF_TUN | unix.IFF_NO_PI)},
		{"SIOCSIFADDR", sock, unix.SIOCSIFADDR, address(own)},
		{"SIOCSIFDSTADDR", sock, unix.SIOCSIFDSTADDR, address(other)},
		{"SIOCSIFFLAGS", sock, unix.SIOCSIFFLAGS, flags(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_POINTOPOINT | unix.IFF_NOARP)},
	} {
		request, err := unix.NewIfreq(name)
		if err != nil {
			return nil, err
		}
		if err := step.set(request); err != nil {
			return nil, err
		}
		if err := unix.IoctlIfreq(step.fd, step.request, request); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return os.NewFile(uintptr(fd), "tunnel"), nil
}

// namespaceCommand returns a command that runs args at one end of the network, and the
// packets of that end. All processes at that end die with the command.
func namespaceCommand(tb testing.TB, own, other string, args ...string) (*exec.Cmd, net.Conn) {
	tb.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	packets, err := net.FileConn(near)
	if err != nil {
		tb.Fatal(err)
	}
	_ = near.Close() // FileConn has a copy
	tb.Cleanup(func() { _, _ = packets.Close(), far.Close() })
	cmd := exec.CommandContext(chattest.Context(tb, 3*patience), os.Args[0], args...)
	cmd.Env = append(os.Environ(), otherProgram+"=in a namespace", tunnelEnds+"="+own+" "+other)
	cmd.ExtraFiles = []*os.File{far} // number tunnelFile
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd, packets
}

// roughPath carries packets from one end to the other: late, not all of them, not in
// their order, and none while it is a black hole.
type roughPath struct{ isHole atomic.Bool }

// carry returns when from ends.
func (p *roughPath) carry(to io.Writer, from io.Reader) {
	for packet := make([]byte, 64<<10); ; {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if p.isHole.Load() || rand.IntN(50) == 0 {
			continue
		}
		late := bytes.Clone(packet[:n])
		time.AfterFunc(5*time.Millisecond+rand.N(10*time.Millisecond), func() { _, _ = to.Write(late) })
	}
}

// Over a network that delays, loses and reorders packets, and is a black hole now and then,
// nothing that was acknowledged is lost, nothing comes twice, and a stream lives for the whole
// run.
func TestRoughNetwork(t *testing.T) {
	t.Parallel()
	if url := os.Getenv(roughServer); url != "" {
		useRoughNetwork(t, url)
		return
	}
	probe, _ := namespaceCommand(t, serverEnd, clientEnd, "true")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("make a network namespace with a tunnel: %v: %s", err, out)
	}
	serve, atServer := namespaceCommand(t, serverEnd, clientEnd, append([]string{simplechat(t), "serve", "--listen=" + serverEnd + ":65002",
		"--ops-listen=off", "--data=" + t.TempDir(), "--demo-users", "--heartbeat=1s"}, load.Unlimited()...)...)
	startProcess(t, serve, serve.Start).awaitListening()
	clients, atClient := namespaceCommand(t, clientEnd, serverEnd, os.Args[0], "-test.run=^TestRoughNetwork$", "-test.count=1", "-test.v")
	clients.Env = append(clients.Env, roughServer+"=http://"+serverEnd+":65002")
	var path roughPath
	go path.carry(atServer, atClient)
	go path.carry(atClient, atServer)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if out, err := clients.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestRoughNetwork")) {
			t.Errorf("the clients: %v\n%s", err, out)
		}
	}()
	holes := 0
	for {
		path.isHole.Store(false)
		select {
		case <-ended:
			if holes < 2 {
				t.Errorf("the network was a black hole %d times", holes)
			}
			return
		case <-time.After(3 * time.Second):
		}
		path.isHole.Store(true)
		holes++
		time.Sleep(rand.N(2 * time.Second))
	}
}

// useRoughNetwork is the clients of TestRoughNetwork, in the other process.
func useRoughNetwork(t *testing.T, url string) {
	l := load.New(t, ledger.New())
	for i := range 4 {
		l.StartClient(fmt.Sprintf("user%d", i+1), url, func() int { return 10 << rand.IntN(12) })
	}
	l.StartFollower("comes back", url, chatclient.WithSilence(3*time.Second))
	// TCP doubles its pause with each packet that is lost in a row, so silence may be long.
	l.StartFollower("stays", url, chatclient.WithSilence(0), chatclient.WithRetryObserver(func(r chatclient.Retry) {
		l.Blamef("the stream that was to live for the whole run ended: %v", r.Err)
	}))
	l.StartWatcher("of any library", func() string { return url })
	for range 10 {
		l.AwaitMore(20)
		l.Wait(time.Second)
	}
	ledger.Report(t, l.Finish(url))
	t.Logf("%d messages acknowledged", l.Count())
}
