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
	// coldBlock is the distance in offsets at which cold chunks begin, if they have at
	// most chunkBytes. So subscribers at nearby positions share chunks. With 64 offsets
	// instead, batches of 130-byte records were only 8 KiB.
	coldBlock = 512
	// coldReadTime bounds one read of the log, with its retries.
	coldReadTime = 30 * time.Second
	// coldRetry and coldRetryMax are the shortest and the longest pause before a read is
	// repeated.
	coldRetry    = 20 * time.Millisecond
	coldRetryMax = time.Second
	// coldReads is the largest number of reads of the log at a time. Each reserves memory
	// for the largest record, although most need only a chunk: more reads would displace
	// cached chunks.
	coldReads = 8
	// ownerShare is the percentage of the cold cache that one user at one address can
	// hold at a time.
	ownerShare = 75
)

// errCold means that the log cannot be read.
var errCold = errors.New("the history cannot be read now: call messageList again")

// coldCache holds the records that subscribers read from the log, in chunks that they
// share. Memory for a chunk is reserved before the chunk is read, and freed when the chunk
// is neither cached nor held by a subscriber. So subscribers at many positions wait for
// each other instead of filling memory. The owner that holds the least reads next. It is
// safe for concurrent use.
type coldCache struct {
	log        Log
	epoch      string
	limit      int64                 // bytes; one read at a time is always allowed
	unreadable func(from, to uint64) // reports records that cannot be read
	giveWay    func(context.Context) // called before each read, without mu
	closed     context.Context       //nolint:containedctx // reads outlive the calls of the subscribers that wait for them
	end        context.CancelFunc    // ends all reads
	json       jsonAccount           // memory of the JSON forms
	reads      atomic.Uint64         // number of reads of the log
	hits       atomic.Uint64         // number of requests for pieces that were cached or being read
	mu         sync.Mutex            // guards all below, and the fields of all pieces
	pieces     map[uint64][]*piece   // by block; the pieces of a block may overlap
	unused     *list.List            // loaded pieces that no subscriber holds, least recently used first
	used       int64                 // bytes of all pieces that are reserved, cached or held
	reserve    int64                 // bytes that one read may need: a chunk, or the largest record
	reading    int                   // number of running reads
	owners     map[string]*coldOwner // owners that hold pieces or wait
}

// coldOwner is a user at an address.
type coldOwner struct {
	held    int64    // bytes of the held pieces that it has requested
	waiting []*piece // pieces whose read has not begun, in the order of the requests
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
	context.AfterFunc(c.closed, func() { // waiting subscribers get an error
		c.mu.Lock()
		defer c.mu.Unlock()
		c.grant()
	})
	return c
}

// hold returns a piece with the record at offset, which may still have to be read. A new
// piece ends below to. Continues means that the caller has read everything before offset;
// then a new piece begins at offset. The caller must release the piece.
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
			continues = true // the block has several pieces, and this is not the first one
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
	if p.holders > 0 || !p.isLoaded() { // a running read finishes, and its piece is cached
		return
	}
	c.retire(p)
	c.makeRoom(0) // the JSON form may have grown
	c.grant()
}

// forgetOwner removes an owner that holds no piece and waits for none. The caller holds
// mu.
func (c *coldCache) forgetOwner(name string) {
	if o := c.owners[name]; o != nil && o.held == 0 && len(o.waiting) == 0 {
		delete(c.owners, name)
	}
}

// redact removes the pieces with the record at offset from the cache.
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

// trim frees the cached pieces that lie entirely below the first retained offset.
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
