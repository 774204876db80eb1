package jetlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// leaderSilence is how long most replicas may be silent before their leader counts
// as cut off. They answer its heartbeats, which it sends once a second.
const leaderSilence = 3500 * time.Millisecond

// errNoLeader means that nothing can be stored in the stream, and that its content
// is not known.
var errNoLeader = errors.New("the stream has no leader that reaches most of its replicas")

// leader asks the stream's leader for the settings and the state of the stream, for at
// most requestTime. It fails without a leader: then any server would answer, even one that
// is cut off or lacks a part of the stream. A leader that is cut off does not know
// the records that the others have stored since.
func (l *Log) leader(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	stream, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", l.stream, err)
	}
	info := stream.CachedInfo()
	if !isLed(info.Cluster) {
		return nil, errNoLeader
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if epochOf(info) == l.epoch {
		l.highest = max(l.highest, info.State.LastSeq)
	}
	return info, nil
}

// isLed reports whether a stream has a leader that hears from most replicas. C is nil for
// a server that is not in a cluster.
func isLed(c *jetstream.ClusterInfo) bool {
	if c == nil {
		return true
	}
	if c.Leader == "" {
		return false
	}
	heard := 1
	for _, replica := range c.Replicas {
		if !replica.Offline && replica.Active < leaderSilence {
			heard++
		}
	}
	return heard > (1+len(c.Replicas))/2
}

// leaderInfo is leader, and also checks that the stream's epoch can be trusted if
// the NATS servers could not be reached before.
func (l *Log) leaderInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	if l.closed.Err() != nil {
		return nil, ErrClosed
	}
	l.mu.Lock()
	wasDown := l.down != nil
	l.mu.Unlock()
	info, err := l.leader(ctx)
	if err == nil && wasDown {
		err = l.checkServers(ctx, info)
	}
	return info, err
}

// settledLeader is leaderInfo, but waits until the leader has stored all records that it
// has accepted. A replica may deliver a record shortly before the leader counts it, and a
// client that has the record must not be told that it does not exist.
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
	// leaderPause is the time between two requests to a leader that is behind.
	leaderPause = 10 * time.Millisecond
	// impossibleSequence is larger than any that a stream reaches.
	impossibleSequence = "4611686018427387904"
	// codeWrongLastSequence is JetStream's error code for a record whose expected last
	// sequence is not the last one.
	codeWrongLastSequence = 10071
)

// accepted returns the last sequence that the leader has given. It sends a record with an
// expectation that cannot be met: the refusal has the number.
func (l *Log) accepted(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	msg, err := l.conn.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: l.stream,
		Header:  nats.Header{jetstream.ExpectedLastSeqHeader: {impossibleSequence}},
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

// nextAtLeader returns the first record at offset or after it that the leader has.
func (l *Log) nextAtLeader(ctx context.Context, offset uint64) (e chatsvc.Entry, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	question := fmt.Sprintf(`{"seq":%d,"next_by_subj":%q}`, offset, l.stream)
	msg, err := l.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+l.stream, []byte(question))
	if err != nil {
		return e, false, fmt.Errorf("read %d from the leader: %w", offset, err)
	}
	var answer struct {
		Message struct {
			Offset uint64    `json:"seq"`
			Time   time.Time `json:"time"`
			Record []byte    `json:"data"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return e, false, fmt.Errorf("read %d from the leader: %w", offset, err)
	}
	switch {
	case answer.Error == nil:
		return chatsvc.Entry{Offset: answer.Message.Offset, Time: answer.Message.Time, Record: answer.Message.Record}, true, nil
	case answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return e, false, nil
	}
	return e, false, fmt.Errorf("read %d from the leader: %w", offset, answer.Error)
}
