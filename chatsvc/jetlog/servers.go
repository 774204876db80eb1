package jetlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A NATS server has another identity after each start. The stream's metadata names
// those of its replicas. If most replicas were restarted since, acknowledged records
// that were not on a disk yet may be lost, and the stream would give their offsets to
// others: a new epoch begins. Servers that restart one after the other are noticed one
// by one, as long as one of our servers runs.

const (
	// serversKey is where the stream's metadata has the identities.
	serversKey = "simplechat-nats-servers"
	// unsureTime is how long the log waits for a connection to a replica's server
	// before it decides without it.
	unsureTime = 5 * time.Second
)

// errUnsure means that it is not known yet whether the epoch can be trusted.
var errUnsure = errors.New("waiting for connections to the stream's nats servers, to see whether they were restarted")

// identities are the identities of NATS servers by their names.
type identities map[string]string

func parseIdentities(text string) identities {
	got := make(identities)
	for one := range strings.SplitSeq(text, ",") {
		if name, id, ok := strings.Cut(one, "="); ok {
			got[name] = id
		}
	}
	return got
}

// String is what parseIdentities parses.
func (i identities) String() string {
	all := make([]string, 0, len(i))
	for _, name := range slices.Sorted(maps.Keys(i)) {
		all = append(all, name+"="+i[name])
	}
	return strings.Join(all, ",")
}

// checkServers fails with [errReplaced] if the stream gets another epoch because
// most of its replicas were restarted, and with [errUnsure] while that is not known.
// It keeps the identities in the metadata up to date.
func (l *Log) checkServers(ctx context.Context, info *jetstream.StreamInfo) error {
	if l.isRetired(epochOf(info)) { // two of our servers have changed the metadata at the same time
		return l.beginEpoch(ctx, info)
	}
	l.servers.meet()
	known := parseIdentities(info.Config.Metadata[serversKey])
	now := l.servers.identities()
	replicas := replicasOf(info, l.conn)
	same, restarted := 0, 0
	next := make(identities)
	for name, offline := range replicas {
		id, seen := now[name]
		switch {
		case seen && id == known[name]:
			same++
		case seen && known[name] != "", !seen && offline && l.servers.hasWaited():
			restarted++
		}
		if !seen {
			id = known[name]
		}
		if id != "" {
			next[name] = id
		}
	}
	quorum := len(replicas)/2 + 1
	most := len(replicas)-restarted < quorum
	switch {
	case same >= quorum:
		l.servers.stopWaiting()
	case len(known) < quorum || info.State.LastSeq == 0: // nothing is known of the time before, or nothing can be lost
	case l.cluster.SyncAlways:
		if most {
			l.logger.Warn("most nats servers of the stream were restarted: no message is lost, as they are said to run with sync_interval: always", "stream", l.stream)
		}
	case !most && !l.servers.hasWaited(): // it depends on those that were not seen
		return errUnsure
	case !most:
		l.servers.warnUnseen(replicas, now)
	default:
		l.logger.Error("most nats servers of the stream were restarted and may have lost acknowledged messages: a new epoch begins, and clients read the history again; "+
			"to avoid that, set sync_interval: always on all of them and tell this server so, or restart them one after the other while this server runs",
			"stream", l.stream, "first", info.State.FirstSeq, "last", info.State.LastSeq)
		return l.beginEpoch(ctx, info)
	}
	if next.String() == info.Config.Metadata[serversKey] {
		return nil
	}
	if err := l.setMetadata(ctx, info, map[string]string{serversKey: next.String()}); err != nil {
		return fmt.Errorf("note the identities of the nats servers: %w", err)
	}
	return nil
}

// replicasOf returns the names of the servers that keep a stream, and whether they
// are away.
func replicasOf(info *jetstream.StreamInfo, conn *nats.Conn) map[string]bool {
	if info.Cluster == nil {
		return map[string]bool{conn.ConnectedServerName(): false}
	}
	replicas := map[string]bool{info.Cluster.Leader: false}
	for _, r := range info.Cluster.Replicas {
		replicas[r.Name] = r.Offline
	}
	return replicas
}

// servers are connections to all NATS servers that are known. They tell the
// identity of each, and when it changes. It is safe for concurrent use.
type servers struct {
	log *Log

	mu       sync.Mutex            // guards all below
	conns    map[string]*nats.Conn // by address; nil until the first try has ended
	unsure   time.Time             // since when a quorum is not known to be the same; zero: it is
	warned   string                // the servers that were named as unseen last
	isClosed bool
	dialing  sync.WaitGroup
}

func newServers(l *Log) *servers {
	return &servers{log: l, conns: make(map[string]*nats.Conn)}
}

// meet connects to the servers that it has no connection to.
func (s *servers) meet() {
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

// urls returns those of the servers that the operator has named, and that the
// servers know of.
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

// identities returns those of the servers that are connected.
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

// stopWaiting notes that a quorum is known to be the same.
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
		s.log.logger.Warn("nats servers of the stream cannot be reached from here: a power cut that takes most of them may not be noticed; give the URLs of all of them", "servers", text)
	}
	s.warned = text
}

// close closes the connections; meet does nothing any more.
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
