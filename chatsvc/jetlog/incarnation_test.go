package jetlog

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was written since it was called last.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

// openWithLog opens a log whose own log is in memory.
func openWithLog(t *testing.T) (*Log, *lockedBuffer) {
	t.Helper()
	out := &lockedBuffer{}
	l, err := Open(t.Context(), t.TempDir(), 0, Options{Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, out
}

// Who looks for a stream that was removed says what became of it.
func TestRecreateSaysWhoCreated(t *testing.T) {
	t.Parallel()
	l, out := openWithLog(t)
	epoch := l.currentEpoch()
	for _, test := range []struct {
		name   string
		epoch  string
		remove bool
		want   error
		says   string
	}{
		{"it is there", epoch, false, errUnknown, ""},
		{"another server has created one", "before", false, errReplaced, "another server has created it anew"},
		{"it was removed", epoch, true, errReplaced, "it was created anew"},
	} {
		if test.remove {
			if err := l.js.DeleteStream(t.Context(), l.stream); err != nil {
				t.Fatal(err)
			}
		}
		out.take()
		err, said := l.recreate(t.Context(), test.epoch), out.take()
		if !errors.Is(err, test.want) || strings.Contains(said, "created") != (test.says != "") || !strings.Contains(said, test.says) {
			t.Errorf("%s: %v, and it says %q", test.name, err, said)
		}
	}
}

// A log that took its stream for another one goes on when it finds out.
func TestTurnThatWasNone(t *testing.T) {
	t.Parallel()
	l, _ := openWithLog(t)
	l.turn(l.turned)
	if _, err := l.Append(t.Context(), []byte("x"), ""); !errors.Is(err, errReplaced) {
		t.Errorf("append: %v", err)
	}
	if err := l.Follow(t.Context(), 1, func(chatsvc.Entry) error { return nil }); !errors.Is(err, errReplaced) {
		t.Errorf("follow: %v", err)
	}
	if _, err := l.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []byte("x"), ""); err != nil {
		t.Errorf("append when the state is known: %v", err)
	}
}

// What a server says of a stream that has no leader is not believed: it may not
// have all of it.
func TestStreamWithoutLeaderDoesNotGoBack(t *testing.T) {
	t.Parallel()
	conn := newNATS(t)
	_, err := conn.Subscribe("$JS.API.STREAM.INFO.chat", func(msg *nats.Msg) {
		const behind = `{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"chat","subjects":["chat"]},` +
			`"created":"2026-11-25T12:00:00Z","state":{"first_seq":1,"last_seq":1},"cluster":{"name":"c"}}`
		if err := msg.Respond([]byte(behind)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l := newLog("chat", streamConfig("chat", chatsvc.Retention{}, 3), Options{})
	if l.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	epoch := "created-20261125T120000.000000000"
	for name, ask := range map[string]func() error{
		"followed further":     func() error { return l.checkIncarnation(t.Context(), epoch, 5) },
		"acknowledged further": func() error { return l.wentBack(t.Context(), epoch, errLost) },
		"another epoch":        func() error { return l.checkIncarnation(t.Context(), "another", 1) },
		"watched":              func() error { return l.look(t.Context()) },
	} {
		if err := ask(); !errors.Is(err, errNoLeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
