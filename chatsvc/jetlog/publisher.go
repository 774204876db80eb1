package jetlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// publisher sends records to the stream's subject and matches the answers. One
// subscription receives all answers: an inbox for each request would cost more
// than the record.
type publisher struct {
	conn    *nats.Conn
	subject string
	prefix  string // of the answers' subjects

	mu      sync.Mutex // guards all below
	last    uint64     // number of the append that was sent last
	pending map[uint64]*pendingAppend
	sweeper *time.Timer // ends appends that get no answer; nil while no append waits
}

func newPublisher(conn *nats.Conn, subject string) (*publisher, error) {
	p := &publisher{
		conn:    conn,
		subject: subject,
		prefix:  conn.NewInbox() + ".",
		pending: make(map[uint64]*pendingAppend),
	}
	answers, err := conn.Subscribe(p.prefix+"*", p.answer)
	if err != nil {
		return nil, err
	}
	return p, answers.SetPendingLimits(-1, -1) // as many as there are appends
}

// publish sends the record of a. The append ends when JetStream has answered.
func (p *publisher) publish(a *pendingAppend) error {
	p.mu.Lock()
	p.last++
	number := p.last
	p.pending[number] = a
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(appendTime, p.sweep)
	}
	p.mu.Unlock()
	msg := &nats.Msg{Subject: p.subject, Reply: p.prefix + strconv.FormatUint(number, 36), Data: a.record}
	if a.id != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {a.id}}
	}
	err := p.conn.PublishMsg(msg)
	if err == nil || p.take(number) == nil { // nil: fail has ended the append already
		return nil
	}
	if isUnsent(err) {
		return refusedError{err}
	}
	return err
}

// isUnsent reports whether an error of PublishMsg says that nothing was sent.
func isUnsent(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionClosed) ||
		errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrMaxPayload)
}

// sweep ends the appends whose time is over, and runs again later for the others.
func (p *publisher) sweep() {
	var late []uint64
	now := time.Now()
	p.mu.Lock()
	p.sweeper = nil
	next := now.Add(appendTime)
	for number, a := range p.pending {
		if due := a.begun.Add(appendTime); due.After(now) {
			next = earlier(next, due)
		} else {
			late = append(late, number)
		}
	}
	if len(p.pending) > len(late) {
		p.sweeper = time.AfterFunc(next.Sub(now), p.sweep)
	}
	p.mu.Unlock()
	for _, number := range late {
		p.finish(number, chatsvc.Appended{}, errNoAnswer)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// take returns an append that has not ended yet, and forgets it.
func (p *publisher) take(number uint64) *pendingAppend {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.pending[number]
	delete(p.pending, number)
	return a
}

// pubAck is JetStream's answer.
type pubAck struct {
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// answer handles JetStream's answer.
func (p *publisher) answer(msg *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, p.prefix), 36, 64)
	if err != nil {
		return // not ours
	}
	appended, err := parseAnswer(msg)
	p.finish(number, appended, err)
}

func parseAnswer(msg *nats.Msg) (chatsvc.Appended, error) {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return chatsvc.Appended{}, refusedError{nats.ErrNoResponders}
	}
	if offset, ok := storedAt(msg.Data); ok {
		return chatsvc.Appended{Offset: offset}, nil
	}
	var ack pubAck
	if err := json.Unmarshal(msg.Data, &ack); err != nil {
		return chatsvc.Appended{}, fmt.Errorf("nats: acknowledgement %q: %w", msg.Data, err)
	}
	switch {
	case ack.Error == nil:
	case ack.Error.ErrorCode == codeStoreFailed, ack.Error.ErrorCode == codeDuplicateInProcess:
		return chatsvc.Appended{}, ack.Error
	default:
		return chatsvc.Appended{}, refusedError{ack.Error}
	}
	if ack.Sequence == 0 {
		return chatsvc.Appended{}, fmt.Errorf("nats: an acknowledgement without a sequence: %q", msg.Data)
	}
	return chatsvc.Appended{Offset: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// storedAt returns the sequence of an answer that ends with it, as the answer for a
// new record does. Parsing the whole JSON would take a tenth of an append's time.
func storedAt(answer []byte) (offset uint64, ok bool) {
	head, digits, ok := bytes.Cut(answer, []byte(`"seq":`))
	if !ok || bytes.Contains(head, []byte(`"error"`)) {
		return 0, false
	}
	digits, ok = bytes.CutSuffix(bytes.TrimSpace(digits), []byte{'}'})
	if !ok {
		return 0, false
	}
	offset, err := strconv.ParseUint(string(digits), 10, 64)
	return offset, err == nil && offset > 0
}

// finish ends an append, or sends it again if the error is momentary.
func (p *publisher) finish(number uint64, appended chatsvc.Appended, err error) {
	a := p.take(number)
	switch {
	case a == nil: // it has ended already
	case isMomentary(err) && (!a.inOrder || !errors.Is(err, nats.ErrNoResponders)):
		time.AfterFunc(retryPause, func() { p.resend(a, err) })
	case err != nil:
		a.end(chatsvc.Appended{}, err)
	default:
		a.end(appended, nil)
	}
}

const (
	// codeDuplicateInProcess is JetStream's error code if the first append with the
	// same id is not stored yet.
	codeDuplicateInProcess = 10158
	// codeStoreFailed is JetStream's error code if the leader cannot store a record.
	// Other replicas may have stored it.
	codeStoreFailed = 10077
)

const (
	// retryPause is the time after which an append is sent again after a momentary
	// error.
	retryPause = 50 * time.Millisecond
	// retryTime bounds the time in which appends are sent again.
	retryTime = appendTime
)

// isMomentary reports whether an append with this error was not stored, and may succeed
// soon: another append with its key is not finished, or this NATS server does not know a
// leader of the stream, as when the stream was just created.
func isMomentary(err error) bool {
	apiError := new(jetstream.APIError)
	return errors.As(err, &apiError) && apiError.ErrorCode == codeDuplicateInProcess ||
		errors.Is(err, nats.ErrNoResponders)
}

// resend sends an append again after err, unless it has taken too long.
func (p *publisher) resend(a *pendingAppend, err error) {
	if time.Since(a.begun) < retryTime {
		err = p.publish(a)
	}
	if err != nil {
		a.end(chatsvc.Appended{}, err)
	}
}

// fail ends all appends that JetStream has not answered with err.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	pending := slices.Collect(maps.Keys(p.pending))
	p.mu.Unlock()
	for _, number := range pending {
		p.finish(number, chatsvc.Appended{}, err)
	}
}
