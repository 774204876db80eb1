package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// stream is one call of messageList, without a client that resumes it.
type stream struct {
	pauses

	w      *world
	server string
	face   int
	header http.Header
	ctx    context.Context //nolint:containedctx // done when it leaves
	cancel context.CancelFunc
	track  *track

	at    sync.Mutex // guards all below
	begun bool       // the first message has come
	ended bool
	err   error // why it ended
}

// streamFaces are how a stream looks on the wire.
var streamFaces = []struct {
	name  string
	http1 bool
	opts  []connect.ClientOption
}{
	{"grpc", false, []connect.ClientOption{connect.WithGRPC()}},
	{"grpc-web", false, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"connect", false, nil},
	{"connect+json", false, []connect.ClientOption{connect.WithProtoJSON()}},
	{"grpc+json", false, []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}},
	{"connect/http1", true, nil},
	{"grpc-web/http1", true, []connect.ClientOption{connect.WithGRPCWeb()}},
}

// stream begins a stream. Some have an end.
func (w *world) stream(s step) {
	epoch, next := w.store.state()
	st := &stream{w: w, server: w.servers[s.A%len(w.servers)].name, face: s.B % len(streamFaces)}
	n := strconv.Itoa(s.C/4 + 1)
	st.header = http.Header{}
	switch s.C % 4 {
	case 1:
		st.header.Set(chatsvc.HeaderOffset, "-"+n)
	case 2:
		st.header.Set(chatsvc.HeaderOffset, strconv.FormatUint(min(uint64(s.C/4)+1, next), 10))
		st.header.Set(chatsvc.HeaderEpoch, epoch)
	case 3:
		st.header.Set(chatsvc.HeaderOffset, "end")
	}
	switch s.B / len(streamFaces) % 4 {
	case 1:
		st.header.Set(chatsvc.HeaderUntil, "end")
	case 2:
		st.header.Set(chatsvc.HeaderUntil, strconv.FormatUint(next+uint64(s.C%10), 10))
	case 3:
		st.header.Set(chatsvc.HeaderUntil, n)
	}
	w.beginStream(st)
}

func (w *world) beginStream(st *stream) {
	st.track = newTrack(w, fmt.Sprintf("stream %d (%s of %s)", len(w.streams), streamFaces[st.face].name, st.server))
	st.ctx, st.cancel = context.WithCancel(w.ctx)
	st.header.Set("User-Name", userName(st.face%len(w.clients)))
	st.header.Set("User-Password", "secret")
	w.streams = append(w.streams, st)
	w.noteJoin()
	w.watchers.Go(st.run)
}

// run opens the stream and reads it until it ends.
func (s *stream) run() {
	face := streamFaces[s.face]
	protocols := new(http.Protocols)
	protocols.SetHTTP1(face.http1)
	protocols.SetUnencryptedHTTP2(!face.http1)
	transport := &http.Transport{Protocols: protocols, DialContext: s.w.network.dialer("10.0.1.1"), HTTP2: &http.HTTP2Config{
		SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second,
		MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10, // a reader that naps closes them soon
	}}
	defer transport.CloseIdleConnections()
	rpc := chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, "http://"+s.server, face.opts...)
	ctx, call := connect.NewClientContext(s.ctx)
	maps.Copy(call.RequestHeader(), s.header)
	err := s.read(ctx, rpc)
	s.at.Lock()
	defer s.at.Unlock()
	s.ended, s.err = true, err
	s.w.reached.add("stream: ends with " + endName(err))
	s.checkEnd(err)
}

// endName returns how a stream ended.
func endName(err error) string {
	switch {
	case err == nil:
		return "OK"
	case connect.IsWireError(err):
		return connect.CodeOf(err).String() + " by the server"
	default:
		return connect.CodeOf(err).String()
	}
}

func (s *stream) read(ctx context.Context, rpc chatconnect.SimpleChatClient) error {
	stream, err := rpc.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	first := true
	var epoch string
	var next uint64
	until := uint64(0)
	for stream.Receive() {
		if first {
			epoch, next, until = s.begin(stream.ResponseHeader())
			first = false
		}
		s.rest(ctx)
		batch := stream.Msg().GetMessages()
		if len(batch) == 0 {
			s.w.reached.add("stream: empty batch")
		}
		for _, msg := range batch {
			s.track.record(epoch, next, msg)
			if next++; until > 0 && next > until {
				s.track.problemf("record %d came, and the stream was to end before %d", next-1, until)
			}
		}
	}
	if stream.Err() == nil && first {
		s.checkMoot(stream.ResponseHeader())
	} else if stream.Err() == nil && next < until {
		s.track.problemf("it ended with OK before record %d, and was to end before %d", next, until)
	}
	return stream.Err()
}

// checkMoot checks a stream that ends with OK before its first message.
func (s *stream) checkMoot(h http.Header) {
	if !s.isBounded() || h.Get(chatsvc.HeaderEpoch) == s.header.Get(chatsvc.HeaderEpoch) {
		s.track.problemf("it ended with OK before its first message")
	}
}

// begin takes the header.
func (s *stream) begin(h http.Header) (epoch string, next, until uint64) {
	s.at.Lock()
	s.begun = true
	s.at.Unlock()
	epoch = h.Get(chatsvc.HeaderEpoch)
	next, err := strconv.ParseUint(h.Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil {
		s.track.problemf("no offset in the header: %v", err)
	}
	if asked := s.header.Get(chatsvc.HeaderUntil); s.isBounded() {
		until, err = strconv.ParseUint(h.Get(chatsvc.HeaderUntil), 10, 64)
		if err != nil || asked != "end" && asked != h.Get(chatsvc.HeaderUntil) {
			s.track.problemf("until %s: the answer is %q", asked, h.Get(chatsvc.HeaderUntil))
		}
	}
	exact := s.header.Get(chatsvc.HeaderEpoch) == epoch
	if exact {
		s.track.next[epoch], _ = strconv.ParseUint(s.header.Get(chatsvc.HeaderOffset), 10, 64)
	}
	s.track.begin(epoch, next, s.header.Get(chatsvc.HeaderOffset) != "" && s.header.Get(chatsvc.HeaderEpoch) == "")
	if s.isBounded() {
		until = max(until, next)
	}
	return epoch, next, until
}

// isBounded reports whether the stream has an end.
func (s *stream) isBounded() bool { return s.header.Get(chatsvc.HeaderUntil) != "" }

// checkEnd checks how the stream ended. The caller holds at.
func (s *stream) checkEnd(err error) {
	if err == nil {
		if !s.isBounded() {
			s.track.problemf("a stream without an end ended with OK")
		}
		return
	}
	if !connect.IsWireError(err) {
		return // it was not the server that ended it
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeUnauthenticated, connect.CodeCanceled:
	case connect.CodeResourceExhausted, connect.CodeUnknown, connect.CodeInternal, connect.CodeDeadlineExceeded:
		s.track.problemf("it ended with %v", err)
	default:
		s.track.problemf("it ended with %v", err)
	}
}

// isEnded reports whether the stream has ended, and why.
func (s *stream) isEnded() (bool, error) {
	s.at.Lock()
	defer s.at.Unlock()
	return s.ended, s.err
}

// isShutdown reports whether a stream ended as those of a server that is shut down do.
func isShutdown(err error) bool {
	var broken *net.OpError
	return connect.CodeOf(err) == connect.CodeUnavailable && connect.IsWireError(err) &&
		strings.Contains(err.Error(), "shutting down") && !errors.As(err, &broken)
}
