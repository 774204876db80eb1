package sqlitelog

import (
	"context"
	"sync"

	"zombiezen.com/go/sqlite"
)

// readerCount is the number of connections that read: more than the cores of most
// machines have nothing to do.
const readerCount = 4

// readers are the connections that read. A gate keeps them out while the writer
// begins the write-ahead log from its start, which it can only do when nobody reads
// what is in it. They are safe for concurrent use.
type readers struct {
	gate sync.RWMutex     // read-locked by each read
	free chan *readerConn // nil values are connections that are not open yet
	open func() (*sqlite.Conn, error)

	mu         sync.Mutex // guards all below
	isClosed   bool
	generation int // grows when the connections must be opened again
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

// reopen makes reads use connections that open returns. It opens all of them at once
// and lets them read: they must have their files before somebody removes those. The
// caller holds the gate, or nobody reads yet.
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
