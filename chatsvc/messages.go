package chatsvc

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Message is a message of the conversation with its position.
type Message struct {
	*chatpb.ChatMessage

	// Epoch and Offset are the position of the message in the log.
	Epoch  string
	Offset uint64
}

// Next returns the position after the message in its text form, N@EPOCH. Store it to
// continue there with [Service.Messages] later. It is also the id of the message's
// server-sent event, and package chatclient can parse it.
func (m Message) Next() string { return eventID(m.Epoch, m.Offset+1) }

// Messages returns the messages from a position on, without HTTP: first the retained ones,
// oldest first, then new ones as they arrive. A position is a text: "all" or "" for all
// retained messages, "-N" for the last N, "end" for new messages only, and "N" or
// "N@EPOCH" for messages from record N on. If the log has another epoch or no longer
// retains record N, the first message's Epoch and Offset show that, as over HTTP. The
// sequence ends without an error when ctx is done. It yields an error with a connect code
// and ends if the position is malformed, if the next message is no longer retained, if the
// log gets another epoch, or after [Service.Close]. The sequence may be used again; it
// then starts at the same position. A slow reader costs no memory.
func (s *Service) Messages(ctx context.Context, from string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		err := s.readMessages(ctx, from, func(m Message) error {
			if !yield(m, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) && ctx.Err() == nil {
			yield(Message{}, wireError(err))
		}
	}
}

// errEnough ends a sequence because its reader has stopped.
var errEnough = errors.New("the reader has stopped")

// readMessages calls yield with each message from a position on. It returns the error that
// has ended it.
func (s *Service) readMessages(ctx context.Context, from string, yield func(Message) error) error {
	if err := s.enterStream(); err != nil {
		return err
	}
	defer s.streams.Done()
	asked, err := parseTextPosition(from)
	if err != nil {
		return err
	}
	o, err := s.open(ctx, asked)
	if err != nil {
		return err
	}
	sub := o.broker.subscribe("", o.from, o.until)
	defer o.broker.leave(sub)
	beat := &heartbeat{timer: time.NewTimer(time.Hour)}
	beat.timer.Stop()
	for {
		next, err := o.broker.nextBatch(ctx, nil, sub, beat, false)
		if err != nil {
			return err
		}
		messages := &chatpb.ChatMessages{}
		if err := proto.Unmarshal(next.data, messages); err != nil { // a copy
			return err
		}
		o.broker.releaseCopied(sub) // the reader may take its time
		for i, msg := range messages.GetMessages() {
			if err := yield(Message{msg, o.broker.epoch, next.offset + uint64(i)}); err != nil {
				return err
			}
		}
	}
}

// parseTextPosition reads a position in its text form.
func parseTextPosition(text string) (position, error) {
	if text == "" || text == "all" {
		text = "0"
	}
	offset, epoch, hasEpoch := strings.Cut(text, "@")
	h := http.Header{HeaderOffset: {offset}}
	if hasEpoch {
		h.Set(HeaderEpoch, epoch)
	}
	p, err := parsePosition(h)
	if err != nil {
		return position{}, invalid("the position must be all, end, -N, N or N@EPOCH")
	}
	return p, nil
}
