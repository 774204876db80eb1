package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"example.com/simplechat/cmd/simplechat/internal/proxy"
)

// natsServer is a NATS server in a process of its own, which is reached only
// over proxies: its address stays while it comes and goes.
type natsServer struct {
	tb       testing.TB
	name     string
	settings string         // of its configuration, beyond what all have
	dir      string         // with its configuration and its messages
	clients  *proxy.Proxy   // in front of its port for clients
	routes   []*proxy.Proxy // on its way to each other server of its cluster
	incoming []*proxy.Proxy // on the ways of the others to it

	process *process
}

// newNATSServer returns a server that is yet to be started.
func newNATSServer(tb testing.TB, name, settings string) *natsServer {
	tb.Helper()
	return &natsServer{tb: tb, name: name, settings: settings, dir: tb.TempDir(), clients: proxy.New(tb, "")}
}

// startNATS starts a server that is no cluster's.
func startNATS(tb testing.TB, settings string) *natsServer {
	tb.Helper()
	s := newNATSServer(tb, "alone", settings)
	s.start()
	return s
}

// url returns the address that clients know.
func (s *natsServer) url() string { return "nats://" + s.clients.Addr }

// store is the directory with the messages.
func (s *natsServer) store() string { return filepath.Join(s.dir, "store") }

// configure writes the configuration, and returns the file.
func (s *natsServer) configure() string {
	s.tb.Helper()
	// The advertised addresses are those of the proxies, or none: a server that is cut off
	// must not be reachable in another way.
	config := fmt.Sprintf(`
server_name: %s
listen: "127.0.0.1:-1"
max_payload: 8MB
client_advertise: %q
jetstream { store_dir: %q, sync_interval: always }
%s
`, s.name, s.clients.Addr, s.store(), s.settings)
	if len(s.routes) > 0 {
		var routes []string
		for _, p := range s.routes {
			routes = append(routes, "nats://"+p.Addr)
		}
		config += fmt.Sprintf(`cluster { name: test, listen: "127.0.0.1:-1", cluster_advertise: "127.0.0.1:1", routes: [%s] }`, strings.Join(routes, ", "))
	}
	path := filepath.Join(s.dir, "nats.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return path
}

var (
	natsClients = regexp.MustCompile(`Listening for client connections on (\S+)`)
	natsRoutes  = regexp.MustCompile(`Listening for route connections on (\S+)`)
)

// start starts the server, and returns when it listens.
func (s *natsServer) start() {
	s.tb.Helper()
	program, err := buildNATS()
	if err != nil {
		s.tb.Fatal(err)
	}
	cmd := exec.Command(program, "-c", s.configure())
	s.process = startProcess(s.tb, cmd, cmd.Start)
	for _, p := range s.incoming {
		p.To(s.process.waitLog(natsRoutes)[1])
	}
	s.clients.To(s.process.waitLog(natsClients)[1])
}

// kill ends the server at once.
func (s *natsServer) kill() {
	s.tb.Helper()
	for _, p := range s.incoming {
		p.Refuse()
	}
	s.clients.Refuse()
	s.process.signal(syscall.SIGKILL)
	s.process.wait(patience)
}

// buildNATS returns the path of nats-server, in the version of go.mod.
var buildNATS = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "nats-server")
	return path, goCommand(repo, "build", "-o", path, "github.com/nats-io/nats-server/v2")
})
