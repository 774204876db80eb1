package jetlog

import (
	"context"
	"errors"
	"fmt"
)

// watch starts the server in this process anew when it has failed: after an
// error of the disk it stores nothing more.
func (l *Log) watch() {
	for {
		select {
		case err := <-l.engine.failures:
			l.repair(err)
		case <-l.closed.Done():
			return
		}
	}
}

// repair waits until the disk can be written to, and starts the server anew.
func (l *Log) repair(cause error) {
	down := func(cause error) { l.setDown(fmt.Errorf("data directory %s: %w", l.engine.dir.path, cause)) }
	down(cause)
	for {
		if err := l.engine.dir.probe(); err != nil { // it may take its time
			down(err)
		}
		if l.pause(l.closed, probePause) != nil {
			return
		}
		if l.engine.dir.probe() != nil { // once more: what is there now is started on
			continue
		}
		if err := l.restart(l.engine.disk.mend, l.resume); err != nil {
			l.logger.Error("start the nats server anew", "error", err)
			continue
		}
		l.setUp()
		return
	}
}

// restart starts the server anew. It calls stopped while no server runs, and
// started, again and again, until the stream is there.
func (l *Log) restart(stopped func() error, started func(context.Context) error) error {
	l.engine.stop()
	l.engine.forget()
	if err := stopped(); err != nil {
		return err
	}
	if err := l.engine.start(false); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.closed, startTime)
	defer cancel()
	for {
		err := started(ctx)
		if err == nil {
			return nil
		}
		if l.pause(ctx, reconnectWait) != nil {
			return err
		}
	}
}

// resume goes on with the stream as it is after a restart.
func (l *Log) resume(ctx context.Context) error {
	info, err := l.info(ctx)
	if err != nil {
		return err
	}
	if stored := l.recent.last(); info.State.LastSeq < stored {
		why := fmt.Errorf("offset %d was there, the last one is %d", stored, info.State.LastSeq)
		if err := l.wentBack(ctx, l.currentEpoch(), why); !errors.Is(err, errReplaced) {
			return err
		}
		if err := l.look(ctx); err != nil {
			return err
		}
		if info, err = l.info(ctx); err != nil {
			return err
		}
	}
	stored, err := l.storedKeys(ctx, l.engine.disk.acknowledged()+1, info.State.LastSeq)
	if err != nil {
		return err
	}
	if err := l.engine.disk.reopen(epochOf(info), info.State.FirstSeq, info.State.LastSeq, stored); err != nil {
		return err
	}
	l.engine.forget() // see open
	l.recent.set(info.State.LastSeq)
	return nil
}

// suspect takes an error of an append: something may have to be repaired.
func (l *Log) suspect(err error) {
	if l.engine != nil {
		l.engine.fail(err)
		return
	}
	l.setDown(err)
}
