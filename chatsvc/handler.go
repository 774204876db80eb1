package chatsvc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/internal/fault"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// rpcs implements the two procedures.
type rpcs struct{ *Service }

var _ chatconnect.SimpleChatHandler = rpcs{}

// SendMessage stores a message. When it returns without an error, the message
// is as durable as the log promises, and every subscriber will receive it.
func (s rpcs) SendMessage(ctx context.Context, msg *chatpb.ChatMessage) (*chatpb.None, error) {
	user, _ := UserFromContext(ctx)
	call, _ := connect.CallInfoForHandlerContext(ctx)
	key, err := parseIdempotencyKey(call.RequestHeader(), user)
	if err != nil {
		return nil, err
	}
	res := exchangeFrom(ctx)
	if err := s.check(msg); err != nil {
		res.body.isLarge = connect.CodeOf(err) == connect.CodeResourceExhausted
		return nil, err
	}
	encoded := encode(user, msg)
	if res.line != nil { // it is stored with others
		res.line.record = NewRecord{encoded, key}
		return &chatpb.None{}, nil
	}
	stored, err := s.store(ctx, encoded, key)
	if err != nil {
		return nil, err
	}
	header := call.ResponseHeader()
	header.Set(HeaderEpoch, stored.Epoch)
	header.Set(HeaderOffset, strconv.FormatUint(stored.Offset, 10))
	if stored.Duplicate {
		header.Set(HeaderDuplicate, "true")
	}
	return &chatpb.None{}, nil
}

// observe reports an append to the embedder.
func (s *Service) observe(took time.Duration, err error) {
	if s.onAppend != nil {
		s.onAppend(took, err)
	}
}

// appendError returns the error that the sender sees for an error of the log.
func (s *Service) appendError(ctx context.Context, err error) error {
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

// MessageList streams the retained history and then every new message.
func (s rpcs) MessageList(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.ChatMessages]) error {
	if err := s.enterStream(); err != nil {
		return err
	}
	defer s.streams.Done()
	call, _ := connect.CallInfoForHandlerContext(ctx)
	res := exchangeFrom(ctx)
	if res.refused != nil {
		return res.refused
	}
	asked, err := parsePosition(call.RequestHeader())
	if err != nil || res.isDone {
		return err
	}
	o, err := s.open(ctx, asked)
	if err != nil {
		return wireError(err)
	}
	if res.isDone = res.isAgain && (o.endsAtOnce() || o.from >= o.until); res.isDone {
		return nil
	}
	fault.At(fault.Opened)
	o.setHeader(out.ResponseHeader())
	out.ResponseHeader().Set(HeaderHeartbeat, strconv.FormatFloat(s.heartbeat.Seconds(), 'f', -1, 64))
	if err := out.Conn().Send(nil); err != nil { // the headers
		return err
	}
	to := newStream(res.writer, formOf(res.face, call.RequestHeader().Get("Content-Type")), o.broker.epoch, o.from, s.writeDeadline)
	defer to.watchdog.end()
	if o.endsAtOnce() {
		return wireError(to.end())
	}
	sub := o.broker.subscribe(ownerOf(ctx), o.from, o.until)
	defer o.broker.leave(sub)
	s.pending.add(&to.watchdog, sub.owner)
	defer s.pending.remove(&to.watchdog)
	began := time.Now()
	s.logStream(ctx, slog.LevelInfo, "subscribed", slog.Uint64("offset", o.from))
	err = s.serve(ctx, o.broker, sub, to)
	if errors.Is(err, errUntil) {
		err = to.end()
	}
	seen := wireError(err)
	sent, _ := to.watchdog.progress()
	duration, delivered := slog.Duration("duration", time.Since(began)), slog.Uint64("delivered", sent.messages)
	switch {
	case errors.Is(err, errSlow), errors.Is(err, errHeld):
		if errors.Is(err, errHeld) {
			user, _ := UserFromContext(ctx)
			s.onLimit(ctx, user.Name, LimitPending)
		}
		s.logStream(ctx, slog.LevelWarn, "subscriber cut", duration, delivered, slog.Any("reason", err))
	case connect.CodeOf(seen) == connect.CodeInternal:
		s.logStream(ctx, slog.LevelError, "stream", duration, delivered, slog.Any("reason", err))
	default:
		s.logStream(ctx, slog.LevelInfo, "subscriber left", duration, delivered, slog.String("reason", reasonOf(err)))
	}
	return seen
}

// reasonOf returns why a stream has ended, for the server's log.
func reasonOf(err error) string {
	switch {
	case err == nil:
		return "the stream is complete"
	case errors.Is(err, context.Canceled), errors.Is(err, errGone):
		return "the client left"
	default:
		return err.Error()
	}
}

// logStream logs an event of a subscriber. A logger for each subscriber would cost a
// kilobyte for each idle one.
func (s *Service) logStream(ctx context.Context, level slog.Level, msg string, what ...slog.Attr) {
	if !s.logger.Enabled(ctx, level) {
		return
	}
	user, _ := UserFromContext(ctx)
	call, _ := connect.CallInfoForHandlerContext(ctx)
	s.logger.LogAttrs(ctx, level, msg, append([]slog.Attr{slog.String("user", user.Name),
		slog.String("peer", call.Peer().Addr), slog.String("protocol", call.Peer().Protocol)}, what...)...)
}

// ownerOf returns the caller's user and address, which share some bounds.
func ownerOf(ctx context.Context) string {
	user, _ := UserFromContext(ctx)
	call, _ := connect.CallInfoForHandlerContext(ctx)
	host, _, err := net.SplitHostPort(call.Peer().Addr)
	if err != nil {
		host = call.Peer().Addr
	}
	return host + " " + user.Name
}

// serve writes batches to sub until the stream is complete, ctx is done, the subscriber has
// left, its credentials are revoked, or b closes. It returns the reason. The first batch
// is sent at once, even if it is empty, because a client is connected at the first
// message.
func (s *Service) serve(ctx context.Context, b *broker, sub *subscriber, to *stream) error {
	beat := newHeartbeat(firstTime)
	defer beat.timer.Stop()
	to.watchdog.attach(beat)
	user, _ := UserFromContext(ctx)
	for first := true; ; first = false {
		next, err := b.nextBatch(ctx, user.Revoked, sub, beat, first)
		if err != nil && (!first || !errors.Is(err, errUntil)) {
			return err
		}
		fault.At(fault.Writing)
		if err := to.send(next); err != nil {
			return err
		}
		fault.At(fault.Written)
		if first {
			beat.start(s.heartbeat)
		}
		beat.last = time.Now()
	}
}
