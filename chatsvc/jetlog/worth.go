package jetlog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// sayWorth logs what an acknowledgement is worth, and warns if that is little.
func (l *Log) sayWorth(ctx context.Context) {
	logger := l.logger.With("stream", l.stream, "replicas", l.config.Replicas)
	if l.config.Replicas < 3 {
		logger.Warn("an acknowledged message is kept by one nats server: it is lost with that server's disk, and while the server is away nothing can be sent; give --nats-replicas 3")
	} else {
		logger.Info("an acknowledged message is kept by most of the replicas' nats servers: it survives the loss of the others")
	}
	switch sync := l.serverSync(ctx); sync {
	case "":
		logger.Warn("this user may not see the nats servers' sync_interval: unless it is \"always\", a power cut that takes all of them at once may take the messages of the last interval, 2 minutes by default")
	case syncAlways:
		logger.Info("the nats servers write to the disk before they acknowledge")
	default:
		logger.Warn("the nats servers do not write to the disk before they acknowledge: a power cut that takes all of them at once may take the messages of the last interval; set sync_interval: always", "sync_interval", sync)
	}
}

// syncAlways is the sync_interval of a server that writes to the disk before it
// acknowledges.
const syncAlways = "always"

// serverSync returns the weakest sync_interval among the servers that answer,
// or an empty string if none does: only users with access to the system account
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
			Data server.JSInfo `json:"data"`
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
