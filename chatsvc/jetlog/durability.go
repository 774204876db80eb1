package jetlog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// logDurability logs which failures an acknowledged message survives, and warns if these
// are few. It returns an error if the servers are known to differ from the settings.
func (l *Log) logDurability(ctx context.Context) error {
	logger := l.logger.With("stream", l.stream, "replicas", l.config.Replicas)
	if l.config.Replicas < 3 {
		logger.Warn("an acknowledged message is kept by one nats server: it is lost with that server's disk, and while the server is away nothing can be sent; give --nats-replicas 3")
	} else {
		logger.Info("an acknowledged message is kept by most of the replicas' nats servers: it survives the loss of the others")
	}
	sync := l.serverSync(ctx)
	switch {
	case sync == syncAlways:
		logger.Info("the nats servers write to the disk before they acknowledge")
	case sync == "" && l.cluster.SyncAlways:
		logger.Info("the nats servers write to the disk before they acknowledge, as --nats-sync-always says; this user may not see their sync_interval")
	case sync == "":
		logger.Warn("this user may not see the nats servers' sync_interval: unless it is \"always\", a power cut of all of them at once may lose the messages of the last interval, 2 minutes by default; set sync_interval: always on all of them and start this server with --nats-sync-always")
	case l.cluster.SyncAlways:
		return fmt.Errorf("--nats-sync-always says that the nats servers run with sync_interval: always, but one of them has %s: set it on all of them", sync)
	default:
		logger.Warn("the nats servers do not write to the disk before they acknowledge: a power cut of all of them at once may lose the messages of the last interval; set sync_interval: always on all of them and start this server with --nats-sync-always", "sync_interval", sync)
	}
	return nil
}

// syncAlways is the sync_interval of a NATS server that writes to the disk before it
// acknowledges.
const syncAlways = "always"

// serverSync returns the weakest sync_interval among the servers that answer,
// or an empty string if none answers: only users with access to the system account
// may ask.
func (l *Log) serverSync(ctx context.Context) string {
	inbox := l.conn.NewInbox()
	answers, err := l.conn.SubscribeSync(inbox)
	if err != nil {
		return ""
	}
	defer answers.Unsubscribe() //nolint:errcheck // the connection is gone then, and the subscription too
	if err := l.conn.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, nil); err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime/4)
	defer cancel()
	weakest := ""
	longest := time.Duration(0)
	for {
		msg, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return weakest
		}
		var answer struct {
			Data struct {
				Disabled bool `json:"disabled"`
				Config   struct {
					SyncInterval time.Duration `json:"sync_interval"` //nolint:tagliatelle // the name is the NATS server's
					SyncAlways   bool          `json:"sync_always"`   //nolint:tagliatelle // the name is the NATS server's
				} `json:"config"`
			} `json:"data"`
		}
		if len(msg.Data) == 0 || json.Unmarshal(msg.Data, &answer) != nil || answer.Data.Disabled {
			continue
		}
		switch config := answer.Data.Config; {
		case !config.SyncAlways && config.SyncInterval >= longest:
			longest = config.SyncInterval
			weakest = longest.String()
		case weakest == "":
			weakest = syncAlways
		}
	}
}
