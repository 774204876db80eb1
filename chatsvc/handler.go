package chatsvc

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/internal/record"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

const (
	// catchUpTime bounds how long a new subscriber waits for what senders were
	// told is stored.
	catchUpTime = 5 * time.Second
	// lagTime bounds how long one waits who has seen more on another replica:
	// replicas are milliseconds apart.
	lagTime = time.Second
)

// rpcs are the two procedures.
type rpcs struct{ *Service }

var _ chatconnect.SimpleChatHandler = rpcs{}

// SendMessage stores a message. When it returns without an error, the message
// is as durable as the log promises, and every subscriber will get it.
func (s rpcs) SendMessage(ctx context.Context, msg *chatpb.ChatMessage) (*chatpb.None, error) {
	if err := s.enter(&s.sends); err != nil {
		return nil, err
	}
	defer s.sends.Done()
	user, _ := UserFromContext(ctx)
	call, _ := connect.CallInfoForHandlerContext(ctx)
	key, err := parseIdempotencyKey(call.RequestHeader(), user)
	if err != nil {
		return nil, err
	}
	if err := s.check(msg); err != nil {
		return nil, err
	}
	timestamp := msg.GetTimestamp()
	if timestamp == 0 {
		timestamp = uint64(time.Now().UnixMilli())
	}
	// A new message: unknown fields of the caller's stay behind.
	m := record.Message{Timestamp: timestamp, Content: msg.GetContent(), Type: uint64(msg.GetType()), From: user.Name}
	b := s.broker.Load() // offset and epoch go together
	stored, err := s.log.Append(ctx, m.Append(make([]byte, 0, m.Size())), key)
	if err != nil {
		return nil, s.appendError(ctx, err)
	}
	if s.broker.Load() != b { // nobody can tell which epoch the offset is of
		return nil, connect.NewError(connect.CodeUnavailable, errMeanwhile)
	}
	b.acknowledge(stored.Offset)
	header := call.ResponseHeader()
	header.Set(HeaderEpoch, b.epoch)
	header.Set(HeaderOffset, strconv.FormatUint(stored.Offset, 10))
	if stored.Duplicate {
		header.Set(HeaderDuplicate, "true")
	}
	return &chatpb.None{}, nil
}

// check refuses what subscribers could not read.
func (s rpcs) check(msg *chatpb.ChatMessage) error {
	if size := len(msg.GetContent()); size > s.maxContent {
		return tooLarge("the content has %d bytes, %d are allowed: make the image smaller or split the text", size, s.maxContent)
	}
	if _, ok := chatpb.ChatMessage_ContentType_name[int32(msg.GetType())]; !ok {
		return invalid("the type is %d: send 0 (Unknown), 1 (Text) or 2 (Image)", msg.GetType())
	}
	if msg.GetType() == chatpb.ChatMessage_Text && !utf8.Valid(msg.GetContent()) {
		return invalid("the content is not UTF-8, as a message of the type Text must be: encode it, or send it as Unknown")
	}
	return nil
}

// appendError returns what the sender sees of the log's error.
func (s rpcs) appendError(ctx context.Context, err error) error {
	var coded *connect.Error
	switch {
	case ctx.Err() != nil:
		return wireError(ctx.Err())
	case errors.As(err, &coded):
		return err
	default:
		s.logger.Error("append", "error", err)
		return connect.NewError(connect.CodeUnavailable, errors.New("the log cannot store the message now: send it again"))
	}
}

// MessageList streams the retained history, then every new message.
func (s rpcs) MessageList(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.ChatMessages]) error {
	if err := s.enter(&s.streams); err != nil {
		return err
	}
	defer s.streams.Done()
	call, _ := connect.CallInfoForHandlerContext(ctx)
	from, err := parsePosition(call.RequestHeader())
	if err != nil {
		return err
	}
	b := s.broker.Load()
	if err := b.catchUp(ctx, from); err != nil {
		return err
	}
	sub, first := b.subscribe(from)
	defer b.leave(sub)
	out.ResponseHeader().Set(HeaderEpoch, b.epoch)
	out.ResponseHeader().Set(HeaderOffset, strconv.FormatUint(first.offset, 10))
	if err := out.Conn().Send(nil); err != nil { // the headers
		return err
	}
	res := responseFrom(ctx)
	to := newStream(res.writer, formOf(call.RequestHeader().Get("Content-Type"), res.lines), s.writeDeadline)
	defer to.watch.end()
	s.logStream(ctx, slog.LevelDebug, "subscribed", slog.Uint64("offset", first.offset))
	err = s.serve(ctx, b, sub, first, to)
	seen := wireError(err)
	switch {
	case errors.Is(err, errSlow):
		s.logStream(ctx, slog.LevelWarn, "subscriber cut", slog.Any("error", err))
	case connect.CodeOf(seen) == connect.CodeInternal:
		s.logStream(ctx, slog.LevelError, "stream", slog.Any("error", err))
	default:
		s.logStream(ctx, slog.LevelDebug, "subscriber left", slog.Any("reason", err))
	}
	return seen
}

// logStream logs what happened to a subscriber. There is no logger for each of
// them: it would cost every idle one a kilobyte.
func (s *Service) logStream(ctx context.Context, level slog.Level, msg string, what slog.Attr) {
	user, _ := UserFromContext(ctx)
	call, _ := connect.CallInfoForHandlerContext(ctx)
	s.logger.LogAttrs(ctx, level, msg, slog.String("user", user.Name),
		slog.String("peer", call.Peer().Addr), slog.String("protocol", call.Peer().Protocol), what)
}

// catchUp waits until b has what senders were told is stored, so that a new
// subscriber finds it in the history. For one who comes from a replica that was
// ahead it waits as well, for up to lagTime: otherwise that one would get records
// once more. Where the log has not what such a subscriber knows, the answer
// shows it.
func (b *broker) catchUp(ctx context.Context, from position) error {
	if from.kind == fromOffset && from.n > 0 && from.epoch == b.epoch {
		lag, cancel := context.WithTimeout(ctx, lagTime)
		defer cancel()
		_ = b.await(lag, from.n-1)
	}
	wait, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	err := b.await(wait, b.acknowledged.Load())
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		err = errBehind
	}
	return wireError(err)
}

// serve writes the first batch and all that follow it in b for sub, until ctx is
// done, the subscriber is gone or b closes. It returns why it ended.
func (s *Service) serve(ctx context.Context, b *broker, sub *subscriber, first batch, to *stream) error {
	// The first batch leaves at once, even if it is empty: a client counts
	// itself connected at the first message.
	if err := to.send(first); err != nil {
		return err
	}
	var heartbeat <-chan time.Time
	var timer *time.Timer
	if s.heartbeat > 0 {
		timer = time.NewTimer(s.heartbeat)
		defer timer.Stop()
		heartbeat = timer.C
	}
	sent := time.Now()
	done := ctx.Done()
	for {
		select {
		case <-done:
			return ctx.Err()
		default:
		}
		next, released, err := b.read(sub)
		if err != nil {
			return err
		}
		if next.count == 0 {
			select {
			case <-released:
				continue
			case <-done:
				return ctx.Err()
			case <-heartbeat:
				if silent := time.Since(sent); silent < s.heartbeat {
					timer.Reset(s.heartbeat - silent)
					continue
				}
				timer.Reset(s.heartbeat)
			}
		}
		if err := to.send(next); err != nil {
			return err
		}
		sent = time.Now()
	}
}
