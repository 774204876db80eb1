package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// half is one direction of a connection. Bytes arrive after a delay, in order. It
// is safe for concurrent use.
type half struct {
	limit int                  // bytes that wait for the reader before the writer waits; 0: any number
	delay func() time.Duration // of the next write

	mu      sync.Mutex // guards all below
	changed sync.Cond
	flying  []packet // written, not arrived; in the order of arrival
	waiting []byte   // arrived, not read
	size    int      // bytes of both
	stalled bool     // nothing arrives
	lossy   bool     // later bytes never arrive
	closed  bool     // the writer has closed it
	err     error    // the connection is broken
	left    int      // bytes until it breaks; negative: it does not
	onBreak func()   // called without mu when left has passed

	readBy, writeBy timeLimit
}

// packet is the data of one write.
type packet struct {
	data []byte
	at   time.Time
}

// timeLimit is a deadline of a reader or a writer. It is guarded by the half's mu.
type timeLimit struct {
	passed bool
	timer  *time.Timer
}

func newHalf(limit int, delay func() time.Duration) *half {
	h := &half{limit: limit, delay: delay, left: -1}
	h.changed.L = &h.mu
	return h
}

// Read implements [net.Conn].
func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		h.arrive()
		switch {
		case h.err != nil:
			return 0, h.err
		case h.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case len(h.waiting) > 0:
			n := copy(p, h.waiting)
			h.waiting = h.waiting[n:]
			h.size -= n
			h.changed.Broadcast()
			return n, nil
		case h.closed && len(h.flying) == 0:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

// arrive moves the packets that have arrived. The caller holds mu.
func (h *half) arrive() {
	for len(h.flying) > 0 && !h.stalled && !time.Now().Before(h.flying[0].at) {
		if len(h.waiting) == 0 {
			h.waiting = h.flying[0].data
		} else {
			h.waiting = append(h.waiting, h.flying[0].data...)
		}
		h.flying = h.flying[1:]
	}
}

// Write implements [net.Conn].
func (h *half) Write(p []byte) (n int, err error) {
	h.mu.Lock()
	var broke func()
	for n < len(p) && err == nil {
		room := len(p) - n
		if h.limit > 0 {
			room = min(room, h.limit-h.size)
		}
		switch {
		case h.err != nil:
			err = h.err
		case h.closed:
			err = net.ErrClosed
		case h.writeBy.passed:
			err = os.ErrDeadlineExceeded
		case h.left >= 0 && h.left <= room:
			h.put(p[n : n+h.left])
			n += h.left
			h.left, broke, err = -1, h.onBreak, syscall.ECONNRESET
		case room > 0:
			h.put(p[n : n+room])
			n += room
		default:
			h.changed.Wait()
		}
	}
	h.mu.Unlock()
	if broke != nil {
		broke()
	}
	return n, err
}

// put sends bytes. The caller holds mu.
func (h *half) put(p []byte) {
	if h.left >= 0 {
		h.left -= len(p)
	}
	if h.lossy || len(p) == 0 {
		return
	}
	now := time.Now()
	at := now.Add(h.delay())
	if last := len(h.flying) - 1; last >= 0 && h.flying[last].at.After(at) {
		at = h.flying[last].at
	}
	h.flying = append(h.flying, packet{append([]byte(nil), p...), at})
	h.size += len(p)
	if at.After(now) {
		time.AfterFunc(at.Sub(now), h.wake)
	}
	h.changed.Broadcast()
}

// wake makes all that wait look again.
func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed.Broadcast()
}

// change changes the state under mu.
func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.changed.Broadcast()
}

// setLimit sets a deadline of h.
func (h *half) setLimit(l *timeLimit, t time.Time) {
	h.change(func() {
		if l.timer != nil {
			l.timer.Stop()
			l.timer = nil
		}
		l.passed = !t.IsZero() && !t.After(time.Now())
		if t.IsZero() || l.passed {
			return
		}
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(t), func() {
			h.change(func() { l.passed = l.passed || l.timer == timer })
		})
		l.timer = timer
	})
}

// conn is one end of a connection.
type conn struct {
	in, out *half
	local   addr
	remote  addr
}

var _ net.Conn = (*conn)(nil)

// addr is an address as the service shows it.
type addr string

func (addr) Network() string  { return "memory" }
func (a addr) String() string { return string(a) }

func (c *conn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

// CloseWrite ends the direction to the other end.
func (c *conn) CloseWrite() error {
	c.out.change(func() { c.out.closed = true })
	return nil
}

// Close ends both directions: the other end can read the written bytes, and cannot write.
func (c *conn) Close() error {
	_ = c.CloseWrite()
	c.in.change(func() {
		if c.in.err == nil {
			c.in.err = net.ErrClosed
		}
	})
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setLimit(&c.in.readBy, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setLimit(&c.out.writeBy, t)
	return nil
}
