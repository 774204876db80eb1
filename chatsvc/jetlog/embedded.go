package jetlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// embeddedStream is the stream's name in a data directory.
	embeddedStream = "chat"
	// markPause is the time between two syncs of the mark where each record is
	// synced.
	markPause = 2 * time.Second
	// probePause is the time between two tries to write to a disk that is full
	// or fails.
	probePause = time.Second
)

// Open opens the log in the directory dir, which is made if it is missing. Only
// one process can have it open. What was acknowledged is on the disk if interval
// is zero; otherwise the log writes it there that often, and what a power cut
// may take is that much. A crash of the process alone takes nothing. The caller
// calls [Log.Close] in the end.
func Open(ctx context.Context, dir string, interval time.Duration, opts Options) (*Log, error) {
	l := newLog(embeddedStream, streamConfig(embeddedStream, opts.Retention, 1), opts)
	if err := l.open(ctx, dir, interval); err != nil {
		_ = l.Close() // it never came to be
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: make room on its disk, a start needs %d MiB", err, (probeBytes+server.FileStoreMaxBlkSize)>>20)
		}
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	return l, nil
}

func (l *Log) open(ctx context.Context, path string, interval time.Duration) error {
	dir, err := openDirectory(path)
	if err != nil {
		return err
	}
	l.engine, l.recent = &engine{dir: dir, logger: l.logger, failures: make(chan error, 1)}, &recent{}
	before, err := readMark(dir.markPath())
	if err != nil {
		return err
	}
	if err := l.engine.start(before.trusted(bootID())); err != nil {
		return err
	}
	if err := l.connect("", embeddedAppendTime, nats.InProcessServer(l.engine)); err != nil {
		return err
	}
	info, err := l.openEmbeddedStream(ctx)
	if err != nil {
		return err
	}
	if info, err = l.cutUnacknowledged(ctx, info, before); err != nil {
		return err
	}
	if info, err = l.checkMark(ctx, info, before, interval > 0); err != nil {
		return err
	}
	l.epoch = epochOf(info)
	last := info.State.LastSeq
	m := mark{Epoch: l.epoch, Offset: last, Synced: last, Interval: interval > 0, Boot: bootID()}
	stored, err := l.storedKeys(ctx, dir.journaled(before, l.epoch)+1, last)
	if err != nil {
		return err
	}
	if l.engine.disk, err = dir.openDisk(l.stream, m, info.State.FirstSeq, stored, l.currentEpoch); err != nil {
		return err
	}
	if lost := l.engine.disk.keys.Load().lost; lost > 0 {
		l.logger.Warn("keys of the last two minutes are damaged, or of another epoch: what is sent again may be stored twice", "file", keysFile, "keys", lost)
	}
	// What the server complained about while it recovered the stream it has dealt
	// with: the stream is there.
	l.engine.forget()
	l.setUp() // cutUnacknowledged may have ended the connection, and another one was made
	l.recent.set(last)
	l.committer = newCommitter(l.engine.disk, l.recent)
	l.tasks.Go(l.watch)
	l.tasks.Go(func() { l.syncLater(cmp.Or(interval, markPause)) })
	return nil
}

// openEmbeddedStream makes the stream, or gives it today's retention.
func (l *Log) openEmbeddedStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := l.setDamagedSettingsAside(); err != nil {
			return nil, err
		}
		return l.createStream(ctx, l.config)
	}
	if err != nil {
		return nil, err
	}
	config := l.config
	config.Metadata = info.Config.Metadata
	if differences(info.Config, config) == nil {
		return info, nil
	}
	stream, err := l.js.UpdateStream(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("set the retention: %w", err)
	}
	return stream.CachedInfo(), nil
}

// setDamagedSettingsAside renames the files with the stream's settings, if they
// are there. The server does not read damaged ones, and does not replace them
// either: each start would find no stream. The messages beside them are kept, and
// belong to the stream that is made next, which has another epoch.
func (l *Log) setDamagedSettingsAside() error {
	dir := streamPath(l.engine.dir.store(), l.stream)
	for _, name := range []string{server.JetStreamMetaFile, server.JetStreamMetaFileSum} {
		path := filepath.Join(dir, name)
		switch err := os.Rename(path, path+".damaged"); {
		case err == nil:
			l.logger.Error("the stream's settings are damaged: the log gets another epoch, and keeps its messages", "renamed", path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// cutUnacknowledged removes the last records of the stream if one before them is
// missing and was not durable. After a power cut the beginning of a message file
// may be there and the end of the one before not: nothing from there on was
// acknowledged, or, with an interval, it is what a power cut may take. A gap would
// end the history that is before it.
func (l *Log) cutUnacknowledged(ctx context.Context, info *jetstream.StreamInfo, m mark) (*jetstream.StreamInfo, error) {
	if m.Closed || m.Epoch != epochOf(info) || info.State.NumDeleted == 0 {
		return info, nil
	}
	hole, err := l.firstMissing(ctx, m.durable())
	if err != nil || hole == 0 {
		return info, err
	}
	err = l.restart(func() error {
		removed, err := newBlocks(l.engine.dir.store(), l.stream).cut(hole)
		if err != nil {
			return err
		}
		l.logger.Warn("a record is missing behind all that were certain to be stored: those after it were removed",
			"missing", hole, "last", info.State.LastSeq, "files", removed)
		return nil
	}, func(ctx context.Context) (err error) {
		info, err = l.info(ctx)
		return err
	})
	return info, err
}

// firstMissing returns the lowest offset above after that the stream has lost, or
// 0 if there is none.
func (l *Log) firstMissing(ctx context.Context, after uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	stream, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return 0, err
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return 0, err
	}
	missing := slices.DeleteFunc(info.State.Deleted, func(offset uint64) bool { return offset <= after })
	if len(missing) == 0 {
		return 0, nil
	}
	return slices.Min(missing), nil
}

// checkMark gives the stream another epoch if acknowledged records are, or may
// be, gone: their offsets will be those of others.
func (l *Log) checkMark(ctx context.Context, info *jetstream.StreamInfo, m mark, interval bool) (*jetstream.StreamInfo, error) {
	if m.Epoch != epochOf(info) && m.Offset > info.State.LastSeq {
		l.logger.Error("acknowledged records are gone, and the log has another epoch", "epoch", m.Epoch, "from", info.State.LastSeq+1, "to", m.Offset)
	}
	lost := m.lost(epochOf(info), info.State.LastSeq, bootID(), interval)
	if lost == nil {
		if m.damaged {
			l.logger.Warn("it cannot be told whether records are missing", "error", errMarkDamaged)
		}
		return info, nil
	}
	if err := l.wentBack(ctx, epochOf(info), lost); !errors.Is(err, errReplaced) {
		return nil, err
	}
	return l.info(ctx)
}

// syncLater syncs from time to time what a settled append leaves.
func (l *Log) syncLater(interval time.Duration) {
	for l.pause(l.closed, interval) == nil {
		if err := l.engine.disk.sync(); err != nil {
			l.suspect(err)
		}
	}
}

// currentEpoch returns the epoch that State returned last.
func (l *Log) currentEpoch() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}
