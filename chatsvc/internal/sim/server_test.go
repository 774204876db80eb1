package sim

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/h2"
)

// server is one of the processes of the cluster. The driver alone uses it.
type server struct {
	name    string
	log     *replicaLog
	service *chatsvc.Service
	http    httpServer
	up      bool
}

// httpServer is what net/http and package h2 have in common.
type httpServer interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

// begin starts a server.
func (w *world) begin(s *server) error {
	if w.disk != nil {
		if err := w.disk.open(); err != nil {
			return err
		}
	}
	s.log = newReplicaLog(w.store, w.reached)
	service, err := chatsvc.New(
		chatsvc.WithLog(s.log),
		chatsvc.WithAuthenticator(w.users),
		chatsvc.WithHotBytes(w.setup.Hot),
		chatsvc.WithColdBytes(w.setup.Cold),
		chatsvc.WithHeartbeat(w.setup.Heartbeat),
		chatsvc.WithWriteDeadline(w.setup.Deadline),
		chatsvc.WithMaxContent(maxContent),
		chatsvc.WithLogger(w.logger(s.name)),
	)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(service.Handler())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           mux,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      15 * time.Second,
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     w.setup.Deadline,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.service, s.http, s.up = service, srv, true
	if !w.setup.Std {
		s.http = h2.New(srv)
	}
	l := w.network.listen(s.name)
	w.background.Go(func() { _ = s.http.Serve(l) })
	return nil
}

// logger returns a logger of a server: its output is kept if the environment has SIM_LOG.
func (w *world) logger(server string) *slog.Logger {
	if os.Getenv("SIM_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.output, nil)).With("server", server)
}

const (
	maxContent = 48 << 10
	maxStreams = 20
)

// kill ends a server as a signal does that it cannot catch.
func (w *world) end(s *server) {
	s.up = false
	s.log.kill()
	for _, l := range w.network.open(s.name) {
		l.cut()
	}
	_ = s.http.Close()
	service := s.service
	w.background.Go(func() { _ = service.Shutdown(context.Background()) })
}

// shutdown ends a server as it ends by itself. It returns when that is done.
func shutdown(s *server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	streams, stop := context.WithTimeout(ctx, 4*time.Second)
	defer stop()
	_ = s.service.Shutdown(streams)
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

// users are those who may call, until they are revoked. It is safe for concurrent use.
type users struct {
	mu    sync.Mutex // guards all below
	valid map[string]chan struct{}
}

var _ chatsvc.Authenticator = (*users)(nil)

func newUsers(names ...string) *users {
	u := &users{valid: make(map[string]chan struct{})}
	for _, name := range names {
		u.valid[name] = make(chan struct{})
	}
	return u
}

// Authenticate implements [chatsvc.Authenticator].
func (u *users) Authenticate(_ context.Context, header http.Header) (chatsvc.User, error) {
	name, _, err := chatsvc.Credentials(header)
	if err != nil {
		return chatsvc.User{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if revoked, ok := u.valid[name]; ok {
		return chatsvc.User{Name: name, Revoked: revoked}, nil
	}
	return chatsvc.User{}, chatsvc.ErrUnauthenticated
}

// revoke makes the credentials of a user not valid.
func (u *users) revoke(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if revoked, ok := u.valid[name]; ok {
		close(revoked)
		delete(u.valid, name)
	}
}

// restore makes them valid again.
func (u *users) restore(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.valid[name]; !ok {
		u.valid[name] = make(chan struct{})
	}
}
