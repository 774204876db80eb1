package chatsvc

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// coldBlock is how many offsets apart cold chunks begin, if they hold no more
	// than chunkBytes: subscribers at nearby positions then read the same chunks.
	// With 64 offsets instead, batches of 130-byte records were 8 KiB.
	coldBlock = 512
	// coldReadTime bounds one read of the log, with its retries.
	coldReadTime = 30 * time.Second
	// coldRetry and coldRetryMax are the pauses before a read is repeated.
	coldRetry    = 20 * time.Millisecond
	coldRetryMax = time.Second
	// coldReads is how many reads of the log are under way at a time. Each reserves the
	// memory of the largest record, although most take that of a chunk: more of them
	// would drive out what is cached.
	coldReads = 8
	// ownerShare is the part of the cold cache, in per cent, that one user at one
	// address can hold at a time.
	ownerShare = 75
)

// errCold says that the log cannot be read.
var errCold = errors.New("the history cannot be read now: call messageList again")

// coldCache is the records that subscribers read from the log, in chunks that they
// share. The memory of a chunk is reserved before it is read and freed when it is
// neither cached nor held by a subscriber: subscribers at many positions wait for
// each other instead of filling memory. The next to read is the owner that holds
// the least. It is safe for concurrent use.
type coldCache struct {
	log        Log
	epoch      string
	limit      int64                 // bytes; one read at a time is always allowed
	unreadable func(from, to uint64) // reports records that cannot be read
	giveWay    func(context.Context) // is called before each read, without mu
	closed     context.Context       //nolint:containedctx // reads outlive the calls of the subscribers that wait for them
	end        context.CancelFunc    // ends all reads
	json       jsonAccount           // memory of the JSON forms
	reads      atomic.Uint64         // of the log
	hits       atomic.Uint64         // pieces that were cached or being read already
	mu         sync.Mutex            // guards all below, and the fields of all pieces
	pieces     map[uint64][]*piece   // by block; pieces of one block may overlap
	unused     *list.List            // loaded pieces that no subscriber holds, the one unused for longest first
	used       int64                 // bytes of all pieces that are reserved, cached or held
	reserve    int64                 // bytes that one read may take: those of a chunk, or of the largest record
	reading    int                   // reads under way
	owners     map[string]*coldOwner // those that hold something or wait
}

// coldOwner is a user at an address.
type coldOwner struct {
	held    int64    // bytes of the pieces that it asked for and that are held
	waiting []*piece // not yet being read, in the order of requests
}

// piece is a chunk of the log that is being read, cached or held.
type piece struct {
	from, to uint64 // the range that was asked for: to is the end of its block or of the log
	owner    string
	loaded   chan struct{} // closed when the read has ended
	chunk    *chunk        // the records; nil before the read has ended, and if it failed
	err      error
	next     uint64        // offset behind the chunk
	stale    bool          // a record was redacted while it was read: read again
	bytes    int64         // reserved, or taken by the chunk
	holders  int           // subscribers that wait for it or write it
	place    *list.Element // in unused; nil while held
	cached   bool          // it is in pieces
}

func newColdCache(log Log, epoch string, memory memoryBounds, unreadable func(from, to uint64), giveWay func(context.Context)) *coldCache {
	c := &coldCache{
		log:        log,
		epoch:      epoch,
		limit:      memory.cold,
		reserve:    max(chunkBytes, memory.record+chunkOverhead),
		unreadable: unreadable,
		giveWay:    giveWay,
		pieces:     make(map[uint64][]*piece),
		unused:     list.New(),
		owners:     make(map[string]*coldOwner),
	}
	c.closed, c.end = context.WithCancel(context.Background())
	context.AfterFunc(c.closed, func() { // those that wait for room learn it now
		c.mu.Lock()
		defer c.mu.Unlock()
		c.grant()
	})
	return c
}

// hold returns a piece with the record at offset, which may still have to be read,
// and ends below to. Continues tells that the caller has read all before offset:
// then the piece begins at it. The caller releases it.
func (c *coldCache) hold(owner string, offset, to uint64, continues bool) *piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	block := offset / coldBlock
	from := max(block*coldBlock, 1)
	for _, p := range c.pieces[block] {
		switch {
		case p.contains(offset):
			c.hits.Add(1)
			return c.share(owner, p)
		case p.isLoaded() && p.from == from:
			continues = true // the block is cut, and this is not its first piece
		}
	}
	if continues {
		from = offset
	}
	p := &piece{from: from, to: min((block+1)*coldBlock, to), owner: owner, loaded: make(chan struct{}), next: from, holders: 1, cached: true}
	c.pieces[block] = append(c.pieces[block], p)
	o := c.owners[owner]
	if o == nil {
		o = &coldOwner{}
		c.owners[owner] = o
	}
	o.waiting = append(o.waiting, p)
	c.grant()
	return p
}

// contains reports whether p has or may get the record at offset.
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

// share adds a holder to p, which counts as its owner's if nobody else holds it. The caller holds mu.
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

// owner returns the owner of p. The caller holds mu.
func (c *coldCache) owner(p *piece) *coldOwner {
	o := c.owners[p.owner]
	if o == nil {
		o = &coldOwner{}
		c.owners[p.owner] = o
	}
	return o
}

// release ends a hold of p.
func (c *coldCache) release(p *piece) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.holders--
	if p.holders > 0 || !p.isLoaded() { // a read that was begun is finished, and cached
		return
	}
	c.rest(p)
	c.makeRoom(0) // its JSON form may have grown
	c.grant()
}

// rest keeps a loaded piece that nobody holds for those that come, or frees it. The
// caller holds mu.
func (c *coldCache) rest(p *piece) {
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

// forgetOwner removes an owner that holds nothing and waits for nothing. The caller
// holds mu.
func (c *coldCache) forgetOwner(name string) {
	if o := c.owners[name]; o != nil && o.held == 0 && len(o.waiting) == 0 {
		delete(c.owners, name)
	}
}

// uncache makes p unknown to those that come. The caller holds mu.
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

// redact forgets the pieces with the record at offset.
func (c *coldCache) redact(offset uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range append([]*piece(nil), c.pieces[offset/coldBlock]...) {
		switch {
		case !p.contains(offset):
		case !p.isLoaded():
			p.stale = true
		default:
			c.uncache(p)
			if p.place != nil {
				c.unused.Remove(p.place)
				p.place = nil
				c.used -= p.bytes
				p.chunk.json.drop()
			}
		}
	}
}

// trim forgets the pieces that lie entirely below the first retained offset.
func (c *coldCache) trim(first uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.unused.Front(); e != nil; {
		p := e.Value.(*piece) //nolint:forcetypeassert // the list has nothing else
		e = e.Next()
		if p.next <= first {
			c.unused.Remove(p.place)
			p.place = nil
			c.uncache(p)
			c.used -= p.bytes
			p.chunk.json.drop()
		}
	}
}
