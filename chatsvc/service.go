package chatsvc

import (
	"context"
	"errors"
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

// Service is one conversation. It is safe for concurrent use, and there may be
// several in a process.
type Service struct {
	log           Log
	broker        atomic.Pointer[broker] // another one when the log has another epoch
	memory        memoryBounds
	pending       *pendingWrites
	replay        Replay
	maxContent    int
	heartbeat     time.Duration
	writeDeadline time.Duration
	logger        *slog.Logger
	onAppend      func(took time.Duration, err error) // nil: nobody asks
	onLimit       func(ctx context.Context, user, limit string)

	path    string
	handler http.Handler

	mu      sync.Mutex // guards closed, and Add of the groups against Wait
	closed  bool
	closing chan struct{}  // closed by Close
	drained bool           // no new streams to subscribers
	sends   sync.WaitGroup // calls of sendMessage under way
	streams sync.WaitGroup // calls of messageList under way, and of sendMessage with many messages
	ended   chan struct{}  // closed when the service is, and all calls have ended

	stopFollowing context.CancelFunc
}

// New returns a service that serves what its log retains and all that is sent
// to it from now on. It reads no history: that comes from the log when a subscriber
// needs it. With no option it has the users of [DemoUsers], a
// [MemoryLog] and the default limits. It fails if an option is not valid or
// the log cannot be read. The caller calls [Service.Close] in the end.
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
	path, rpc := chatconnect.NewSimpleChatHandler(rpcs{s}, options...)
	return path, &endpoint{
		rpc:         rpc,
		many:        connect.NewServerStreamHandlerSimple(chatconnect.SimpleChatSendMessageProcedure, rpcs{s}.sendMany, options...),
		errorWriter: connect.NewErrorWriter(),
		maxContent:  c.maxContent,
		bodies:      newBodyBudget(c.bodyBytes, onFull),
		manyBodies:  newBodyBudget(max(c.bodyBytes/2, manyMemory), onFull),
		guard:       siteGuard{trusts: c.trusts},
	}
}

// Handler returns the path below which the procedures are, and their handler:
//
//	mux.Handle(svc.Handler())
//
// It works below a prefix with [http.StripPrefix]. A server that is to answer
// gRPC must speak HTTP/2: see the package documentation.
func (s *Service) Handler() (string, http.Handler) { return s.path, s.handler }

// Close refuses calls from now on, and ends all streams with the code
// unavailable: first the sends under way end, then each stream gets what is
// still to come, both for at most a second. Close returns at once and may be
// called more than once; it fits [http.Server.RegisterOnShutdown].
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

// end ends what is under way after Close.
func (s *Service) end() {
	sent := make(chan struct{})
	go func() {
		s.sends.Wait()
		close(sent)
	}()
	// Subscribers get what senders were told is stored, unless the log is stuck.
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

// Shutdown is Close, and waits until all calls have ended or ctx is done; it
// returns ctx.Err() in that case.
func (s *Service) Shutdown(ctx context.Context) error {
	s.Close()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter begins a call that ends with calls.Done, unless the service is closed.
func (s *Service) enter(calls *sync.WaitGroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return wireError(errShutdown)
	}
	calls.Add(1)
	return nil
}

// enterStream is enter for a stream to a subscriber, which [Service.Drain] refuses too.
func (s *Service) enterStream() error {
	s.mu.Lock()
	drained := s.drained // it stays
	s.mu.Unlock()
	if drained {
		return wireError(errShutdown)
	}
	return s.enter(&s.streams)
}

// startFollowing starts the goroutine that moves records from the log to the
// broker.
func (s *Service) startFollowing() {
	ctx, stop := context.WithCancel(context.Background())
	s.stopFollowing = stop
	go s.follow(ctx)
}

// follow moves records from the log to the broker until ctx is done. When the log
// fails it tries again from where it was.
func (s *Service) follow(ctx context.Context) {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	backoff := shortest
	for {
		b := s.broker.Load()
		from := b.next()
		fault.At(fault.Following)
		err := s.log.Follow(ctx, b.epoch, from, b.publish)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, ErrEpoch) {
			s.logger.Error("follow the log", "from", from, "error", err)
		}
		if s.replaced(ctx) || b.next() > from {
			backoff = shortest
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return
		}
		backoff = min(2*backoff, longest)
	}
}

// replaced finds out whether the log has another epoch. Then subscribers are told
// so by the end of their streams, and the history is the log's as it is now.
func (s *Service) replaced(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, logTime) // a log that does not answer is asked again
	defer cancel()
	state, err := s.log.State(ctx)
	if err != nil {
		return false // Follow will fail too, or go on where it was
	}
	if err := state.validate(); err != nil {
		s.logger.Error("the log's state", "error", err)
		return false
	}
	fault.At(fault.Replacing)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.broker.Load()
	if s.closed || state.Epoch == old.epoch {
		return false
	}
	s.logger.Error("the log has another epoch: all streams end", "was", old.epoch, "is", state.Epoch)
	fresh := s.newBroker(state)
	s.broker.Store(fresh)
	old.close(errReplaced)
	return true
}

// newBroker returns a broker for the log in a state.
func (s *Service) newBroker(state State) *broker {
	b := newBroker(s.log, state, s.memory, s.replay, s.logger)
	b.hot.evicted, b.hot.json.freed, b.cold.json.freed = s.pending.evict, s.pending.evict, s.pending.evict
	return b
}
