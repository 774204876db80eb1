package chatsvc

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	// manyLines and manyBytes bound the lines that are stored and answered together.
	manyLines = 512
	manyBytes = 64 << 10
	// manyMemory is the memory of a request with many messages while its lines are short,
	// in bytes: the read buffer, three batches and their answers.
	manyMemory = 5 * manyBytes
)

// manyRequest is a request for sendMessage with a message on each line of its body. For
// connect and for limits it is a stream. Each line is also a call: the authenticator and
// every interceptor see it as if it had been sent alone.
type manyRequest struct {
	caller lineCaller
	bodies *bodyBudget // shared by all such requests
	// asks means that the client waits for 100 (Continue) before it sends. The first read
	// of the body sends that, so no header may be sent before it.
	asks bool
}

// serveMany runs a request with many messages. Outer is the original request.
func (e *endpoint) serveMany(w *answerWriter, r, outer *http.Request) {
	res := exchangeFrom(r.Context())
	// Otherwise an HTTP/1.1 server reads the whole body before it answers. HTTP/2 needs
	// no such setting.
	_ = http.NewResponseController(w.ResponseWriter).EnableFullDuplex()
	res.many = &manyRequest{caller: newLineCaller(e.rpc, outer), bodies: e.manyBodies, asks: r.Header.Get("Expect") != ""}
	lines := newLinesWriter(w, formLines)
	call := asStream(r)
	call.Body = &framedBody{src: http.NoBody, prefix: func(int) []byte {
		prefix := envelopePrefix(len("{}"))
		return append(prefix[:], "{}"...)
	}}
	e.many.ServeHTTP(lines, call)
	if lines.finish(r, e.errorWriter) {
		panic(http.ErrAbortHandler)
	}
}

// sendMany stores the messages on the lines of a body while the client sends them,
// and answers each on a line, in order.
func (s rpcs) sendMany(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.None]) error {
	if err := s.enter(&s.streams); err != nil {
		return err
	}
	defer s.streams.Done()
	call, _ := connect.CallInfoForHandlerContext(ctx)
	if len(call.RequestHeader().Values(HeaderIdempotencyKey)) > 0 {
		return invalid("%s is for one message, but this request has many: put a key on each line, as in {\"key\":\"…\"}", HeaderIdempotencyKey)
	}
	if call.RequestHeader().Get("Connect-Content-Encoding") != "" {
		return connect.NewError(connect.CodeUnimplemented, errors.New("the lines are compressed: send them as they are (identity)"))
	}
	res := exchangeFrom(ctx)
	user, _ := UserFromContext(ctx)
	budget := res.body.held.budget
	full := limited(endTime, "too many messages are arriving at the same time: send them again")
	if !res.many.bodies.take(user.Name, manyMemory) {
		budget.onFull(ctx, user.Name)
		return full
	}
	defer res.many.bodies.give(user.Name, manyMemory)
	if !budget.take(user.Name, manyMemory) {
		budget.onFull(ctx, user.Name)
		return full
	}
	defer budget.give(user.Name, manyMemory)
	m := &manySend{
		rpcs:    s,
		ctx:     ctx,
		revoked: user.Revoked,
		broker:  s.broker.Load(),
		lines:   newLineReader(res.body, lineBudget{budget, user.Name}, s.maxContent),
		caller:  &res.many.caller,
		to:      newStream(res.writer, formLines, "", 0, s.writeDeadline),
		ordered: call.RequestHeader().Get(HeaderOrdered) == "true",
		batches: make(chan *lineBatch, 1),
		gone:    make(chan struct{}),
		reading: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	go m.read()
	defer m.end()
	if res.many.asks {
		if err := m.awaitRead(); err != nil {
			return wireError(err)
		}
	}
	out.ResponseHeader().Set(HeaderEpoch, m.broker.epoch)
	res.body.keep()
	if err := out.Conn().Send(nil); err != nil { // the headers
		return err
	}
	return wireError(m.answer())
}
