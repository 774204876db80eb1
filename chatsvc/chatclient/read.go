package chatclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// ErrNewEpoch is wrapped by the error of [Client.Read] if the log got another epoch or went
// back, so that the end of the read is no longer valid.
var ErrNewEpoch = errors.New("the log has another epoch")

// errDone ends a read that has reached its end.
var errDone = errors.New("the read has reached its end")

// Read calls yield like [Client.Follow], and returns nil after all records from the position
// from to below the position until. Until is either [End], which means the end of the log at
// the time of the call, or made by [At]; then Read waits for records that do not exist
// yet. If the log gets another epoch before the end, Read calls yield with that event and
// fails with [ErrNewEpoch].
func (c *Client) Read(ctx context.Context, from, until Position, yield func(Event) error) error {
	f := newFollower(c, from, yield)
	f.isBounded = true
	switch until.kind {
	case end:
		f.atEnd = true
	case at:
		f.until, f.untilEpoch = until.n, until.epoch
		if from.kind == at && from.epoch != until.epoch {
			return fmt.Errorf("read from %v to %v: the epochs differ", from, until)
		}
	default:
		return fmt.Errorf("read to %v: the end must be end, N or N@EPOCH", until)
	}
	return f.run(ctx)
}

// setUntil sets the header for the end of a bounded read.
func (f *follower) setUntil(h http.Header) {
	switch {
	case !f.isBounded:
	case f.atEnd:
		h.Set(chatsvc.HeaderUntil, "end")
	default:
		h.Set(chatsvc.HeaderUntil, strconv.FormatUint(f.until, 10))
	}
}

// bound sets the end from the response. A server that does not know the header sends none;
// then the client counts the records.
func (f *follower) bound(ctx context.Context, rpc chatconnect.SimpleChatClient, h http.Header) error {
	if !f.isBounded {
		return nil
	}
	text := h.Get(chatsvc.HeaderUntil)
	if text == "" && f.atEnd {
		end, err := f.askEnd(ctx, rpc)
		if err != nil {
			return err
		}
		text = strconv.FormatUint(end, 10)
	}
	if text != "" {
		until, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: the end is %q in the response", errNoPosition, text)
		}
		f.atEnd, f.until = false, until
	}
	return f.done()
}

// askEnd returns the offset of the next record. It opens a stream at the end to learn it.
func (f *follower) askEnd(ctx context.Context, rpc chatconnect.SimpleChatClient) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, f.client.timeout)
	defer cancel()
	ctx, call := f.client.newCall(ctx)
	End().setHeader(call.RequestHeader())
	stream, err := rpc.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return 0, err
	}
	defer func() {
		cancel()
		_ = stream.Close() // it is cancelled
	}()
	epoch, offset, _, err := readPosition(stream.ResponseHeader())
	if err != nil {
		stream.Receive() // an error has no position
		if stream.Err() != nil {
			err = stream.Err()
		}
		return 0, err
	}
	if epoch != f.position.epoch {
		return 0, ErrNewEpoch
	}
	return offset, nil
}

// done returns errDone if the read has reached its end.
func (f *follower) done() error {
	if f.isBounded && f.position.n >= f.until {
		return errDone
	}
	return nil
}
