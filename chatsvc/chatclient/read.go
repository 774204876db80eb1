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

// ErrNewEpoch is what the error of [Client.Read] is, by [errors.Is], if the log got
// another epoch or went back: the offset at which the read was to end means nothing
// any more.
var ErrNewEpoch = errors.New("the log has another epoch")

// errDone ends a read that has all that it asked for.
var errDone = errors.New("all that was asked for has come")

// Read calls yield as [Client.Follow] does, and returns nil when all records from a
// position to below another one have come. The end is either [End], the record that
// would be the next one at the time of the call, or one that [At] returned: Read
// waits for records that are not there yet. It fails with [ErrNewEpoch] if the log
// gets another epoch before, after it has told yield so.
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
		return fmt.Errorf("read to %v: the end must be end, or N of an epoch", until)
	}
	return f.run(ctx)
}

// setUntil asks for the end of a bounded read.
func (f *follower) setUntil(h http.Header) {
	switch {
	case !f.isBounded:
	case f.atEnd:
		h.Set(chatsvc.HeaderUntil, "end")
	default:
		h.Set(chatsvc.HeaderUntil, strconv.FormatUint(f.until, 10))
	}
}

// bound takes the end that a server has answered. One that does not know the header
// names none: then the client counts by itself.
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
			return fmt.Errorf("%w: the end is %q in its answer", errNoPosition, text)
		}
		f.atEnd, f.until = false, until
	}
	return f.done()
}

// askEnd returns the offset of the next record, as a stream that begins there tells it.
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

// done returns errDone when all that was asked for has come.
func (f *follower) done() error {
	if f.isBounded && f.position.n >= f.until {
		return errDone
	}
	return nil
}
