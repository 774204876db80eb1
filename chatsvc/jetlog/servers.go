package jetlog

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// servers holds a connection to each known NATS server, to learn its identity and to
// notice when it changes. It is safe for concurrent use.
type servers struct {
	log *Log

	mu       sync.Mutex            // guards all below
	conns    map[string]*nats.Conn // by address; nil until the first try has ended
	unsure   time.Time             // since when it is not known that a quorum was not restarted; zero: it is known
	warned   string                // the unseen servers in the last warning
	isClosed bool
	dialing  sync.WaitGroup
}

func newServers(l *Log) *servers {
	return &servers{log: l, conns: make(map[string]*nats.Conn)}
}

// connectAll connects to all servers to which it has no connection.
func (s *servers) connectAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsure.IsZero() {
		s.unsure = time.Now()
	}
	for _, u := range s.urls() {
		if _, ok := s.conns[u.Host]; ok || s.isClosed {
			continue
		}
		s.conns[u.Host] = nil
		s.dialing.Go(func() { s.dial(u) })
	}
}

// urls returns the URLs of the servers that the operator has named and of those that the
// servers announce.
func (s *servers) urls() []*url.URL {
	var urls []*url.URL
	for _, raw := range s.log.cluster.URLs {
		if u, err := url.Parse(raw); err == nil {
			urls = append(urls, u)
		}
	}
	for _, raw := range s.log.conn.DiscoveredServers() {
		if u, err := url.Parse(raw); err == nil {
			if u.User == nil {
				u.User = urls[0].User
			}
			urls = append(urls, u)
		}
	}
	return urls
}

// dial connects to one server, and keeps the connection.
func (s *servers) dial(u *url.URL) {
	conn, err := nats.Connect(u.String(), append(s.log.options(),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreDiscoveredServers(),
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(*nats.Conn) { s.log.checkSoon() }),
		nats.ReconnectHandler(func(*nats.Conn) { s.log.checkSoon() }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the log's own connection reports them
	)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.log.logger.Warn("cannot watch a nats server for restarts", "server", u.Host, "error", err)
		return
	}
	s.conns[u.Host] = conn
}

// identities returns the identities of the connected servers.
func (s *servers) identities() identities {
	got := make(identities)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		if conn != nil && conn.IsConnected() {
			got[conn.ConnectedServerName()] = conn.ConnectedServerId()
		}
	}
	if conn := s.log.conn; conn.IsConnected() {
		got[conn.ConnectedServerName()] = conn.ConnectedServerId()
	}
	return got
}

// stopWaiting notes that a quorum is known not to have been restarted.
func (s *servers) stopWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsure = time.Time{}
}

// hasWaited reports whether the log has waited long enough for connections.
func (s *servers) hasWaited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.unsure) > unsureTime
}

// warnUnseen logs which servers cannot be reached, once.
func (s *servers) warnUnseen(replicas map[string]bool, seen identities) {
	var unseen []string
	for name := range replicas {
		if seen[name] == "" {
			unseen = append(unseen, name)
		}
	}
	slices.Sort(unseen)
	text := strings.Join(unseen, ", ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != s.warned {
		s.log.logger.Warn("nats servers of the stream cannot be reached from here: a power cut of most of them may not be noticed; give the URLs of all of them", "servers", text)
	}
	s.warned = text
}

// close closes the connections; connectAll does nothing after it.
func (s *servers) close() {
	s.mu.Lock()
	s.isClosed = true
	s.mu.Unlock()
	s.dialing.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		if conn != nil {
			conn.Close()
		}
	}
}
