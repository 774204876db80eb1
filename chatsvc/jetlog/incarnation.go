package jetlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// backTime is how long a stream may have less than was seen of it before it
	// counts as gone back: a new leader takes a moment to know what it stored.
	backTime = 5 * time.Second
	// backPoll is the time between two looks at it.
	backPoll = 250 * time.Millisecond
)

// errUnknown is the state of a stream that was not found and is there.
var errUnknown = errors.New("a nats server does not know the stream yet")

// errNoLeader is the state of a stream that nothing can be stored in.
var errNoLeader = errors.New("the stream has no leader")

// checkIncarnation fails with [errReplaced] if the stream is not the one with
// epoch that has had a record at offset last.
func (l *Log) checkIncarnation(ctx context.Context, epoch string, last uint64) error {
	for deadline := time.Now().Add(backTime); ; {
		info, err := l.ledInfo(ctx)
		if err != nil {
			return err
		}
		switch {
		case epochOf(info) != epoch:
			l.logger.Error("the stream has another epoch: the conversation begins anew", "was", epoch, "is", epochOf(info))
			return errReplaced
		case info.State.LastSeq >= last:
			return nil
		case time.Now().After(deadline):
			return l.wentBack(ctx, epoch, fmt.Errorf("offset %d was there, the last one is %d", last, info.State.LastSeq))
		}
		if err := l.pause(ctx, backPoll); err != nil {
			return err
		}
	}
}

// wentBack gives the stream another epoch, as offsets that were seen will mean
// something else. It returns [errReplaced] when that is done.
func (l *Log) wentBack(ctx context.Context, epoch string, why error) error {
	info, err := l.ledInfo(ctx)
	if err != nil {
		return err
	}
	if epochOf(info) == epoch {
		l.logger.Error("the stream went back, records are lost: it gets another epoch, and the conversation begins anew",
			"error", why, "first", info.State.FirstSeq, "last", info.State.LastSeq)
		if err := l.advanceEpoch(ctx, info); err != nil {
			return fmt.Errorf("give the stream another epoch: %w", err)
		}
	}
	return errReplaced
}

// confirm fails if the offset of an append that was stored is not of the epoch
// that it began in, as far as that can be told. A stream gives offsets in order:
// where a new record gets one that was there before it was sent, the stream is
// another one or went back. Where JetStream knows a key that this log has not
// seen used, it takes a look.
func (l *Log) confirm(ctx context.Context, a *pendingAppend) error {
	if l.engine != nil {
		return nil // its stream is nobody else's
	}
	offset := a.appended.Offset
	switch {
	case a.appended.Duplicate:
		if err := l.look(ctx); err != nil {
			return err
		}
	case offset <= a.highest:
		why := fmt.Errorf("a new record has offset %d, and %d was there before", offset, a.highest)
		err := l.wentBack(ctx, a.epoch, why)
		if errors.Is(err, errReplaced) {
			l.turn(a.turned)
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turned != a.turned || l.isTurned() {
		return errReplaced
	}
	if !a.appended.Duplicate {
		l.highest = max(l.highest, offset)
		l.notes.note(a.id, keyUse{offset, time.Now()})
	}
	return nil
}

// recreate makes the stream with epoch anew after somebody has removed it, unless
// another server has done so. It returns [errReplaced] when there is another one.
func (l *Log) recreate(ctx context.Context, epoch string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	own := rand.Text()
	info, err := l.createEpoch(ctx, l.config, own)
	if err != nil {
		return err
	}
	switch epochOf(info) {
	case epoch:
		return errUnknown
	case own:
		l.logger.Error("the stream was removed, and all messages with it: it was created anew", "stream", l.stream)
	default:
		l.logger.Error("the stream was removed, and all messages with it: another server has created it anew", "stream", l.stream)
	}
	return errReplaced
}

// ledInfo is info of a stream that has a leader. Without one any server answers,
// also one that is cut off, or does not have all of the stream yet.
func (l *Log) ledInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.info(ctx)
	if err == nil && info.Cluster != nil && info.Cluster.Leader == "" {
		err = errNoLeader
	}
	return info, err
}

// look compares the stream's epoch with the one that State returned last, and
// ends those who follow another one.
func (l *Log) look(ctx context.Context) error {
	info, err := l.ledInfo(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(info.Config.Subjects, l.config.Subjects) {
		return fmt.Errorf("stream %s was changed: its subjects are %v, and must be %v", l.stream, info.Config.Subjects, l.config.Subjects)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(info.Config)
	if epochOf(info) == l.epoch {
		return nil
	}
	l.endFollows()
	return nil
}

// compare logs if the stream has got other settings than this server needs. The
// caller holds mu.
func (l *Log) compare(got jetstream.StreamConfig) {
	text := ""
	if err := differences(got, l.config); err != nil {
		text = err.Error()
	}
	if text != l.differs && text != "" {
		l.logger.Warn("the stream's settings were changed: this server will not start with them", "stream", l.stream, "settings", text)
	}
	l.differs = text
}

// turn ends those who follow the epoch that turned is of. Nothing more is stored
// until State tells the new one.
func (l *Log) turn(turned <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turned == turned {
		l.endFollows()
	}
}

// endFollows ends those who follow the epoch that State returned last. The
// caller holds mu.
func (l *Log) endFollows() {
	if !l.isTurned() {
		close(l.turned)
	}
}

// isTurned reports whether the stream was seen with another epoch than State
// returned last. The caller holds mu.
func (l *Log) isTurned() bool {
	select {
	case <-l.turned:
		return true
	default:
		return false
	}
}
