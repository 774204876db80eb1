package chatsvc

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

const (
	// catchUpTime bounds how long a new subscriber waits for records that are known to be
	// stored.
	catchUpTime = 5 * time.Second
	// firstTime is how long the first batch may take to be read from the log. After it,
	// an empty batch is sent, because a client is connected at the first message.
	firstTime = time.Second
)

// headerBuffering with the value no makes nginx pass each batch on at once. With a
// plain proxy_pass it would keep batches until it has 4 KiB or more.
const headerBuffering = "X-Accel-Buffering"

// opening is the begin and the end of a stream, and their form in the response.
type opening struct {
	broker      *broker
	from, until uint64
	hasUntil    bool
	// isReset means that the requested offset is beyond the end of the log.
	isReset bool
	// isOther means that the requested epoch is not that of the log.
	isOther bool
}

// setHeader sets the headers with the position of the subscriber.
func (o opening) setHeader(h http.Header) {
	h.Set(headerBuffering, "no")
	h.Set(HeaderEpoch, o.broker.epoch)
	h.Set(HeaderOffset, strconv.FormatUint(o.from, 10))
	if o.isReset {
		h.Set(HeaderReset, "true")
	}
	if o.hasUntil {
		h.Set(HeaderUntil, strconv.FormatUint(o.until, 10))
	}
}

// endsAtOnce reports whether the stream ends at once, because the requested end is not
// valid in this epoch.
func (o opening) endsAtOnce() bool { return o.hasUntil && (o.isOther || o.isReset) }

// open resolves the position that a subscriber asks for.
func (s *Service) open(ctx context.Context, p position) (opening, error) {
	o := opening{broker: s.broker.Load(), until: noUntil}
	o.isOther = p.epoch != "" && p.epoch != o.broker.epoch && (p.kind == fromOffset || p.until.set)
	if p.kind == fromOffset && p.epoch == o.broker.epoch && p.n > o.broker.next() {
		var err error
		if o.isReset, err = s.isBeyond(ctx, o.broker, p.n); err != nil {
			return opening{}, err
		}
	}
	if err := o.broker.catchUp(ctx, o.broker.acknowledged.Load()); err != nil {
		return opening{}, err
	}
	o.broker.refresh(ctx)
	b := o.broker
	replay := uint64(0)
	if p.kind == fromStart && !o.isOther {
		var err error
		if replay, err = b.replayFrom(ctx); err != nil {
			return opening{}, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.isOther || o.isReset {
		o.from = b.first
	} else {
		o.from = p.resolve(b.first, replay, b.hot.next)
	}
	if o.hasUntil = p.until.set; o.hasUntil {
		o.until = p.until.offset
		if p.until.atEnd {
			o.until = b.hot.next
		}
	}
	return o, nil
}

// isBeyond reports whether offset is beyond the end of the log, which is in the
// epoch of b. If it is not, isBeyond waits until b has the record before offset, because a
// replica may lag.
func (s *Service) isBeyond(ctx context.Context, b *broker, offset uint64) (bool, error) {
	ask, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	state, err := s.log.State(ask)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		s.logger.Warn("ask the log for its end", "error", err)
		return false, errBehind
	case state.Epoch != b.epoch:
		return false, errNewEpoch
	case offset > state.Next:
		return true, nil
	}
	return false, b.catchUp(ctx, offset-1)
}

// catchUp waits until b has the record at offset, which is known to be stored.
func (b *broker) catchUp(ctx context.Context, offset uint64) error {
	wait, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	err := b.await(wait, offset)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		err = errBehind
	}
	return err
}
