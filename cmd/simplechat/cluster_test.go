package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// clusterSize is the number of NATS servers, and of the servers that share
	// them.
	clusterSize = 3
	// clusterStream is their stream.
	clusterStream = "conversation"
)

// Three servers share a cluster of three NATS servers. Whichever of the six dies
// or is cut off, what was acknowledged is kept, all subscribers of all servers
// see it in one order, and clients go on elsewhere where they were.
func TestClusterLosesNothing(t *testing.T) {
	t.Parallel()
	chance := newChance(t)
	c := startCluster(t)
	l := newLoad(t, newLedger())
	c.startClients(l)
	l.awaitMore(100)

	// The leader first: then the others have led, or will.
	for _, n := range append([]int{c.leader()}, chance.Perm(clusterSize)...) {
		t.Logf("NATS server %d is killed after %d acknowledgements", n, l.count())
		c.nats[n].kill()
		l.awaitMore(100)
		c.nats[n].start()
		l.awaitMore(100)
	}
	for _, n := range []int{c.leader(), c.busiest()} {
		t.Logf("NATS server %d is cut off after %d acknowledgements", n, l.count())
		c.cutOff(n, chance)
		l.awaitMore(100)
		c.heal(n)
		l.awaitMore(100)
	}
	for _, n := range chance.Perm(clusterSize) {
		t.Logf("server %d is killed after %d acknowledgements", n, l.count())
		c.servers[n].kill()
		l.awaitMore(100)
		c.servers[n].start()
		l.awaitMore(100)
	}
	report(t, l.finish(c.servers[chance.IntN(clusterSize)].front.url()))
	t.Logf("%d messages acknowledged", l.count())
}

// cluster is NATS servers, and the servers that keep their messages there.
type cluster struct {
	tb      testing.TB
	nats    []*natsServer
	servers []*chatServer
}

// startCluster returns when all servers listen.
func startCluster(tb testing.TB) *cluster {
	tb.Helper()
	c := &cluster{tb: tb}
	for n := range clusterSize {
		c.nats = append(c.nats, &natsServer{tb: tb, name: fmt.Sprintf("n%d", n), dir: tb.TempDir(), clients: newProxy(tb, "")})
	}
	for n, from := range c.nats {
		from.routes = make([]*proxy, clusterSize)
		for m := range c.nats {
			if m != n {
				from.routes[m] = newProxy(tb, "")
			}
		}
	}
	for n, s := range c.nats {
		for _, other := range c.nats {
			if other != s {
				s.incoming = append(s.incoming, other.routes[n])
			}
		}
		s.configure()
		s.start()
	}
	for range clusterSize {
		s := &chatServer{tb: tb, args: []string{"--nats", strings.Join(c.urls(), ","), "--nats-stream", clusterStream}, front: newProxy(tb, "")}
		s.start()
		c.servers = append(c.servers, s)
	}
	return c
}

// urls returns the addresses that clients of the NATS servers know.
func (c *cluster) urls() (urls []string) {
	for _, s := range c.nats {
		urls = append(urls, "nats://"+s.clients.addr)
	}
	return urls
}

// startClients starts clients of every kind: who sends to one server, who
// watches one and comes back to the next, and who uses chatclient for either.
func (c *cluster) startClients(l *load) {
	var fronts []string
	for _, s := range c.servers {
		fronts = append(fronts, s.front.url())
	}
	size := func() int { return 100 }
	l.startSender("user1", fronts[0], true, size)
	l.startSender("user2", fronts[1], true, size)
	l.startSender("user3", fronts[2], false, size)
	l.startClient("user4", strings.Join([]string{fronts[2], fronts[0], fronts[1]}, ","), size)
	for i := range fronts {
		turn := i
		l.startWatcher(fmt.Sprintf("watcher %d", i), func() string {
			turn++
			return fronts[turn%len(fronts)]
		})
	}
	l.startFollower("follower", strings.Join(fronts, ","))
}

// leader returns the NATS server that leads the stream.
func (c *cluster) leader() int {
	c.tb.Helper()
	conn, err := nats.Connect(strings.Join(c.urls(), ","), nats.MaxReconnects(-1))
	if err != nil {
		c.tb.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		c.tb.Fatal(err)
	}
	ctx := testContext(c.tb)
	for {
		stream, err := js.Stream(ctx, clusterStream)
		if err == nil {
			for n, s := range c.nats {
				if cluster := stream.CachedInfo().Cluster; cluster != nil && cluster.Leader == s.name {
					return n
				}
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			c.tb.Fatalf("the stream has no leader: %v", err)
		}
	}
}

// busiest returns the NATS server that most servers are connected to.
func (c *cluster) busiest() int {
	n := 0
	for m, s := range c.nats {
		if s.clients.count() > c.nats[n].clients.count() {
			n = m
		}
	}
	return n
}

// cutOff cuts a NATS server off from the others, and half of the time from its
// clients too.
func (c *cluster) cutOff(n int, chance *rand.Rand) {
	for _, p := range c.links(n) {
		p.cut()
	}
	if chance.IntN(2) == 0 {
		c.nats[n].clients.cut()
	}
}

// heal ends that.
func (c *cluster) heal(n int) {
	for _, p := range append(c.links(n), c.nats[n].clients) {
		p.heal()
	}
}

// links returns the proxies between a NATS server and the others.
func (c *cluster) links(n int) (links []*proxy) {
	for _, p := range append(c.nats[n].routes, c.nats[n].incoming...) {
		if p != nil {
			links = append(links, p)
		}
	}
	return links
}

// natsServer is a NATS server in a process of its own, which is reached only
// over proxies.
type natsServer struct {
	tb       testing.TB
	name     string
	dir      string
	clients  *proxy   // in front of its port for clients
	routes   []*proxy // on its way to each other server
	incoming []*proxy // on the ways of the others to it

	process *process
}

// configure writes the server's configuration.
func (s *natsServer) configure() {
	s.tb.Helper()
	var routes []string
	for _, p := range s.routes {
		if p != nil {
			routes = append(routes, "nats://"+p.addr)
		}
	}
	// What is advertised leads over the proxies, or nowhere: a server that is cut
	// off must not be found on another way.
	config := fmt.Sprintf(`
server_name: %s
listen: "127.0.0.1:-1"
max_payload: 8MB
client_advertise: "%s"
jetstream { store_dir: "%s", sync_interval: always }
cluster { name: test, listen: "127.0.0.1:-1", cluster_advertise: "127.0.0.1:1", routes: [%s] }
`, s.name, s.clients.addr, s.dir, strings.Join(routes, ", "))
	if err := os.WriteFile(s.config(), []byte(config), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *natsServer) config() string { return filepath.Join(s.dir, "nats.conf") }

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
	cmd := exec.Command(program, "-c", s.config())
	s.process = startProcess(s.tb, cmd, cmd.Start)
	route := s.process.waitLog(natsRoutes)[1]
	for _, p := range s.incoming {
		p.to(route)
	}
	s.clients.to(s.process.waitLog(natsClients)[1])
}

// kill ends the server at once.
func (s *natsServer) kill() {
	s.tb.Helper()
	for _, p := range append(s.incoming, s.clients) {
		p.refuse()
	}
	s.process.signal(syscall.SIGKILL)
	s.process.wait(patience)
}

// buildNATS returns the path of nats-server, in the version of go.mod.
var buildNATS = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "nats-server")
	return path, goCommand(repo, "build", "-o", path, "github.com/nats-io/nats-server/v2")
})

// chatServer is a server that may die and come back, at one address.
type chatServer struct {
	tb    testing.TB
	args  []string
	front *proxy

	process *process
}

func (s *chatServer) start() {
	s.tb.Helper()
	s.process = startServer(s.tb, s.args...)
	s.front.to(s.process.addr)
}

// kill ends the server at once.
func (s *chatServer) kill() {
	s.tb.Helper()
	s.front.refuse()
	s.process.signal(syscall.SIGKILL)
	s.process.wait(patience)
}
