package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

// grant starts the waiting reads for which there is room. After the end it starts all of
// them; they fail at once. The caller holds mu.
func (c *coldCache) grant() {
	for {
		name := ""
		var next *coldOwner
		for n, o := range c.owners {
			if len(o.waiting) > 0 && (next == nil || o.held < next.held) {
				name, next = n, o
			}
		}
		if next == nil {
			return
		}
		if c.closed.Err() == nil && !c.hasRoom(next) {
			return
		}
		p := next.waiting[0]
		next.waiting = next.waiting[1:]
		if p.holders == 0 { // the subscribers that waited have left
			c.uncache(p)
			c.forgetOwner(name)
			continue
		}
		p.bytes = c.reserve
		c.used += p.bytes
		next.held += p.bytes
		c.reading++
		go c.load(p)
	}
}

// hasRoom reports whether a read for an owner may begin. The caller holds mu.
func (c *coldCache) hasRoom(o *coldOwner) bool {
	switch {
	case c.reading >= coldReads:
		return false
	case o.held > 0 && (o.held+c.reserve)*100 > c.limit*ownerShare:
		return false
	}
	return c.makeRoom(c.reserve)
}

// makeRoom frees memory until bytes more fit: first JSON forms, then whole pieces, least
// recently used first. It reports whether they fit; if nothing else is in use, they always
// do. The caller holds mu.
func (c *coldCache) makeRoom(bytes int64) bool {
	for e := c.unused.Front(); e != nil && c.json.bytes.Load() > 0 && c.used+c.json.bytes.Load()+bytes > c.limit; e = e.Next() {
		e.Value.(*piece).chunk.json.drop() //nolint:forcetypeassert // the list has nothing else
	}
	for e := c.unused.Front(); e != nil && c.used+c.json.bytes.Load()+bytes > c.limit; e = c.unused.Front() {
		p := c.unused.Remove(e).(*piece) //nolint:forcetypeassert // the list has nothing else
		p.place = nil
		c.uncache(p)
		c.used -= p.bytes
		p.chunk.json.drop()
	}
	return c.used == 0 || c.used+c.json.bytes.Load()+bytes <= c.limit
}

// load reads p from the log.
func (c *coldCache) load(p *piece) {
	chunk, next, err := c.read(p)
	fault.At(fault.ColdRead)
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.stale && err == nil {
		p.stale = false
		go c.load(p)
		return
	}
	c.reading--
	c.owner(p).held -= p.bytes
	c.used -= p.bytes
	p.bytes = 0
	p.chunk, p.next, p.err = chunk, next, err
	if chunk != nil {
		chunk.json.account = &c.json
		p.bytes = chunk.size()
		c.reserve = max(c.reserve, p.bytes) // the log may have larger records than those that are accepted now
	}
	c.owner(p).held += p.bytes
	c.used += p.bytes
	if err != nil {
		c.uncache(p)
	}
	close(p.loaded)
	if p.holders == 0 {
		c.retire(p)
	}
	c.grant()
}

// read reads the records of p. It tries again if the log returns fewer than it must have.
// The chunk is nil if all of them were removed.
func (c *coldCache) read(p *piece) (*chunk, uint64, error) {
	c.giveWay(c.closed)
	ctx, cancel := context.WithTimeout(c.closed, coldReadTime)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, p.from, fmt.Errorf("%w: %w", errCold, err)
	}
	for pause := coldRetry; ; pause = min(2*pause, coldRetryMax) {
		c.reads.Add(1)
		got, err := c.log.Read(ctx, c.epoch, p.from, p.to, chunkBytes)
		isGone := err == nil && got.First > p.from // records below First may be removed at any time
		switch {
		case errors.Is(err, ErrEpoch):
			return nil, p.from, errNewEpoch
		case err == nil && got.From >= p.to && isGone:
			return nil, p.to, errFellBehind
		case err == nil && got.Next > got.From && (got.From == p.from || isGone):
			return newChunk(got, c.unreadable), got.Next, nil
		case err == nil:
			err = fmt.Errorf("the log returned records %d to %d, but record %d was expected", got.From, got.Next, p.from)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, p.from, fmt.Errorf("%w: %w", errCold, err)
		}
	}
}
