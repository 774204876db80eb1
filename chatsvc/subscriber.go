package chatsvc

import (
	"context"
	"errors"
	"math"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

// subscriber is a position in the log. It is guarded by the broker's mu.
type subscriber struct {
	owner string // the user and the address
	next  uint64 // offset of the record to read next
	until uint64 // offset before which the stream ends
	begun bool   // it has read something
	// leaving means that it ends when it has read everything. Only its own goroutine sets
	// it.
	leaving bool
	piece   *piece // piece of the cold cache that it waits for or writes
	round   *round // round in which it has parked; nil if it has read since
	census  uint64 // census of the crowd to which it belongs; 0: none
	// absentUntil is the time until which it stays out of the crowd, because it was late.
	// Absences is the number of times in a row.
	absentUntil time.Time
	absences    int
}

// subscribe returns a subscriber that reads the records in [from, until). The caller must
// call leave at the end.
func (b *broker) subscribe(owner string, from, until uint64) *subscriber {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &subscriber{owner: owner, next: min(from, b.hot.next), until: until}
}

// errUntil ends a stream that has reached its end.
var errUntil = errors.New("the stream has reached its end")

// read returns the next batch for s. With an empty batch it returns a channel that is
// closed when s should read again. It fails with errUntil at the end of the stream, with
// [errFellBehind] if the next record of s was removed, and with the reason of close after
// close.
func (b *broker) read(s *subscriber) (batch, <-chan struct{}, error) {
	b.mu.Lock()
	b.unpark(s)
	// A subscriber sees all records when it begins and when it ends; otherwise it sees
	// the released ones.
	end := b.visible
	if !s.begun || s.leaving {
		end = b.hot.next
	}
	end = min(end, s.until)
	switch {
	case s.next >= s.until:
		b.mu.Unlock()
		return batch{}, nil, errUntil
	case !b.closedAt.IsZero() && (s.next >= b.visible || time.Since(b.closedAt) > drainTime):
		defer b.mu.Unlock()
		return batch{}, nil, b.reason
	}
	if s.next >= end {
		b.releasePiece(s)
		b.park(s) // this may release held records
		end = min(b.visible, s.until)
		if s.next >= end && s.round == nil {
			b.park(s) // it has read them all: without this it would not be woken
		}
	}
	if s.next < max(b.hot.floor(), b.first) && s.next < end {
		if s.census > 0 { // it kept up until now
			s.late()
		}
		b.quit(s)
		b.mu.Unlock()
		fault.At(fault.GoingCold)
		return b.readCold(s, end)
	}
	defer b.mu.Unlock()
	b.releasePiece(s)
	got := b.hot.batch(s.next, end)
	if got.count > 0 && b.hot.isFull() {
		b.hot.evict()
	}
	if got.count > 0 && s.next+uint64(got.count) < end {
		b.ask() // records before the end may have expired
	}
	s.next += uint64(got.count)
	s.begun = true
	return got, b.round.released, nil
}

// showAll also shows s the records that are not released yet, because its stream ends.
func (b *broker) showAll(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.leaving = true
}

// readCold is read for records that are not in memory.
func (b *broker) readCold(s *subscriber, end uint64) (batch, <-chan struct{}, error) {
	for {
		if s.piece == nil {
			s.piece = b.cold.hold(s.owner, s.next, end, s.begun)
		}
		p := s.piece
		if !p.isLoaded() {
			return batch{}, p.loaded, nil
		}
		switch {
		case p.err != nil:
			b.releasePiece(s)
			return batch{}, nil, b.coldError(p.err)
		case p.contains(s.next):
			got := p.chunk.batch(s.next, end)
			s.next += uint64(got.count)
			s.begun = true
			return got, nil, nil
		case s.next < p.chunk.base && p.from <= s.next:
			b.releasePiece(s)
			return batch{}, nil, errFellBehind
		}
		s.begun = s.begun || p.from <= s.next // the block has another piece before the record
		b.releasePiece(s)
	}
}

// coldError returns the error for a subscriber after a failed read of the log.
func (b *broker) coldError(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closedAt.IsZero() {
		return b.reason
	}
	if errors.Is(err, errCold) {
		b.logger.Error("read the log", "error", err)
	}
	return err
}

// releasePiece releases the piece that s holds, if any.
func (b *broker) releasePiece(s *subscriber) {
	if s.piece != nil {
		b.cold.release(s.piece)
		s.piece = nil
	}
}

// releaseCopied releases the piece that s holds, after s has copied its records.
func (b *broker) releaseCopied(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releasePiece(s)
}

// leave removes s.
func (b *broker) leave(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releasePiece(s)
	b.unpark(s)
	b.quit(s)
	b.releaseIfDue() // the others may have waited for s
}

// noUntil is the value of until for a stream without an end.
const noUntil = math.MaxUint64

// nextBatch returns the next batch for sub, or an empty one when the stream has been
// silent for too long. For the first batch it waits only if records must be read
// from the log.
func (b *broker) nextBatch(ctx context.Context, revoked <-chan struct{}, sub *subscriber, beat *heartbeat, first bool) (batch, error) {
	done := ctx.Done()
	for {
		select {
		case <-done:
			return batch{}, ctx.Err()
		case <-revoked:
			return batch{}, errRevoked
		default:
		}
		fault.At(fault.Reading)
		next, more, err := b.read(sub)
		if err != nil || next.count > 0 || first && sub.piece == nil {
			return next, err
		}
		if sub.leaving && sub.piece == nil {
			return batch{}, errShutdown
		}
		fault.At(fault.Waiting)
		select {
		case <-more:
		case <-done:
			return batch{}, ctx.Err()
		case <-revoked:
			return batch{}, errRevoked
		case <-beat.timer.C:
			if beat.leaving.Load() {
				b.showAll(sub)
				continue
			}
			if beat.isDue() {
				return batch{}, nil
			}
		}
	}
}

// late keeps s out of the crowd for a while.
func (s *subscriber) late() {
	now := time.Now()
	if now.Sub(s.absentUntil) > lateMemory {
		s.absences = 0
	}
	s.absentUntil = now.Add(min(shortestAbsence<<s.absences, longestAbsence))
	s.absences = min(s.absences+1, 10)
}
