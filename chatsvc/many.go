package chatsvc

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	// manyLines and manyBytes bound what is stored and answered together.
	manyLines = 512
	manyBytes = 64 << 10
	// manyMemory is what a request with many messages holds while its lines are short,
	// in bytes: what is being read, three batches and their answers.
	manyMemory = 5 * manyBytes
)

// manyRequest is a request for sendMessage with a message on each line of its body. It
// is a stream to connect and to limits, and each line is a call of its own: its
// credentials are looked at and every interceptor sees it, as if it had come alone.
type manyRequest struct {
	caller lineCaller
	bodies *bodyBudget // of all such requests
	// asks tells that the client waits for a word before it sends (100-continue), which
	// the first read of the body is: before that no header may leave.
	asks bool
}

// serveMany runs a request with many messages. Outer is the request as it came.
func (e *endpoint) serveMany(w *answerWriter, r, outer *http.Request) {
	res := responseFrom(r.Context())
	// An HTTP/1.1 server reads the whole body before it answers otherwise. HTTP/2 and
	// servers that know no such thing need not.
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

// sendMany stores the messages on the lines of a body, for as long as the client sends,
// and answers each on a line of its own, in order.
func (s rpcs) sendMany(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.None]) error {
	if err := s.enter(&s.streams); err != nil {
		return err
	}
	defer s.streams.Done()
	call, _ := connect.CallInfoForHandlerContext(ctx)
	if len(call.RequestHeader().Values(HeaderIdempotencyKey)) > 0 {
		return invalid("%s is of one message, and this request has many: put a key on each line, as in {\"key\":\"…\"}", HeaderIdempotencyKey)
	}
	if call.RequestHeader().Get("Connect-Content-Encoding") != "" {
		return connect.NewError(connect.CodeUnimplemented, errors.New("the lines are compressed: send them as they are (identity)"))
	}
	res := responseFrom(ctx)
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

// manySend is a request with many messages under way. One goroutine reads the lines and
// makes records of them, while the other one, the handler's, stores those before and
// answers them.
type manySend struct {
	rpcs

	ctx      context.Context //nolint:containedctx // the call's
	revoked  <-chan struct{} // closed when the credentials of the request are no longer valid
	broker   *broker         // whose epoch the client was told
	lines    *lineReader
	caller   *lineCaller
	to       *stream
	out      []byte
	ordered  bool // no line is answered behind one that may be stored later
	batches  chan *lineBatch
	gone     chan struct{} // closed when nothing more is answered
	reading  chan struct{} // closed when something was read
	ended    chan struct{} // closed when nothing more is read
	readErr  error         // why nothing more is read; nil: the body has ended. It is set before ended is closed
	panicked any           // value of a panic in a line's call, or nil. It is set before ended is closed
}

// read makes batches of the lines until there are no more: all that is there goes into
// one, so that a single line never waits.
func (m *manySend) read() {
	defer close(m.ended)
	defer close(m.batches)
	defer func() { // an embedder's panic must end the request, and not the process
		if m.panicked = recover(); m.panicked != nil && m.panicked != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			m.logger.ErrorContext(m.ctx, "a call of a line has panicked", "panic", m.panicked, "stack", string(debug.Stack()))
		}
	}()
	isFirst := true
	for {
		batch := &lineBatch{}
		for len(batch.sends) == 0 || m.lines.hasLine() && !batch.isFull() {
			line, err := m.lines.next()
			if isFirst {
				isFirst = false
				close(m.reading)
			}
			if m.readErr = err; errors.Is(err, errEndOfLines) {
				m.readErr = nil
			}
			if err != nil && !errors.Is(err, errLongLine) {
				m.hand(batch)
				return
			}
			if errors.Is(err, errLongLine) || len(line) > 0 {
				batch.sends = append(batch.sends, m.caller.call(line, err))
				batch.bytes += len(line)
			}
			if m.isCut(batch) {
				m.hand(batch)
				return
			}
		}
		if !m.hand(batch) {
			return
		}
	}
}

// awaitRead returns when something was read, or why nothing is waited for any more.
func (m *manySend) awaitRead() error {
	select {
	case <-m.reading:
		return nil
	case <-m.ended: // a read has panicked
		return nil
	case <-m.closing:
		return errShutdown
	case <-m.revoked:
		return errRevoked
	case <-m.ctx.Done():
		return m.lines.watch.reason(m.ctx.Err())
	}
}

// hand gives a batch to the handler, and reports whether it is still there.
func (m *manySend) hand(batch *lineBatch) bool {
	select {
	case m.batches <- batch:
		return true
	case <-m.gone:
		return false
	}
}

// answer stores and answers batches until there are no more.
func (m *manySend) answer() error {
	closing := m.closing
	for {
		select {
		case batch, ok := <-m.batches:
			if !ok {
				return m.readErr
			}
			isReplaced := m.store(batch)
			if m.ordered {
				batch.cut()
			}
			if err := m.write(batch); err != nil {
				return err
			}
			if m.isCut(batch) {
				return nil
			}
			if isReplaced {
				return errReplaced
			}
		case <-closing:
			closing = nil
			m.lines.stop(errShutdown)
		case <-m.revoked:
			m.lines.stop(errRevoked)
			return errRevoked
		case <-m.ctx.Done():
			return m.lines.watch.reason(m.ctx.Err()) // a read that is cut cancels an HTTP/1.1 call
		}
	}
}

// store appends the records of a batch, and reports whether the log has another epoch
// than the client was told.
func (m *manySend) store(batch *lineBatch) (isReplaced bool) {
	records, sends := make([]NewRecord, 0, len(batch.sends)), make([]*lineSend, 0, len(batch.sends))
	for _, send := range batch.sends {
		if send.refusal == nil {
			records, sends = append(records, send.record), append(sends, send)
		}
	}
	refuse := func(err error) {
		line := newLineError(err)
		for _, send := range sends {
			send.refuse(line)
		}
	}
	if err := m.enter(&m.sends); err != nil {
		refuse(err)
		return false
	}
	defer m.sends.Done()
	if m.rpcs.broker.Load() != m.broker {
		refuse(connect.NewError(connect.CodeUnavailable, errMeanwhile))
		return true
	}
	began := time.Now()
	outcomes := appendBatch(m.ctx, m.log, records)
	took := time.Since(began)
	for _, o := range outcomes {
		m.observe(took, o.Err)
	}
	if m.rpcs.broker.Load() != m.broker { // what was stored is gone
		refuse(connect.NewError(connect.CodeUnavailable, errMeanwhile))
		return true
	}
	for i, outcome := range outcomes {
		switch {
		case outcome.Err != nil:
			sends[i].refuse(newLineError(m.appendError(m.ctx, outcome.Err)))
		case outcome.Appended.Epoch != m.broker.epoch: // the response's header names that
			sends[i].refuse(newLineError(connect.NewError(connect.CodeUnavailable, errMeanwhile)))
			isReplaced = true
		default:
			sends[i].stored = outcome.Appended
			m.broker.acknowledge(outcome.Appended.Offset)
		}
	}
	return isReplaced
}

// write answers a batch.
func (m *manySend) write(batch *lineBatch) error {
	m.out = m.out[:0]
	for _, send := range batch.sends {
		m.out = send.appendAnswer(m.out)
	}
	err := m.to.writeLines(m.out)
	if cap(m.out) > manyBytes {
		m.out = nil
	}
	return err
}

// end waits until nothing more is read. It panics as the call of a line has.
func (m *manySend) end() {
	close(m.gone)
	m.lines.stop(errGone)
	<-m.ended
	m.lines.close()
	m.to.watch.end()
	if m.panicked != nil {
		panic(m.panicked)
	}
}

// writeLines writes and flushes lines that are no batch.
func (s *stream) writeLines(lines []byte) (err error) {
	if len(lines) == 0 {
		return nil
	}
	s.watch.start(pendingWrite{size: len(lines)})
	defer func() {
		if cut := s.watch.stop(batch{}, 0, false); cut != nil {
			err = cut
		}
	}()
	if _, err = s.w.Write(lines); err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		return errors.Join(errGone, err)
	}
	return nil
}
