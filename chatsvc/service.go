package chatsvc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/internal/fault"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Service is one conversation. It is safe for concurrent use. A process may have several.
type Service struct {
	log           Log
	broker        atomic.Pointer[broker] // replaced when the log gets another epoch
	memory        memoryBounds
	pending       *pendingWrites
	bodies        *bodyBudget
	replay        Replay
	maxContent    int
	heartbeat     time.Duration
	writeDeadline time.Duration
	logger        *slog.Logger
	onAppend      func(took time.Duration, err error) // nil: no call
	onLimit       func(ctx context.Context, user, limit string)

	path    string
	handler http.Handler

	mu      sync.Mutex // guards closed, and Add of the groups against Wait
	closed  bool
	closing chan struct{}  // closed by Close
	drained bool           // no new streams to subscribers
	sends   sync.WaitGroup // running calls of sendMessage
	streams sync.WaitGroup // running calls of messageList, and of sendMessage with many messages
	ended   chan struct{}  // closed when the service is, and all calls have ended

	stopFollowing context.CancelFunc
}

// New returns a service for the messages that its log retains and all new ones. It reads no
// history; that is read from the log when a subscriber needs it. Without options it has the
// users of [DemoUsers], a [MemoryLog] and the default limits. It fails if an option is not
// valid or the log cannot be read. The caller must call [Service.Close] at the end.
func New(opts ...Option) (*Service, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("chatsvc: %w", err)
	}
	state, err := c.log.State(context.Background())
	if err != nil {
		return nil, fmt.Errorf("chatsvc: log's state: %w", err)
	}
	if err := state.validate(); err != nil {
		return nil, fmt.Errorf("chatsvc: log's state: %w", err)
	}
	s := &Service{
		log:           c.log,
		memory:        memoryBounds{c.memory.hot, c.memory.cold, int64(c.maxContent) + recordOverhead},
		pending:       newPendingWrites(c.pendingBytes),
		replay:        c.replay,
		maxContent:    c.maxContent,
		heartbeat:     c.heartbeat,
		writeDeadline: c.writeDeadline,
		logger:        c.logger,
		closing:       make(chan struct{}),
		onAppend:      c.onAppend,
		onLimit:       c.onLimit,
		ended:         make(chan struct{}),
	}
	s.broker.Store(s.newBroker(state))
	s.path, s.handler = newHandler(s, c)
	s.startFollowing()
	return s, nil
}

func newHandler(s *Service, c *config) (string, http.Handler) {
	auth := NewAuthInterceptor(c.authenticator, WithAuthLogger(c.logger))
	auth.endsStreams = true // see nextBatch
	onFull := func(ctx context.Context, user string) { c.onLimit(ctx, user, LimitBodies) }
	options := slices.Concat([]connect.HandlerOption{
		// Qt's clients offer gzip but cannot inflate, batches are shared, and
		// inflating requests is a bomb. The name identity makes connect say so.
		connect.WithCompression("gzip", nil, nil),
		connect.WithCompression("identity",
			func() connect.Decompressor { return nil }, // never called: identity is no compression to connect
			func() connect.Compressor { return nil }),
		connect.WithCodec(protoCodec{}),
		connect.WithCodec(jsonCodec{"json"}),
		connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
		auth.Option(),
	}, c.handlerOptions)
	s.bodies = newBodyBudget(c.bodyBytes, onFull)
	path, rpc := chatconnect.NewSimpleChatHandler(rpcs{s}, options...)
	return path, &endpoint{
		rpc:         rpc,
		many:        connect.NewServerStreamHandlerSimple(chatconnect.SimpleChatSendMessageProcedure, rpcs{s}.sendMany, options...),
		errorWriter: connect.NewErrorWriter(),
		maxContent:  c.maxContent,
		bodies:      s.bodies,
		manyBodies:  newBodyBudget(max(c.bodyBytes/2, manyMemory), onFull),
		guard:       siteGuard{trusts: c.trusts},
	}
}

// Handler returns the path of the procedures and their handler:
//
//	mux.Handle(svc.Handler())
//
// It works below a prefix with [http.StripPrefix]. For gRPC the server must speak HTTP/2:
// see the package documentation.
func (s *Service) Handler() (string, http.Handler) { return s.path, s.handler }

// Close refuses new calls, and ends all streams with the code unavailable. Running sends
// may finish, and each stream still gets the stored messages, both within a second. Close
// returns at once and may be called more than once, so it suits
// [http.Server.RegisterOnShutdown].
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.closing)
	go s.end()
}

// end ends the running calls after Close.
func (s *Service) end() {
	sent := make(chan struct{})
	go func() {
		s.sends.Wait()
		close(sent)
	}()
	// Subscribers get all acknowledged messages, unless the log is stuck.
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	select {
	case <-sent:
		b := s.broker.Load() // as the service is closed, it stays
		_ = b.await(ctx, b.acknowledged.Load())
	case <-ctx.Done():
	}
	fault.At(fault.Closing)
	s.broker.Load().close(errShutdown)
	s.streams.Wait()
	<-sent
	s.stopFollowing()
	close(s.ended)
}

// Shutdown calls Close and waits until all calls have ended. If ctx is done first, it
// returns ctx.Err().
func (s *Service) Shutdown(ctx context.Context) error {
	s.Close()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter begins a call, or fails if the service is closed. The caller must call calls.Done
// at the end.
func (s *Service) enter(calls *sync.WaitGroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return wireError(errShutdown)
	}
	calls.Add(1)
	return nil
}

// enterStream is enter for a stream to a subscriber. It also fails after [Service.Drain].
func (s *Service) enterStream() error {
	s.mu.Lock()
	drained := s.drained // it stays
	s.mu.Unlock()
	if drained {
		return wireError(errShutdown)
	}
	return s.enter(&s.streams)
}
