package jetlog_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/logtest"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// cluster is NATS servers on loopback that form one.
type cluster struct {
	dir     string
	options []*server.Options
	servers []*server.Server
}

// newCluster starts a cluster of n servers. It ends with the test.
func newCluster(tb testing.TB, n int) *cluster {
	tb.Helper()
	c := &cluster{dir: tb.TempDir(), servers: make([]*server.Server, n)}
	ports := freePorts(tb, 2*n)
	var routes []*url.URL
	for i := range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[n+i])})
	}
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i),
			Host:       "127.0.0.1", Port: ports[i],
			NoSigs: true, NoLog: true,
			MaxPayload: 8 << 20,
			JetStream:  true, StoreDir: filepath.Join(c.dir, fmt.Sprint(i)),
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "chat", Host: "127.0.0.1", Port: ports[n+i]}
			o.Routes = routes
		}
		c.options = append(c.options, o)
	}
	for i := range n {
		c.start(tb, i)
	}
	tb.Cleanup(func() {
		for i := range n {
			c.stop(i)
		}
	})
	return c
}

// freePorts returns ports of loopback that nobody listens on.
func freePorts(tb testing.TB, n int) []int {
	tb.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close() // all are open at a time, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// start starts the server i.
func (c *cluster) start(tb testing.TB, i int) {
	tb.Helper()
	srv, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		tb.Fatalf("NATS server %d does not start", i)
	}
	c.servers[i] = srv
}

// stop ends the server i.
func (c *cluster) stop(i int) {
	if srv := c.servers[i]; srv != nil {
		c.servers[i] = nil
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// wipe removes all that the server i has stored.
func (c *cluster) wipe(tb testing.TB, i int) {
	tb.Helper()
	if err := os.RemoveAll(c.options[i].StoreDir); err != nil {
		tb.Fatal(err)
	}
}

// urls returns the servers' addresses.
func (c *cluster) urls() []string {
	var urls []string
	for _, o := range c.options {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return urls
}

// settings returns how to reach a stream of the cluster.
func (c *cluster) settings(stream string) jetlog.Cluster {
	return jetlog.Cluster{URLs: c.urls(), Stream: stream, Replicas: len(c.options), MaxContent: chatsvc.MaxContentCeiling}
}

// opener returns what opens a stream of the cluster, each time with a
// connection of its own.
func (c *cluster) opener(stream string, r chatsvc.Retention) logtest.Opener {
	return func(tb testing.TB) (chatsvc.Log, func()) {
		log := c.connect(tb, stream, jetlog.Options{Retention: r, Logger: logger(tb)})
		return log, func() {
			if err := log.Close(); err != nil {
				tb.Error(err)
			}
		}
	}
}

func (c *cluster) connect(tb testing.TB, stream string, opts jetlog.Options) *jetlog.Log {
	tb.Helper()
	log, err := jetlog.Connect(tb.Context(), c.settings(stream), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return log
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	var streams atomic.Int64
	newLog := func(_ testing.TB, r chatsvc.Retention) logtest.Opener {
		return c.opener(fmt.Sprint("s", streams.Add(1)), r)
	}
	t.Run("log", func(t *testing.T) { logtest.Log(t, newLog) })
	t.Run("resume", func(t *testing.T) { logtest.Resume(t, newLog) })
}
