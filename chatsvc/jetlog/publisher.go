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

// errNoAnswer is the end of an append that waited for too long.
var errNoAnswer = errors.New("no acknowledgement in time")

// publisher sends records to the stream's subject and matches the answers. One
// subscription takes all answers: a request's inbox for each would cost more
// than the record.
type publisher struct {
	conn    *nats.Conn
	subject string
	prefix  string // of the answers' subjects
	wait    time.Duration
	// stored takes an append that JetStream has stored, in the stream's order,
	// and ends it.
	stored func(*pendingAppend)

	mu      sync.Mutex // guards all below
	last    uint64     // append that left last
	flights map[uint64]*pendingAppend
	sweeper *time.Timer // lands appends that get no answer; nil while not armed
}

func newPublisher(conn *nats.Conn, subject string, wait time.Duration, stored func(*pendingAppend)) (*publisher, error) {
	p := &publisher{
		conn:    conn,
		subject: subject,
		prefix:  conn.NewInbox() + ".",
		wait:    wait,
		stored:  stored,
		flights: make(map[uint64]*pendingAppend),
	}
	answers, err := conn.Subscribe(p.prefix+"*", p.answer)
	if err != nil {
		return nil, err
	}
	return p, answers.SetPendingLimits(-1, -1) // as many as there are appends
}

// publish sends a record; a ends when JetStream has answered.
func (p *publisher) publish(a *pendingAppend) error {
	p.mu.Lock()
	p.last++
	flight := p.last
	p.flights[flight] = a
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.wait, p.sweep)
	}
	p.mu.Unlock()
	msg := &nats.Msg{Subject: p.subject, Reply: p.prefix + strconv.FormatUint(flight, 36), Data: a.record}
	if a.id != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {a.id}}
	}
	if err := p.conn.PublishMsg(msg); err != nil && p.take(flight) != nil {
		return err // else fail was faster, and has ended the append
	}
	return nil
}

// sweep ends the appends whose time is over, and comes back for the others.
func (p *publisher) sweep() {
	var late []uint64
	now := time.Now()
	p.mu.Lock()
	p.sweeper = nil
	next := now.Add(p.wait)
	for flight, a := range p.flights {
		if due := a.begun.Add(p.wait); due.After(now) {
			next = earlier(next, due)
		} else {
			late = append(late, flight)
		}
	}
	if len(p.flights) > len(late) {
		p.sweeper = time.AfterFunc(next.Sub(now), p.sweep)
	}
	p.mu.Unlock()
	for _, flight := range late {
		p.land(flight, appendedNowhere, errNoAnswer)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// take returns an append that has not landed yet, and forgets it.
func (p *publisher) take(flight uint64) *pendingAppend {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.flights[flight]
	delete(p.flights, flight)
	return a
}

// pubAck is JetStream's answer.
type pubAck struct {
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// answer takes JetStream's answer.
func (p *publisher) answer(msg *nats.Msg) {
	flight, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, p.prefix), 36, 64)
	if err != nil {
		return // not ours
	}
	appended, err := parseAnswer(msg)
	p.land(flight, appended, err)
}

func parseAnswer(msg *nats.Msg) (chatsvc.Appended, error) {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return appendedNowhere, nats.ErrNoResponders
	}
	if offset, ok := storedAt(msg.Data); ok {
		return chatsvc.Appended{Offset: offset}, nil
	}
	var ack pubAck
	if err := json.Unmarshal(msg.Data, &ack); err != nil {
		return appendedNowhere, fmt.Errorf("nats: acknowledgement %q: %w", msg.Data, err)
	}
	if ack.Error != nil {
		return appendedNowhere, ack.Error
	}
	if ack.Sequence == 0 {
		return appendedNowhere, fmt.Errorf("nats: an acknowledgement without a sequence: %q", msg.Data)
	}
	return chatsvc.Appended{Offset: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// storedAt returns the sequence in an answer that has nothing after it, as that of
// a new record: to parse all of the JSON takes a tenth of an append's time.
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

// land takes what became of an append.
func (p *publisher) land(flight uint64, appended chatsvc.Appended, err error) {
	a := p.take(flight)
	switch {
	case a == nil: // its time was over
	case isPassed(err):
		time.AfterFunc(retryPause, func() { p.again(a, err) })
	case err != nil:
		a.end(appendedNowhere, err)
	default:
		a.appended = appended
		p.stored(a)
	}
}

// codeDuplicateInProcess is JetStream's error where the first append with the
// same id is not stored yet.
const codeDuplicateInProcess = 10158

const (
	// retryPause is the time after which an append is sent again that was answered
	// with an error that passes.
	retryPause = 50 * time.Millisecond
	// retryTime bounds such repeats.
	retryTime = 2 * time.Second
)

// isPassed reports whether an append that had err was not stored, and may be in
// a moment: its twin is under way, or the stream has no leader that this NATS
// server knows of, as when it was just made.
func isPassed(err error) bool {
	apiError := new(jetstream.APIError)
	return errors.As(err, &apiError) && apiError.ErrorCode == codeDuplicateInProcess ||
		errors.Is(err, nats.ErrNoResponders)
}

// again repeats an append that had err, unless it has taken too long.
func (p *publisher) again(a *pendingAppend, err error) {
	if time.Since(a.begun) < retryTime {
		err = p.publish(a)
	}
	if err != nil {
		a.end(appendedNowhere, err)
	}
}

// fail ends with err all appends that JetStream has not answered.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	flights := slices.Collect(maps.Keys(p.flights))
	p.mu.Unlock()
	for _, flight := range flights {
		p.land(flight, appendedNowhere, err)
	}
}
