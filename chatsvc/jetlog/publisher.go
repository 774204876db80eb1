package jetlog

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
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

// pendingAppend is one append under way.
type pendingAppend struct {
	record []byte
	id     string // JetStream's message id, that of the key; empty: none
	begun  time.Time
	done   chan struct{}

	// The result, once done is closed.
	appended chatsvc.Appended
	err      error
}

func newAppend(record []byte, key string) *pendingAppend {
	a := &pendingAppend{record: record, begun: time.Now(), done: make(chan struct{})}
	if key != "" {
		a.id = messageID(key)
	}
	return a
}

// appendedNowhere goes with an error.
var appendedNowhere chatsvc.Appended

func (a *pendingAppend) end(appended chatsvc.Appended, err error) {
	a.appended, a.err = appended, err
	close(a.done)
}

// flight is what one answer of JetStream's acknowledges: an append, or a batch
// of them.
type flight struct {
	appends []*pendingAppend
	begun   time.Time
	refused func([]*pendingAppend) // called for a batch that was not stored because of a duplicate
}

// publisher sends records to the stream's subject and matches the answers. One
// subscription takes all answers: a request's inbox for each would cost more
// than the record.
type publisher struct {
	conn    *nats.Conn
	subject string
	prefix  string // of the answers' subjects
	wait    time.Duration
	// settle, if it is not nil, is called before an offset is acknowledged.
	settle func(offset uint64) error

	recent *recent // what was acknowledged; nil where other processes store too

	mu      sync.Mutex // guards all below
	last    uint64     // flight that left last
	flights map[uint64]*flight
	sweeper *time.Timer // lands flights that get no answer; nil while not armed
}

func newPublisher(conn *nats.Conn, subject string, wait time.Duration, recent *recent) (*publisher, error) {
	p := &publisher{
		conn:    conn,
		subject: subject,
		prefix:  conn.NewInbox() + ".",
		wait:    wait,
		recent:  recent,
		flights: make(map[uint64]*flight),
	}
	answers, err := conn.Subscribe(p.prefix+"*", p.answer)
	if err != nil {
		return nil, err
	}
	return p, answers.SetPendingLimits(-1, -1) // as many as there are appends
}

// publish sends a record; a ends when JetStream has answered.
func (p *publisher) publish(a *pendingAppend) error {
	msg := &nats.Msg{Subject: p.subject, Data: a.record}
	if a.id != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {a.id}}
	}
	return p.send(msg, &flight{appends: []*pendingAppend{a}})
}

// publishBatch sends records that are stored together: JetStream writes them to
// the disk at once. Where one of them is a duplicate none is stored, and they
// are handed to refused.
func (p *publisher) publishBatch(appends []*pendingAppend, refused func([]*pendingAppend)) error {
	id := rand.Text()[:12]
	for i, a := range appends {
		header := nats.Header{
			jetstreamBatchID:       {id},
			jetstreamBatchSequence: {strconv.Itoa(i + 1)},
		}
		if a.id != "" {
			header[jetstream.MsgIDHeader] = []string{a.id}
		}
		msg := &nats.Msg{Subject: p.subject, Data: a.record, Header: header}
		if i < len(appends)-1 {
			if err := p.conn.PublishMsg(msg); err != nil {
				return err
			}
			continue
		}
		header[jetstreamBatchCommit] = []string{"1"}
		return p.send(msg, &flight{appends: appends, refused: refused})
	}
	return nil
}

// Headers of an atomic batch (NATS ADR-50, "JetStream Batch Publishing").
const (
	jetstreamBatchID       = "Nats-Batch-Id"
	jetstreamBatchSequence = "Nats-Batch-Sequence"
	jetstreamBatchCommit   = "Nats-Batch-Commit"
)

// send sends msg, whose answer ends f.
func (p *publisher) send(msg *nats.Msg, f *flight) error {
	f.begun = time.Now()
	p.mu.Lock()
	p.last++
	id := p.last
	p.flights[id] = f
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.wait, p.sweep)
	}
	p.mu.Unlock()
	msg.Reply = p.prefix + strconv.FormatUint(id, 36)
	if err := p.conn.PublishMsg(msg); err != nil && p.take(id) != nil {
		return err // else fail was faster, and has ended the appends
	}
	return nil
}

// sweep ends the flights whose time is over, and comes back for the others.
func (p *publisher) sweep() {
	var late []uint64
	now := time.Now()
	p.mu.Lock()
	p.sweeper = nil
	next := now.Add(p.wait)
	for id, f := range p.flights {
		if due := f.begun.Add(p.wait); due.After(now) {
			next = earlier(next, due)
		} else {
			late = append(late, id)
		}
	}
	if len(p.flights) > len(late) {
		p.sweeper = time.AfterFunc(next.Sub(now), p.sweep)
	}
	p.mu.Unlock()
	for _, id := range late {
		p.land(id, appendedNowhere, errNoAnswer)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// take returns a flight that has not landed yet, and forgets it.
func (p *publisher) take(id uint64) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.flights[id]
	delete(p.flights, id)
	return f
}

// pubAck is JetStream's answer.
type pubAck struct {
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// answer takes JetStream's answer.
func (p *publisher) answer(msg *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, p.prefix), 36, 64)
	if err != nil {
		return // not ours
	}
	appended, err := parseAnswer(msg)
	p.land(id, appended, err)
}

func parseAnswer(msg *nats.Msg) (chatsvc.Appended, error) {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return appendedNowhere, nats.ErrNoResponders
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

// Codes of JetStream's errors.
const (
	// codeDuplicateInProcess: the first append with the same id is not stored yet.
	codeDuplicateInProcess = 10158
	// codeBatchDuplicate: one of a batch is a duplicate.
	codeBatchDuplicate = 10201
)

// land ends the appends of a flight. The appended offset is that of the last.
func (p *publisher) land(id uint64, appended chatsvc.Appended, err error) {
	f := p.take(id)
	if f == nil {
		return // its time was over
	}
	apiError := new(jetstream.APIError)
	if errors.As(err, &apiError) {
		switch {
		case apiError.ErrorCode == codeBatchDuplicate && f.refused != nil,
			apiError.ErrorCode == codeDuplicateInProcess && f.refused != nil:
			f.refused(f.appends)
			return
		case apiError.ErrorCode == codeDuplicateInProcess:
			p.again(f)
			return
		}
	}
	if err == nil && p.settle != nil {
		err = p.settle(appended.Offset)
	}
	switch {
	case err != nil || p.recent == nil:
	case appended.Duplicate:
		p.recent.reach(appended.Offset)
	default:
		p.recent.add(f.appends, appended.Offset)
	}
	n := uint64(len(f.appends))
	for i, a := range f.appends {
		one := appended
		if err == nil {
			one.Offset -= n - 1 - uint64(i)
		}
		a.end(one, err)
	}
}

// retryPause is the time after which an append asks again what became of one
// with the same id.
const retryPause = 20 * time.Millisecond

// again repeats an append whose twin is under way, until the twin is stored and
// this one is its duplicate, or the time is over.
func (p *publisher) again(f *flight) {
	a := f.appends[0]
	time.AfterFunc(retryPause, func() {
		if time.Since(a.begun) > p.wait {
			a.end(appendedNowhere, errNoAnswer)
			return
		}
		if err := p.publish(a); err != nil {
			a.end(appendedNowhere, err)
		}
	})
}

// fail ends all appends under way with err.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	ids := make([]uint64, 0, len(p.flights))
	for id := range p.flights {
		ids = append(ids, id)
	}
	p.mu.Unlock()
	for _, id := range ids {
		p.land(id, appendedNowhere, err)
	}
}
