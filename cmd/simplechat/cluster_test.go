package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/proxy"
)

const (
	// clusterSize is the number of NATS servers, and of the servers that share
	// them.
	clusterSize = 3
	// clusterStream is their stream.
	clusterStream = "conversation"
)

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
		c.nats = append(c.nats, newNATSServer(tb, fmt.Sprintf("n%d", n), ""))
	}
	for _, from := range c.nats {
		for _, to := range c.nats {
			if from != to {
				link := proxy.New(tb, "")
				from.routes, to.incoming = append(from.routes, link), append(to.incoming, link)
			}
		}
	}
	for _, s := range c.nats {
		s.start()
	}
	for range clusterSize {
		s := &chatServer{tb: tb, args: append(load.Unlimited(), "--nats", strings.Join(c.urls(), ","), "--nats-stream", clusterStream, "--nats-sync-always"), front: proxy.New(tb, "")}
		s.start()
		c.servers = append(c.servers, s)
	}
	return c
}

// urls returns the addresses that clients of the NATS servers know.
func (c *cluster) urls() (urls []string) {
	for _, s := range c.nats {
		urls = append(urls, s.url())
	}
	return urls
}

// startClients starts clients of every kind: senders to one server, watchers that resume
// on the next server, and both with chatclient.
func (c *cluster) startClients(l *load.Load) {
	var fronts []string
	for _, s := range c.servers {
		fronts = append(fronts, s.front.URL())
	}
	size := func() int { return 100 }
	l.StartSender("user1", fronts[0], true, size)
	l.StartSender("user2", fronts[1], true, size)
	l.StartSender("user3", fronts[2], false, size)
	l.StartClient("user4", strings.Join([]string{fronts[2], fronts[0], fronts[1]}, ","), size)
	for i := range fronts {
		turn := i
		l.StartWatcher(fmt.Sprintf("watcher %d", i), func() string {
			turn++
			return fronts[turn%len(fronts)]
		})
	}
	l.StartFollower("follower", strings.Join(fronts, ","))
}

// leader returns the NATS server that leads the stream.
func (c *cluster) leader() int {
	c.tb.Helper()
	info := c.awaitStream(func(info *jetstream.StreamInfo) bool { return info.Cluster.Leader != "" })
	return slices.IndexFunc(c.nats, func(s *natsServer) bool { return s.name == info.Cluster.Leader })
}

// awaitCurrent returns when all replicas of the stream have all of it: until then
// a server that fails is not the only one.
func (c *cluster) awaitCurrent() {
	c.tb.Helper()
	c.awaitStream(func(info *jetstream.StreamInfo) bool {
		behind := func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline }
		return info.Cluster.Leader != "" && len(info.Cluster.Replicas) == clusterSize-1 && !slices.ContainsFunc(info.Cluster.Replicas, behind)
	})
}

// awaitStream returns when the stream is as it is to be.
func (c *cluster) awaitStream(is func(*jetstream.StreamInfo) bool) *jetstream.StreamInfo {
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
	ctx := chattest.Context(c.tb, patience)
	for {
		stream, err := js.Stream(ctx, clusterStream)
		if err == nil && stream.CachedInfo().Cluster != nil && is(stream.CachedInfo()) {
			return stream.CachedInfo()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			c.tb.Fatalf("the stream is not as it is to be: %v", err)
		}
	}
}

// busiest returns the NATS server that most servers are connected to.
func (c *cluster) busiest() int {
	n := 0
	for m, s := range c.nats {
		if s.clients.Count() > c.nats[n].clients.Count() {
			n = m
		}
	}
	return n
}

// cutOff cuts a NATS server off from the others, and from its clients if they
// are to suffer too.
func (c *cluster) cutOff(n int, clients bool) {
	for _, p := range c.links(n) {
		p.Cut()
	}
	if clients {
		c.nats[n].clients.Cut()
	}
}

// heal ends that.
func (c *cluster) heal(n int) {
	for _, p := range append(c.links(n), c.nats[n].clients) {
		p.Heal()
	}
}

// links returns the proxies between a NATS server and the others.
func (c *cluster) links(n int) []*proxy.Proxy {
	return slices.Concat(c.nats[n].routes, c.nats[n].incoming)
}

// chatServer is a server that may die and come back, at one address.
type chatServer struct {
	tb    testing.TB
	args  []string
	front *proxy.Proxy

	process *process
}

func (s *chatServer) start() {
	s.tb.Helper()
	s.process = startServer(s.tb, s.args...)
	s.front.To(s.process.addr)
}

// kill ends the server at once.
func (s *chatServer) kill() {
	s.tb.Helper()
	s.front.Refuse()
	s.process.signal(syscall.SIGKILL)
	s.process.wait(patience)
}
