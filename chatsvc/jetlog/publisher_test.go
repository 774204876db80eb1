package jetlog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"example.com/simplechat/chatsvc"
)

// newNATS starts a NATS server, and returns a connection to it. Both end with the
// test.
func newNATS(t *testing.T) *nats.Conn {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Shutdown)
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// A stream that was just made, or whose leader has just changed, is not known to
// all NATS servers at once: an append to it waits, and is stored.
func TestAppendWaitsForLeader(t *testing.T) {
	t.Parallel()
	conn := newNATS(t)
	p, err := newPublisher(conn, "chat")
	if err != nil {
		t.Fatal(err)
	}
	a := newAppend([]byte("record"), "key")
	if err := p.publish(a); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil { // nothing answers
		t.Fatal(err)
	}
	var leader atomic.Int64
	_, err = conn.Subscribe("chat", func(msg *nats.Msg) {
		if err := msg.Respond(fmt.Appendf(nil, `{"seq":%d}`, 7+leader.Add(1))); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-a.done
	if a.err != nil || a.appended.Offset != 8 || leader.Load() != 1 {
		t.Errorf("%+v, %v, after %d records", a.appended, a.err, leader.Load())
	}
}

// Where nobody stores the append ends, and says so.
func TestAppendToNobodyEnds(t *testing.T) {
	t.Parallel()
	p, err := newPublisher(newNATS(t), "chat")
	if err != nil {
		t.Fatal(err)
	}
	a := newAppend([]byte("record"), "")
	if err := p.publish(a); err != nil {
		t.Fatal(err)
	}
	<-a.done
	if !errors.Is(a.err, nats.ErrNoResponders) {
		t.Errorf("it ended with %v", a.err)
	}
}

// All kinds of answers of JetStream are understood.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]chatsvc.Appended{
		`{"stream":"chat", "seq":7}`:                                                        {Offset: 7},
		`{"stream":"chat","domain":"d","seq":18446744073709551615}`:                         {Offset: 1<<64 - 1},
		`{"stream":"chat","seq":7,"duplicate": true}`:                                       {Offset: 7, Duplicate: true},
		`{"seq":7,"stream":"chat"}`:                                                         {Offset: 7},
		`{"stream":"chat","seq":7,"duplicate":false}`:                                       {Offset: 7},
		`{"error":{"code":503,"err_code":10077,"description":"x"},"stream":"chat","seq":0}`: {},
		`{"error":{"code":503,"description":"x"},"stream":"chat","seq":9}`:                  {},
		`{"stream":"chat","seq":0}`:                                                         {},
		`{"stream":"chat"}`:                                                                 {},
		`{"stream":"chat","seq":7`:                                                          {},
		``:                                                                                  {},
	} {
		got, err := parseAnswer(&nats.Msg{Data: []byte(answer)})
		if got != want || (err == nil) != (want.Offset > 0) {
			t.Errorf("%s: %+v, %v, %+v was due", answer, got, err, want)
		}
	}
}
