package chatsvc

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"
)

// manySend is a running request with many messages. One goroutine reads the lines and
// makes records of them. The handler's goroutine stores and answers the earlier ones.
type manySend struct {
	rpcs

	ctx      context.Context //nolint:containedctx // the call's
	revoked  <-chan struct{} // closed when the credentials of the request are no longer valid
	broker   *broker         // the broker of the epoch in the response's header
	lines    *lineReader
	caller   *lineCaller
	to       *stream
	out      []byte
	ordered  bool // no line is answered behind one that may be stored later
	batches  chan *lineBatch
	gone     chan struct{} // closed when no more lines are answered
	reading  chan struct{} // closed after the first read
	ended    chan struct{} // closed when no more lines are read
	readErr  error         // why no more lines are read; nil if the body has ended. It is set before ended is closed
	panicked any           // value of a panic in a line's call, or nil. It is set before ended is closed
}

// read makes batches of the lines until the body ends. A batch has all lines that have
// arrived, so a single line never waits.
func (m *manySend) read() {
	defer close(m.ended)
	defer close(m.batches)
	defer func() { // a panic of the embedder's code must end the request, not the process
		if m.panicked = recover(); m.panicked != nil && m.panicked != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			m.logger.ErrorContext(m.ctx, "the call of a line has panicked", "panic", m.panicked, "stack", string(debug.Stack()))
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

// awaitRead returns after the first read, or with the error that ends the request before.
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
		return m.lines.watchdog.reason(m.ctx.Err())
	}
}

// hand gives a batch to the handler, and reports false if the handler has ended. While the
// handler stores an earlier batch, the next ones are joined to one batch, so that a slow log
// gets larger batches.
func (m *manySend) hand(batch *lineBatch) bool {
	select {
	case waiting := <-m.batches: // only this goroutine sends, so the channel has room now
		if waiting.join(batch) {
			batch = waiting
		} else {
			m.batches <- waiting
		}
	default:
	}
	select {
	case m.batches <- batch:
		return true
	case <-m.gone:
		return false
	}
}

// answer stores and answers batches until the last one.
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
				return errNewEpoch
			}
		case <-closing:
			closing = nil
			m.lines.stop(errShutdown)
		case <-m.revoked:
			m.lines.stop(errRevoked)
			return errRevoked
		case <-m.ctx.Done():
			return m.lines.watchdog.reason(m.ctx.Err()) // cutting a read cancels an HTTP/1.1 call
		}
	}
}

// store appends the records of a batch. It reports whether the log has another epoch than
// the response's header.
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
		refuse(connect.NewError(connect.CodeUnavailable, errNewEpochWhileSending))
		return true
	}
	began := time.Now()
	outcomes := m.append(records)
	took := time.Since(began)
	for _, o := range outcomes {
		m.observe(took, o.Err)
	}
	if m.rpcs.broker.Load() != m.broker { // the stored messages are gone
		refuse(connect.NewError(connect.CodeUnavailable, errNewEpochWhileSending))
		return true
	}
	for i, outcome := range outcomes {
		switch {
		case outcome.Err != nil:
			sends[i].refuse(newLineError(m.appendError(m.ctx, outcome.Err)))
		case outcome.Appended.Epoch != m.broker.epoch: // the response's header has the other one
			sends[i].refuse(newLineError(connect.NewError(connect.CodeUnavailable, errNewEpochWhileSending)))
			isReplaced = true
		default:
			sends[i].stored = outcome.Appended
			m.broker.acknowledge(outcome.Appended.Offset)
		}
	}
	return isReplaced
}

// append appends records. Where the order matters, there are no outcomes after an error that
// passes, and those records are not stored.
func (m *manySend) append(records []NewRecord) []Outcome {
	if !m.ordered {
		return appendBatch(m.ctx, m.log, records)
	}
	return appendOrdered(m.ctx, m.log, records, func(err error) bool {
		coded, isCoded := errors.AsType[*connect.Error](err)
		return !isCoded || newLineError(coded).passes() // others become unavailable
	})
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

// end waits until no more lines are read. If the call of a line has panicked, it panics
// with the same value.
func (m *manySend) end() {
	close(m.gone)
	m.lines.stop(errGone)
	<-m.ended
	m.lines.close()
	m.to.watchdog.end()
	if m.panicked != nil {
		panic(m.panicked)
	}
}

// isCut reports whether the last line of a batch is the last one that is answered.
func (m *manySend) isCut(b *lineBatch) bool {
	return m.ordered && len(b.sends) > 0 && b.sends[len(b.sends)-1].passes
}
