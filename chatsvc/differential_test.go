package chatsvc_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// reader is a stream of any face.
type reader interface {
	// next returns the next message, or the error with which the server ended the
	// stream.
	next() (*chatpb.ChatMessage, error)
}

// framedReader reads a stream of connect, gRPC or gRPC-Web.
type framedReader struct {
	stream  *connect.ServerStreamForClient[chatpb.ChatMessages]
	pending []*chatpb.ChatMessage
}

func (r *framedReader) next() (*chatpb.ChatMessage, error) {
	for len(r.pending) == 0 {
		if !r.stream.Receive() {
			return nil, r.stream.Err()
		}
		r.pending = r.stream.Msg().GetMessages()
	}
	msg := r.pending[0]
	r.pending = r.pending[1:]
	return msg, nil
}

// textReader reads a stream of lines with JSON, or of events with it.
type textReader struct {
	lines   *bufio.Reader
	pending []*chatpb.ChatMessage
}

func (r *textReader) next() (*chatpb.ChatMessage, error) {
	for len(r.pending) == 0 {
		line, err := r.lines.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		asJSON := bytes.TrimPrefix(bytes.TrimSpace(line), []byte("data: "))
		if len(asJSON) == 0 || asJSON[0] != '{' {
			continue // another line of an event, or a comment
		}
		if err := wireErrorOf(asJSON); err != nil {
			return nil, err
		}
		var batch chatpb.ChatMessages
		if err := protojson.Unmarshal(asJSON, &batch); err != nil {
			return nil, err
		}
		r.pending = batch.GetMessages()
	}
	msg := r.pending[0]
	r.pending = r.pending[1:]
	return msg, nil
}

// wireErrorOf returns the error that JSON is, if it is one.
func wireErrorOf(text []byte) error {
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(text, &e) // other errors have no code
	if e.Code == "" {
		return nil
	}
	var code connect.Code
	if err := code.UnmarshalText([]byte(e.Code)); err != nil {
		return err
	}
	return connect.NewError(code, errors.New(e.Message))
}

// door is a way into a system under test. Its functions return connect's codes.
type door struct {
	name string
	send func(ctx context.Context, login http.Header, msg *chatpb.ChatMessage) error
	list func(ctx context.Context, login http.Header) (reader, error) // nil if there is no such
	can  func(msg *chatpb.ChatMessage) bool                           // whether send can express a message
}

func anything(*chatpb.ChatMessage) bool { return true }

// typed reports whether JSON can express a message. It omits zero values, so content
// without a type must be text: people who write JSON by hand forget that it is base64.
func typed(msg *chatpb.ChatMessage) bool {
	return msg.GetType() != chatpb.ChatMessage_Unknown || utf8.Valid(msg.GetContent())
}

// framed returns the door of a protocol with frames.
func framed(tb testing.TB, s *server, p wireProtocol) door {
	dial := func(login http.Header) chatconnect.SimpleChatClient {
		return face{server: s, protocol: p}.with(tb, login)
	}
	can := anything
	if strings.HasSuffix(p.name, "json") {
		can = typed
	}
	return door{
		name: p.name + "/" + s.transport.name,
		send: func(ctx context.Context, login http.Header, msg *chatpb.ChatMessage) error {
			_, err := dial(login).SendMessage(ctx, msg)
			return err
		},
		list: func(ctx context.Context, login http.Header) (reader, error) {
			stream, err := dial(login).MessageList(ctx, &chatpb.None{})
			if err != nil {
				return nil, err
			}
			tb.Cleanup(func() { _ = stream.Close() })
			r := &framedReader{stream: stream}
			if !stream.Receive() {
				return nil, stream.Err()
			}
			r.pending = stream.Msg().GetMessages()
			return r, nil
		},
		can: can,
	}
}

// plain returns the door of a content type that is the content itself, or JSON, and of
// a text form of the stream.
func plain(tb testing.TB, s *server, contentType, accept string) door {
	do := func(ctx context.Context, method, path string, login http.Header, name, value string, body []byte) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header = login.Clone()
		req.Header.Set(name, value)
		res, err := s.newClient(tb).Do(req)
		if err != nil {
			return nil, err
		}
		tb.Cleanup(func() { _ = res.Body.Close() })
		if res.StatusCode == http.StatusOK {
			return res, nil
		}
		text, err := io.ReadAll(res.Body)
		return nil, errors.Join(err, wireErrorOf(text))
	}
	return door{
		name: contentType + "/" + accept + "/" + s.transport.name,
		send: func(ctx context.Context, login http.Header, msg *chatpb.ChatMessage) error {
			body := msg.GetContent()
			if contentType == "application/json" {
				body, _ = protojson.Marshal(msg)
			}
			_, err := do(ctx, http.MethodPost, chatconnect.SimpleChatSendMessageProcedure, login, "Content-Type", contentType, body)
			return err
		},
		list: func(ctx context.Context, login http.Header) (reader, error) {
			res, err := do(ctx, http.MethodGet, chatconnect.SimpleChatMessageListProcedure, login, "Accept", accept, nil)
			if err != nil {
				return nil, err
			}
			return &textReader{lines: bufio.NewReader(res.Body)}, nil
		},
		can: func(msg *chatpb.ChatMessage) bool {
			switch contentType {
			case "text/plain":
				return msg.GetType() == chatpb.ChatMessage_Text && msg.GetTimestamp() == 0
			case "image/png":
				return msg.GetType() == chatpb.ChatMessage_Image && msg.GetTimestamp() == 0
			default:
				return typed(msg)
			}
		},
	}
}

// doors returns all ways into a service.
func doors(tb testing.TB, h http.Handler) (all []door) {
	for _, t := range transports {
		s := newServer(tb, h, t)
		for _, p := range wireProtocols {
			if t.http2 || !p.needsHTTP2 {
				all = append(all, framed(tb, s, p))
			}
		}
		all = append(all,
			plain(tb, s, "application/json", "application/x-ndjson"),
			plain(tb, s, "text/plain", "text/event-stream"),
			plain(tb, s, "image/png", "application/json"))
	}
	return all
}

// seen is a pair of subscribers: one of each system.
type seen struct {
	door      string
	ours, ref reader
	received  int
}

// differ runs a random script of sends and subscriptions against both systems.
type differ struct {
	*testing.T

	ctx    context.Context //nolint:containedctx // the script's: it ends with the test
	chance *rand.Rand
	doors  []door
	ref    door
	open   []*seen
	sent   int // messages that are stored
}

// logins are credentials, most of which are right.
var logins = []http.Header{
	{"User-Name": {"user1"}, "User-Password": {"qwerty"}},
	{"User-Name": {"user2"}, "User-Password": {"qwerty"}},
	{"User-Name": {"user3"}, "User-Password": {"qwerty"}},
	{"User-Name": {"user4"}, "User-Password": {"qwerty"}},
	{"User-Name": {"user5"}, "User-Password": {"qwerty"}},
	{"User-Name": {"user1"}, "User-Password": {"wrong"}},
	{"User-Name": {"nobody"}, "User-Password": {"qwerty"}},
	{},
}

// message returns a message, valid in most cases.
func (d *differ) message() *chatpb.ChatMessage {
	msg := &chatpb.ChatMessage{Content: fmt.Appendf(nil, "grüß dich %d", d.chance.Uint32()), Type: chatpb.ChatMessage_Text}
	switch d.chance.IntN(30) {
	case 0:
		msg.Content = make([]byte, 1<<20+1)
	case 1:
		msg.Content = make([]byte, 1<<20)
	case 2:
		msg.Content = nil
	case 3:
		msg.Type = 7
	case 4:
		msg.Content = []byte("\xff\xfe")
	}
	if d.chance.IntN(3) == 0 && msg.GetType() == chatpb.ChatMessage_Text {
		msg.Type = chatpb.ChatMessage_ContentType(d.chance.IntN(3))
	}
	if d.chance.IntN(3) == 0 {
		msg.Timestamp = d.chance.Uint64()
	}
	if d.chance.IntN(3) == 0 {
		msg.From = "somebody else"
	}
	return msg
}

// anyDoor returns a door that can express a message.
func (d *differ) anyDoor(msg *chatpb.ChatMessage) door {
	for {
		if in := d.doors[d.chance.IntN(len(d.doors))]; in.can(msg) {
			return in
		}
	}
}

// step does one thing to both systems.
func (d *differ) step() {
	login := logins[d.chance.IntN(len(logins))]
	switch d.chance.IntN(6) {
	case 0:
		in := d.anyDoor(&chatpb.ChatMessage{})
		ours, err := in.list(d.ctx, login)
		ref, want := d.ref.list(d.ctx, login)
		d.compareErrors(in.name+" subscribes", err, want)
		if err == nil && want == nil {
			d.open = append(d.open, &seen{in.name, ours, ref, 0})
		}
	case 1:
		if len(d.open) > 0 {
			s := d.open[d.chance.IntN(len(d.open))]
			d.read(s, d.sent-s.received)
		}
	default:
		msg := d.message()
		in := d.anyDoor(msg)
		err := in.send(d.ctx, login, proto.CloneOf(msg))
		want := d.ref.send(d.ctx, login, proto.CloneOf(msg))
		d.compareErrors(fmt.Sprintf("%s sends %d bytes of type %v", in.name, len(msg.GetContent()), msg.GetType()), err, want)
		if want == nil {
			d.sent++
		}
	}
}

// compareErrors compares what both systems answered.
func (d *differ) compareErrors(what string, got, want error) {
	d.Helper()
	if (got == nil) != (want == nil) || got != nil && connect.CodeOf(got) != connect.CodeOf(want) {
		d.Errorf("%s: %v, where the reference says %v", what, got, want)
	}
}

// read compares the next n messages of a pair of subscribers.
func (d *differ) read(s *seen, n int) {
	d.Helper()
	for range n {
		got, err := s.ours.next()
		want, errRef := s.ref.next()
		if err != nil || errRef != nil {
			d.Fatalf("%s, message %d: %v, and of the reference %v", s.door, s.received, err, errRef)
		}
		s.received++
		// Where no client has set the time, each has its own.
		if now := uint64(time.Now().UnixMilli()); now-want.GetTimestamp() < uint64(scriptTime.Milliseconds()) && now-got.GetTimestamp() < uint64(scriptTime.Milliseconds()) {
			got.Timestamp = want.GetTimestamp()
		}
		if !proto.Equal(got, want) {
			d.Errorf("%s, message %d: %.200v, where the reference has %.200v", s.door, s.received-1, got, want)
		}
	}
}

// scriptTime is how long a script may take: it takes a second, on an idle machine.
const scriptTime = 3 * time.Minute

// seeds returns those of the scripts: a number of random ones, or that of the variable
// TEST_SEED, which repeats a run.
func seeds(tb testing.TB, n int) (all []uint64) {
	tb.Helper()
	if text := os.Getenv("TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			tb.Fatalf("TEST_SEED: %v", err)
		}
		return []uint64{seed}
	}
	for range n {
		all = append(all, rand.Uint64())
	}
	return all
}

// For every script over all faces, each client sees the same as at a simple reference
// server: the same messages in the same order, and the same codes.
func TestSameAsReference(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t, 8) {
		t.Run(fmt.Sprintf("TEST_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
			defer cancel()
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			ref := newReference(t)
			h2c := &server{url: "http://" + ref.addr, addr: ref.addr, transport: transports[1]}
			d := &differ{T: t, ctx: ctx, chance: rand.New(rand.NewPCG(seed, 0)), doors: doors(t, mux), ref: framed(t, h2c, wireProtocols[2])}
			for range 80 {
				d.step()
			}
			for _, s := range d.open {
				d.read(s, d.sent-s.received)
			}
			svc.Close()
			ref.Close()
			for _, s := range d.open {
				_, got := s.ours.next()
				_, want := s.ref.next()
				d.compareErrors(s.door+" at the end", got, want)
			}
			if d.sent < 10 || len(d.open) == 0 {
				t.Errorf("%d messages and %d subscribers: the script does too little", d.sent, len(d.open))
			}
		})
	}
}
