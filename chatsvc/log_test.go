package chatsvc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

func record(tb testing.TB, content string) []byte {
	tb.Helper()
	b, err := proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{text(content)}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func appendTo(tb testing.TB, log chatsvc.Log, content, key string) chatsvc.Appended {
	tb.Helper()
	got, err := log.Append(context.Background(), record(tb, content), key)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

var errEnough = errors.New("enough")

func TestMemoryLogForgetsKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := chatsvc.NewMemoryLog(chatsvc.Retention{})
		first := appendTo(t, log, "a", "key")
		time.Sleep(chatsvc.KeyWindow)
		if got := appendTo(t, log, "b", "key"); !got.Duplicate || got.Offset != first.Offset {
			t.Errorf("append within the window: %+v", got)
		}
		time.Sleep(time.Second)
		if got := appendTo(t, log, "c", "key"); got.Duplicate || got.Offset != first.Offset+1 {
			t.Errorf("append after the window: %+v", got)
		}
	})
}

// Age is applied also when nobody sends or subscribes.
func TestRetentionByAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		retention := chatsvc.Retention{Age: time.Hour}
		log := chatsvc.NewMemoryLog(retention)
		appendTo(t, log, "old", "")
		time.Sleep(30 * time.Minute)
		appendTo(t, log, "young", "")
		state := func() chatsvc.State {
			synctest.Wait()
			state, err := log.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return state
		}
		if got := state(); got.First != 1 {
			t.Errorf("after half an hour: %+v", got)
		}
		time.Sleep(30 * time.Minute)
		if got := state(); got.First != 2 {
			t.Errorf("after an hour: %+v", got)
		}
		svc, err := chatsvc.New(chatsvc.WithLog(log))
		if err != nil {
			t.Fatal(err)
		}
		defer svc.Close()
		time.Sleep(time.Hour)
		if got := state(); got.First != got.Next {
			t.Errorf("after two hours: %+v", got)
		}
	})
}

// A service serves what its log held before, and several services may share a
// log.
func TestServicesShareALog(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	log := chatsvc.NewMemoryLog(chatsvc.DefaultRetention())
	for n := range 1000 {
		appendTo(t, log, fmt.Sprint(n), "")
	}
	var faces [2]face
	for i := range faces {
		svc := newService(t, chatsvc.WithLog(log))
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		faces[i] = face{service: svc, server: newServer(t, mux, transports[1]), protocol: wireProtocols[2]}
	}
	subs := make([]*chattest.Subscription, len(faces))
	for i, f := range faces {
		subs[i] = chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty"))
	}
	send(ctx, t, faces[0].as(t, "user1", "qwerty"), text("1000"))
	for i, sub := range subs {
		for n := range 1001 {
			if got := string(sub.Next().GetContent()); got != fmt.Sprint(n) {
				t.Fatalf("service %d: message %s where %d was due", i, got, n)
			}
		}
	}
}

// flakyLog is a log whose first Follow fails after three records.
type flakyLog struct {
	*chatsvc.MemoryLog

	mu    sync.Mutex
	calls int
}

func (l *flakyLog) Follow(ctx context.Context, epoch string, from uint64, yield func(chatsvc.Chunk) error) error {
	l.mu.Lock()
	l.calls++
	first := l.calls == 1
	l.mu.Unlock()
	n := 0
	return l.MemoryLog.Follow(ctx, epoch, from, func(c chatsvc.Chunk) error {
		if n++; first && n > 3 {
			return errors.New("connection lost")
		}
		return yield(c)
	})
}

func TestFollowRetries(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	log := &flakyLog{MemoryLog: chatsvc.NewMemoryLog(chatsvc.Retention{})}
	svc := newService(t, chatsvc.WithLog(log))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
	client := f.as(t, "user1", "qwerty")
	sub := chattest.Subscribe(ctx, t, client)
	for n := range 10 {
		send(ctx, t, client, text(fmt.Sprint(n)))
	}
	for n := range 10 {
		if got := string(sub.Next().GetContent()); got != fmt.Sprint(n) {
			t.Fatalf("message %s where %d was due", got, n)
		}
	}
}

// A damaged record is delivered as an empty message, live and as history, and hides
// nothing around it.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	out := &chattest.Buffer{}
	log := chatsvc.NewMemoryLog(chatsvc.Retention{})
	appendTo(t, log, "before", "")
	svc := newService(t, chatsvc.WithLog(log), chatsvc.WithLogger(nosecret.Logger(t, out)))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
	client := f.as(t, "user1", "qwerty")
	check := func(sub *chattest.Subscription) {
		t.Helper()
		for _, want := range []string{"before", "", "behind"} {
			got := sub.Next()
			if string(got.GetContent()) != want || want == "" && (got.GetFrom() != "" || got.GetType() != chatpb.ChatMessage_Unknown || got.GetTimestamp() != 0) {
				t.Errorf("message %v, content %q was due", got, want)
			}
		}
	}
	live := chattest.Subscribe(ctx, t, client)
	if _, err := log.Append(ctx, []byte("damaged"), ""); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "behind", "")
	check(live)
	check(chattest.Subscribe(ctx, t, client))
	again := newService(t, chatsvc.WithLog(log)) // to which all is history
	mux = http.NewServeMux()
	mux.Handle(again.Handler())
	f = face{service: again, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
	check(chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty")))
	if n := strings.Count(out.String(), "records cannot be read"); n != 1 {
		t.Errorf("logged %d times: %s", n, out.String())
	}
}

// slowLog is a log whose Append waits.
type slowLog struct {
	*chatsvc.MemoryLog

	entered, proceed chan struct{}
}

func (l *slowLog) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	l.entered <- struct{}{}
	<-l.proceed
	return l.MemoryLog.Append(ctx, record, key)
}

// A message whose send is running when the service closes is acknowledged and delivered.
func TestCloseDeliversSendsUnderWay(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	log := &slowLog{chatsvc.NewMemoryLog(chatsvc.Retention{}), make(chan struct{}), make(chan struct{})}
	svc := newService(t, chatsvc.WithLog(log))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
	sub := chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty"))
	sent := make(chan error)
	go func() {
		_, err := f.as(t, "user1", "qwerty").SendMessage(ctx, text("just in time"))
		sent <- err
	}()
	<-log.entered
	svc.Close()
	close(log.proceed)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := string(sub.Next().GetContent()); got != "just in time" {
		t.Errorf("message %q", got)
	}
	if err := svc.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// stuckLog is a log whose Follow hands out nothing.
type stuckLog struct{ *chatsvc.MemoryLog }

func (l *stuckLog) Follow(ctx context.Context, _ string, _ uint64, _ func(chatsvc.Chunk) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// A new subscriber does not wait for ever for a log that hands out nothing.
func TestStuckLogRefusesSubscribers(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	svc := newService(t, chatsvc.WithLog(&stuckLog{chatsvc.NewMemoryLog(chatsvc.Retention{})}))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
	send(ctx, t, f.as(t, "user1", "qwerty"), text("x"))
	if err := receiveError(ctx, f.as(t, "user1", "qwerty")); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("messageList: %v", err)
	}
}
