package jetlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A NATS server gets a new identity at each start. The stream's metadata has the
// identities of its replicas. If most replicas were restarted since, acknowledged records
// that were not on a disk may be lost, and the stream would give their offsets to
// other records: so a new epoch begins. Servers that restart one after the other are noticed
// one by one, as long as one of our servers runs.

const (
	// serversKey is the key of the identities in the stream's metadata.
	serversKey = "simplechat-nats-servers"
	// unsureTime is how long the log waits for a connection to a replica's server
	// before it decides without it.
	unsureTime = 5 * time.Second
)

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

// String returns the text that parseIdentities parses.
func (i identities) String() string {
	all := make([]string, 0, len(i))
	for _, name := range slices.Sorted(maps.Keys(i)) {
		all = append(all, name+"="+i[name])
	}
	return strings.Join(all, ",")
}

// checkServers fails with [errNewEpoch] if the stream gets another epoch because
// most of its replicas were restarted, and with [errUnsure] while that is not known.
// It also updates the identities in the metadata.
func (l *Log) checkServers(ctx context.Context, info *jetstream.StreamInfo) error {
	if l.isRetired(epochOf(info)) { // two of our servers have changed the metadata at the same time
		return l.beginEpoch(ctx, info)
	}
	l.servers.connectAll()
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
			l.logger.Warn("most nats servers of the stream were restarted: no message is lost, because --nats-sync-always says that they run with sync_interval: always", "stream", l.stream)
		}
	case !most && !l.servers.hasWaited(): // it depends on the servers that were not seen
		return errUnsure
	case !most:
		l.servers.warnUnseen(replicas, now)
	default:
		l.logger.Error("most nats servers of the stream were restarted and may have lost acknowledged messages: a new epoch begins, and clients read the history again; "+
			"to avoid this, set sync_interval: always on all of them and start this server with --nats-sync-always, or restart them one after the other while this server runs",
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

// replicasOf returns the names of the servers that keep a stream, and whether each is
// offline.
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

// errUnsure means that it is not known yet whether the epoch can be trusted.
var errUnsure = errors.New("waiting for connections to the stream's nats servers, to see whether they were restarted")
