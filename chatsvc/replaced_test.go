package chatsvc_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
)

// replacedLog is a log that can become another one.
type replacedLog struct {
	mu   sync.Mutex // guards all below
	log  *chatsvc.MemoryLog
	done chan struct{} // closed when log is not the log any more
}

func newReplacedLog() *replacedLog {
	return &replacedLog{log: chatsvc.NewMemoryLog(chatsvc.Retention{}), done: make(chan struct{})}
}

func (l *replacedLog) current() (*chatsvc.MemoryLog, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log, l.done
}

func (l *replacedLog) replace(by *chatsvc.MemoryLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.done)
	l.log, l.done = by, make(chan struct{})
}

// replaceQuietly is replace before those that follow the log have noticed.
func (l *replacedLog) replaceQuietly(by *chatsvc.MemoryLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = by
}

func (l *replacedLog) State(ctx context.Context) (chatsvc.State, error) {
	log, _ := l.current()
	return log.State(ctx)
}

func (l *replacedLog) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	log, _ := l.current()
	return log.Append(ctx, record, key)
}

func (l *replacedLog) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error) {
	log, _ := l.current()
	return log.Read(ctx, epoch, from, to, maxBytes)
}

func (l *replacedLog) Follow(ctx context.Context, epoch string, from uint64, yield func(chatsvc.Chunk) error) error {
	log, done := l.current()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-done:
			cancel(errors.New("replaced"))
		case <-ctx.Done():
		}
	}()
	if err := log.Follow(ctx, epoch, from, yield); ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// If the log is replaced by another one, the streams end. A subscriber that resumes sees
// the new epoch and all of its history.
func TestReplacedLogEndsStreams(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	log := newReplacedLog()
	for _, content := range []string{"a", "b", "c"} {
		appendTo(t, log, content, "")
	}
	svc := newService(t, chatsvc.WithLog(log))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[1]), protocol: wireProtocols[0]}
	client := f.as(t, "user1", "qwerty")
	sub := chattest.Subscribe(ctx, t, client)
	epoch := sub.Stream.ResponseHeader().Get(chatsvc.HeaderEpoch)
	for range 3 {
		sub.Next()
	}

	other := chatsvc.NewMemoryLog(chatsvc.Retention{})
	appendTo(t, other, "new history", "")
	log.replace(other)
	if sub.Stream.Receive() || connect.CodeOf(sub.Stream.Err()) != connect.CodeUnavailable || !contains(sub.Stream.Err(), "replaced") {
		t.Errorf("after the log was replaced: %v, %v", sub.Stream.Msg(), sub.Stream.Err())
	}
	sub = chattest.Subscribe(ctx, t, client)
	if got := string(sub.Next().GetContent()); got != "new history" {
		t.Errorf("message %q", got)
	}
	if got := sub.Stream.ResponseHeader().Get(chatsvc.HeaderEpoch); got == epoch {
		t.Errorf("the epoch is still %s", got)
	}
	send(ctx, t, client, text("live"))
	if got := string(sub.Next().GetContent()); got != "live" {
		t.Errorf("message %q", got)
	}
}

// heldLog is a log whose appends end when they are told to.
type heldLog struct {
	*replacedLog

	held    chan struct{} // gets a value when an append is stored
	release chan struct{}
}

func (l *heldLog) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	got, err := l.replacedLog.Append(ctx, record, key)
	l.held <- struct{}{}
	<-l.release
	return got, err
}

// A send that runs when the log is replaced is not acknowledged: the epoch that it began
// with may not be that of its offset.
func TestReplacedLogEndsSends(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	log := &heldLog{newReplacedLog(), make(chan struct{}), make(chan struct{})}
	svc := newService(t, chatsvc.WithLog(log))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[1]), protocol: wireProtocols[0]}
	client := f.as(t, "user1", "qwerty")
	sub := chattest.Subscribe(ctx, t, client)
	sent := make(chan error, 1)
	go func() {
		_, err := client.SendMessage(ctx, text("x"))
		sent <- err
	}()
	<-log.held
	log.replace(chatsvc.NewMemoryLog(chatsvc.Retention{}))
	for sub.Stream.Receive() {
		continue // the message may have come
	}
	close(log.release)
	if err := <-sent; connect.CodeOf(err) != connect.CodeUnavailable || !contains(err, "replaced") {
		t.Errorf("send: %v", err)
	}
}

// A send is not acknowledged with the epoch that the service knows if the log has
// stored it in another one already: the offset would be one of the old history.
func TestSendInAnotherEpochIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	log := newReplacedLog()
	svc := newService(t, chatsvc.WithLog(log))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[1]), protocol: wireProtocols[0]}
	client := f.as(t, "user1", "qwerty")
	send(ctx, t, client, text("in the first log"))
	chattest.Subscribe(ctx, t, client).Next() // the service follows it
	log.replaceQuietly(chatsvc.NewMemoryLog(chatsvc.Retention{}))
	if _, err := client.SendMessage(ctx, text("x")); connect.CodeOf(err) != connect.CodeUnavailable || !contains(err, "replaced") {
		t.Errorf("send: %v", err)
	}
}
