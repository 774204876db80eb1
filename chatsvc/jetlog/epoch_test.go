package jetlog_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/jetlog"
)

// replaceStream removes the stream of a log and makes it again, and returns the
// offset that comes next in it.
func replaceStream(t *testing.T, c *cluster, _ *jetlog.Log) uint64 {
	t.Helper()
	js := c.jetstream(t)
	stream, err := js.Stream(t.Context(), "chat")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Metadata = map[string]string{"simplechat-epoch": "ANOTHER"}
	if err := js.DeleteStream(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return 1
}

// putStreamBack restores a log's stream to the state before the last record, and returns
// that record's offset.
func putStreamBack(t *testing.T, c *cluster, log *jetlog.Log) uint64 {
	t.Helper()
	stop := func() {
		c.stop(0)
		awaitDown(t, log)
	}
	stop()
	copied := c.copyOf(t, 0)
	c.start(t, 0)
	offset := appendWhenUp(t, log)
	stop()
	c.putBack(t, 0, copied)
	c.start(t, 0)
	awaitUp(t, log)
	return offset
}

// If the stream was replaced and no Follow has noticed yet, a send is not acknowledged
// with the old epoch and an offset of the new stream. After the log has the new epoch,
// the send may be repeated, and keys of the old epoch are unknown.
func TestAppendToAnotherStream(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		replace func(*testing.T, *cluster, *jetlog.Log) uint64
		// known is whether the stream knows the key by then.
		known bool
	}{
		"made again":                   {replaceStream, false},
		"made again and the key known": {replaceStream, true},
		"gone back":                    {putStreamBack, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1)
			log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
			defer closeLog(t, log)
			before := state(t, log)
			appendKeyWhenUp(t, log, "old")
			next := tt.replace(t, c, log)
			if tt.known {
				other := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
				defer closeLog(t, other)
				appendKeyWhenUp(t, other, "key")
			}
			if got, err := log.Append(t.Context(), newRecord(t, "x"), "key"); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("append: %+v, %v", got, err)
			}
			if log.Err() == nil {
				t.Error("the log stores messages in an epoch that it has not told")
			}
			after := state(t, log)
			if after.Epoch == before.Epoch {
				t.Errorf("state %+v, before %+v", after, before)
			}
			if got := appendKeyWhenUp(t, log, "key"); got.Offset != next {
				t.Errorf("repeated: %+v, offset %d was due", got, next)
			}
			if got := appendKeyWhenUp(t, log, "old"); next == 1 && got.Offset != 2 {
				t.Errorf("a key of the epoch before: %+v", got)
			}
			if got := state(t, log); got.Epoch != after.Epoch {
				t.Errorf("state %+v, before %+v", got, after)
			}
		})
	}
}

// testLeaderChanges changes the stream's leader while senders run: the epoch stays the
// same, and the stream has each record once.
func testLeaderChanges(t *testing.T, c *cluster) {
	js := c.jetstream(t)
	var logs []*jetlog.Log
	for range 2 {
		log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
		defer closeLog(t, log)
		collect(t, log)
		logs = append(logs, log)
	}
	before := state(t, logs[0])
	var keys atomic.Int64
	add := func() { appendKeyWhenUp(t, logs[keys.Load()%2], fmt.Sprint(keys.Add(1))) }
	done := make(chan struct{})
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					add()
				}
			}
		})
	}
	for range 3 {
		add()
		if _, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN.chat", nil, patience); err != nil {
			t.Fatal(err)
		}
	}
	add()
	close(done)
	senders.Wait()
	if after := state(t, logs[0]); after.Epoch != before.Epoch || after.Next != uint64(keys.Load())+1 {
		t.Errorf("state %+v after %d records, before %+v", after, keys.Load(), before)
	}
}
