package jetlog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// settledLeader is leaderInfo when the leader has stored all that it has accepted.
// A replica may deliver a record a moment before the leader counts it: a client that
// has it must not be told that it does not exist.
func (l *Log) settledLeader(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.leaderInfo(ctx)
	if err != nil || info.Cluster == nil || len(info.Cluster.Replicas) == 0 {
		return info, err
	}
	accepted, err := l.accepted(ctx)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(requestTime); info.State.LastSeq < accepted && time.Now().Before(deadline); {
		if err := l.pause(ctx, leaderPause); err != nil {
			return nil, err
		}
		if info, err = l.leaderInfo(ctx); err != nil {
			return nil, err
		}
	}
	return info, nil
}

const (
	// leaderPause is the time between two questions to a leader that is behind.
	leaderPause = 10 * time.Millisecond
	// codeWrongLastSequence is JetStream's error if a record is not to be stored, as
	// another one than the expected is the last.
	codeWrongLastSequence = 10071
)

// accepted returns the last sequence that the leader has given. It asks by a record
// with an expectation that cannot come true: the refusal has the number.
func (l *Log) accepted(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	msg, err := l.conn.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: l.stream,
		Header:  nats.Header{jetstream.ExpectedLastSeqHeader: {fmt.Sprint(uint64(1) << 62)}},
	})
	if err != nil {
		return 0, fmt.Errorf("ask the leader: %w", err)
	}
	var ack pubAck
	if err := json.Unmarshal(msg.Data, &ack); err != nil {
		return 0, fmt.Errorf("ask the leader: answer %q: %w", msg.Data, err)
	}
	var last uint64
	if ack.Error == nil || ack.Error.ErrorCode != codeWrongLastSequence {
		return 0, fmt.Errorf("ask the leader: answer %q", msg.Data)
	}
	if _, err := fmt.Sscanf(ack.Error.Description, "wrong last sequence: %d", &last); err != nil {
		return 0, fmt.Errorf("ask the leader: answer %q: %w", msg.Data, err)
	}
	return last, nil
}
