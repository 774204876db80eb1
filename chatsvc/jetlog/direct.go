package jetlog

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"example.com/simplechat/chatsvc"
)

// directRequest asks for records that any replica of the stream may return.
// MaxBytes counts subjects and headers too; the record that exceeds it is still returned.
type directRequest struct {
	Sequence  uint64    `json:"seq,omitempty"`
	StartTime time.Time `json:"start_time,omitzero"` //nolint:tagliatelle // the name is JetStream's
	Batch     int       `json:"batch"`
	MaxBytes  int       `json:"max_bytes,omitempty"` //nolint:tagliatelle // the name is JetStream's
}

// directGet returns records in the order of their offsets. A replica may lack the
// newest records, or records that its disk has lost.
func (l *Log) directGet(ctx context.Context, question directRequest) ([]chatsvc.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	data, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	inbox := l.conn.NewInbox()
	answers, err := l.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer answers.Unsubscribe() //nolint:errcheck // the connection is gone then, and the subscription too
	if err := answers.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	if err := l.conn.PublishRequest("$JS.API.DIRECT.GET."+l.stream, inbox, data); err != nil {
		return nil, err
	}
	entries := make([]chatsvc.Entry, 0, question.Batch)
	for {
		msg, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("read from %d: %w", question.Sequence, err)
		}
		switch status := msg.Header.Get("Status"); status {
		case "":
		case "204", "404": // the end of the batch, or nothing was found
			return entries, nil
		case "503":
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("read from %d: nats: status %s, %s", question.Sequence, status, msg.Header.Get("Description"))
		}
		e, err := entryOf(msg)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}

// entryOf returns the record in an answer to a directRequest.
func entryOf(msg *nats.Msg) (chatsvc.Entry, error) {
	offset, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return chatsvc.Entry{}, fmt.Errorf("nats: sequence of a record: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return chatsvc.Entry{}, fmt.Errorf("nats: time of record %d: %w", offset, err)
	}
	return chatsvc.Entry{Offset: offset, Time: at, Record: msg.Data}, nil
}
