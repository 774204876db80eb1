package sqlitelog

import (
	"context"
	"sync"

	"zombiezen.com/go/sqlite"
)

// readerCount is the number of connections for reading. More of them would not be faster on
// most machines.
const readerCount = 4

// readers are the connections for reading. A gate keeps them out while the writer
// begins the write-ahead log from its start, which is only possible while no connection
// reads from it. They are safe for concurrent use.
type readers struct {
	gate sync.RWMutex     // read-locked by each read
	free chan *readerConn // nil stands for a connection that is not open yet
	open func() (*sqlite.Conn, error)

	mu         sync.Mutex // guards all below
	isClosed   bool
	generation int // increases when the connections must be opened again
}

type readerConn struct {
	conn       *sqlite.Conn
	generation int
	scanner    *scanner
}

func newReaders() *readers {
	r := &readers{free: make(chan *readerConn, readerCount)}
	for range readerCount {
		r.free <- nil
	}
	return r
}

// acquire returns a connection, or [ErrClosed]. The caller calls release.
func (r *readers) acquire(ctx context.Context) (*readerConn, error) {
	r.gate.RLock()
	var c *readerConn
	select {
	case c = <-r.free:
	case <-ctx.Done():
		r.gate.RUnlock()
		return nil, ctx.Err()
	}
	r.mu.Lock()
	generation, open, isClosed := r.generation, r.open, r.isClosed
	r.mu.Unlock()
	if isClosed { // it would make the files again that the last connection has removed
		r.free <- c
		r.gate.RUnlock()
		return nil, ErrClosed
	}
	if c != nil && c.generation == generation {
		return c, nil
	}
	if c != nil {
		_ = c.conn.Close() // it only read
	}
	conn, err := open()
	if err != nil {
		r.free <- nil
		r.gate.RUnlock()
		return nil, err
	}
	return &readerConn{conn: conn, generation: generation}, nil
}

func (r *readers) release(c *readerConn) {
	r.free <- c
	r.gate.RUnlock()
}

// reopen makes reads use connections that open returns. It opens all of them at once,
// and lets each read something, so that they have their files even if these are removed
// later. The caller holds the gate, or no reads have begun yet.
func (r *readers) reopen(open func() (*sqlite.Conn, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = open
	r.generation++
	for range readerCount {
		if c := <-r.free; c != nil {
			_ = c.conn.Close() // it only read
		}
	}
	var failed error
	for range readerCount {
		conn, err := open()
		if err == nil {
			if _, err = readEpochs(conn); err == nil {
				r.free <- &readerConn{conn: conn, generation: r.generation}
				continue
			}
			_ = conn.Close() // it failed
		}
		failed = err
		r.free <- nil
	}
	return failed
}

// closeAll closes the connections, which are opened again when they are needed; the
// caller holds the gate.
func (r *readers) closeAll() {
	for range readerCount {
		if c := <-r.free; c != nil {
			_ = c.conn.Close() // it only read
		}
	}
	for range readerCount {
		r.free <- nil
	}
}

// shut is closeAll for good: later reads get [ErrClosed].
func (r *readers) shut() {
	r.mu.Lock()
	r.isClosed = true
	r.mu.Unlock()
	r.closeAll()
}

// leak forgets the connections without closing them; the caller holds the gate.
func (r *readers) leak() {
	for range readerCount {
		<-r.free
	}
	for range readerCount {
		r.free <- nil
	}
}
