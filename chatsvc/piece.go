package chatsvc

import (
	"container/list"
)

// piece is a chunk of the log that is being read, is cached, or is held by subscribers. It
// is guarded by the cache's mu.
type piece struct {
	from, to uint64 // the requested range; to is the end of its block or of the log
	owner    string
	loaded   chan struct{} // closed when the read has ended
	chunk    *chunk        // the records; nil before the read has ended, and if it failed
	err      error
	next     uint64        // offset after the chunk
	stale    bool          // a record was redacted during the read: read again
	bytes    int64         // reserved for the read, or used by the chunk
	holders  int           // number of subscribers that wait for it or write it
	place    *list.Element // in unused; nil while held
	cached   bool          // it is in pieces
}

// contains reports whether p has the record at offset, or may have it when it is loaded.
func (p *piece) contains(offset uint64) bool {
	if !p.isLoaded() {
		return p.from <= offset && offset < p.to
	}
	return p.err == nil && p.chunk != nil && p.chunk.base <= offset && offset < p.next
}

// isLoaded reports whether the read has ended.
func (p *piece) isLoaded() bool {
	select {
	case <-p.loaded:
		return true
	default:
		return false
	}
}

// share adds a holder to p. If no other subscriber holds p, it counts for this owner. The
// caller holds mu.
func (c *coldCache) share(owner string, p *piece) *piece {
	if p.place != nil {
		c.unused.Remove(p.place)
		p.place = nil
		p.owner = owner
		c.owner(p).held += p.bytes
	}
	p.holders++
	return p
}

// retire keeps a loaded piece that no subscriber holds in the cache, or frees it. The
// caller holds mu.
func (c *coldCache) retire(p *piece) {
	o := c.owner(p)
	o.held -= p.bytes
	c.forgetOwner(p.owner)
	if !p.cached || p.chunk == nil {
		c.uncache(p)
		c.used -= p.bytes
		if p.chunk != nil {
			p.chunk.json.drop()
		}
		return
	}
	p.place = c.unused.PushBack(p)
}

// uncache removes p from the cache. The caller holds mu.
func (c *coldCache) uncache(p *piece) {
	if !p.cached {
		return
	}
	p.cached = false
	block := p.from / coldBlock
	left := c.pieces[block][:0:0]
	for _, other := range c.pieces[block] {
		if other != p {
			left = append(left, other)
		}
	}
	if len(left) == 0 {
		delete(c.pieces, block)
		return
	}
	c.pieces[block] = left
}
