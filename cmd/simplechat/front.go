package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// front stands before the service, which does not exist until its log is open. It
// answers health checks with whether messages can be stored. It is safe for concurrent
// use.
type front struct {
	*grpchealth.StaticChecker

	opened atomic.Pointer[openService] // nil before the log is open
	data   string                      // directory of the log's files; empty if there is none
	ending context.Context             //nolint:containedctx // done when the server begins to end; then the streams of reflection end
	end    context.CancelFunc
	left   context.Context //nolint:containedctx // done when calls are no longer served; then the watches of health end
	leave  context.CancelFunc
}

// openService is a service and its log.
type openService struct {
	service *chatsvc.Service
	handler http.Handler
	log     chatsvc.Log
}

var _ grpchealth.Watcher = (*front)(nil)

func newFront() *front {
	f := &front{StaticChecker: grpchealth.NewStaticChecker("", chatconnect.SimpleChatName)}
	f.ending, f.end = context.WithCancel(context.Background())
	f.left, f.leave = context.WithCancel(context.Background())
	go f.follow()
	return f
}

// follow updates the watches of health when the server becomes ready or unready, until it
// has left.
func (f *front) follow() {
	tick := time.NewTicker(readyTime)
	defer tick.Stop()
	isReady := true // the state of a new StaticChecker; Check corrects it
	for {
		if is := len(f.reasons()) == 0; is != isReady {
			isReady = is
			f.set(isReady)
		}
		select {
		case <-tick.C:
		case <-f.left.Done():
			return
		}
	}
}

// set tells health checks and watches whether the server is ready.
func (f *front) set(isReady bool) {
	status := grpchealth.StatusNotServing
	if isReady {
		status = grpchealth.StatusServing
	}
	for _, service := range []string{"", chatconnect.SimpleChatName} {
		f.SetStatus(service, status)
	}
}

// open passes calls on to svc from now on.
func (f *front) open(svc *chatsvc.Service, log chatsvc.Log) {
	_, handler := svc.Handler()
	f.opened.Store(&openService{svc, handler, log})
}

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if opened := f.opened.Load(); opened != nil {
		opened.handler.ServeHTTP(w, r)
		return
	}
	text := "the server is starting and cannot reach its messages yet: call again"
	if errorWriter := connect.NewErrorWriter(); errorWriter.IsSupported(r) {
		_ = errorWriter.Write(w, r, connect.NewError(connect.CodeUnavailable, errors.New(text)))
		return
	}
	http.Error(w, text, http.StatusServiceUnavailable)
}

// readyTime is the time between two checks whether the server is ready.
const readyTime = 250 * time.Millisecond

// Check implements [grpchealth.Checker]: while no message can be stored, the answer
// is "not serving".
func (f *front) Check(ctx context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	res, err := f.StaticChecker.Check(ctx, req)
	if err != nil {
		return nil, err
	}
	// The status that was set is that of the last check; it only tells which services exist.
	if res.Status = grpchealth.StatusServing; len(f.reasons()) > 0 {
		res.Status = grpchealth.StatusNotServing
	}
	return res, nil
}

// reasons returns why the server is not ready, or nil if it is.
func (f *front) reasons() []string {
	if f.ending.Err() != nil {
		return []string{"the server is ending"}
	}
	opened := f.opened.Load()
	if opened == nil {
		return []string{"the log is not open yet"}
	}
	if log, ok := opened.log.(interface{ Err() error }); ok {
		if err := log.Err(); err != nil {
			return []string{"the log cannot store messages: " + err.Error()}
		}
	}
	return nil
}

// shutdown makes every check and watch answer "not serving", and ends reflection's
// streams.
func (f *front) shutdown() {
	f.end()
	f.set(false)
}
