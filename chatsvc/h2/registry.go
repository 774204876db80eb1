package h2

import (
	"net"
)

// stop refuses new connections, closes those whose protocol is not known, and
// returns the others.
func (s *Server) stop() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.emptyIfLast()
	}
	for nc := range s.fresh {
		_ = nc.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// add reports whether c may be served.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.emptyIfLast()
}

// emptyIfLast notes that no connection is left after a stop. The caller holds
// mu.
func (s *Server) emptyIfLast() {
	if !s.closed || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
		s.workers.stop()
	}
}

// track notes a connection whose protocol is not known yet (fresh), or forgets one whose
// protocol is known now. It reports false after a stop.
func (s *Server) track(nc net.Conn, fresh bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !fresh {
		delete(s.fresh, nc)
	} else if !s.closed {
		s.fresh[nc] = struct{}{}
	}
	return !s.closed
}
