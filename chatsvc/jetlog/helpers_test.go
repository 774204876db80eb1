package jetlog_test

import (
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// newTestLog returns a log that is shown when the test has failed.
func newTestLog(tb testing.TB) *chattest.Buffer {
	tb.Helper()
	l := &chattest.Buffer{}
	tb.Cleanup(func() {
		nosecret.Check(tb, l.String())
		if tb.Failed() {
			tb.Logf("the log's log:\n%s", l)
		}
	})
	return l
}

// logger returns a logger whose lines are shown when the test has failed.
func logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slogTo(newTestLog(tb))
}

// slogTo returns a logger that writes to l.
func slogTo(l *chattest.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// newRecord returns a message with content as a log stores it.
func newRecord(tb testing.TB, content string) []byte {
	tb.Helper()
	b, err := proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{{Content: []byte(content), From: "user1"}}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// natsOptions returns those of a NATS server on a free port of loopback.
func natsOptions(tb testing.TB) *server.Options {
	tb.Helper()
	return &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		MaxPayload: 8 << 20, JetStream: true, StoreDir: tb.TempDir(), SyncAlways: true,
	}
}

// startEmbedded starts a NATS server in this process. It ends with the test, unless
// it has ended before.
func startEmbedded(tb testing.TB, options *server.Options) *server.Server {
	tb.Helper()
	srv, err := server.NewServer(options)
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	tb.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		tb.Fatal("the NATS server does not start")
	}
	return srv
}

func closeLog(tb testing.TB, log *jetlog.Log) {
	tb.Helper()
	if err := log.Close(); err != nil {
		tb.Error(err)
	}
}

// appendText appends a text and returns its offset.
func appendText(tb testing.TB, log *jetlog.Log, content string) uint64 {
	tb.Helper()
	got, err := log.Append(tb.Context(), newRecord(tb, content), "")
	if err != nil {
		tb.Fatal(err)
	}
	return got.Offset
}

// fillConcurrently appends n records from many senders.
func fillConcurrently(tb testing.TB, log *jetlog.Log, n int) {
	tb.Helper()
	fillWith(tb, log, n, "fill")
}

func fillWith(tb testing.TB, log *jetlog.Log, n int, content string) {
	tb.Helper()
	const senders = 50
	var work sync.WaitGroup
	for range senders {
		work.Go(func() {
			for range n / senders {
				appendText(tb, log, content)
			}
		})
	}
	work.Wait()
}

// errEnough ends a Follow.
var errEnough = errors.New("enough")
