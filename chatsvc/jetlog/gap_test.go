package jetlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
)

// deletable makes the stream chat one that records can be deleted from.
func deletable(tb testing.TB, c *cluster) jetstream.Stream {
	tb.Helper()
	js := c.jetstream(tb)
	stream, err := js.Stream(tb.Context(), "chat")
	if err != nil {
		tb.Fatal(err)
	}
	config := stream.CachedInfo().Config
	if err := js.DeleteStream(tb.Context(), "chat"); err != nil {
		tb.Fatal(err)
	}
	config.DenyDelete, config.DenyPurge = false, false
	if stream, err = js.CreateStream(tb.Context(), config); err != nil {
		tb.Fatal(err)
	}
	return stream
}

// Deleted records and messages of other programs hide nothing around them: each
// offset is in one chunk, in Read and in Follow.
func TestGapsAreUnreadableRecords(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprint("servers=", servers), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, servers)
			closeLog(t, c.connect(t, "chat", jetlog.Options{}))
			stream := deletable(t, c)
			log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
			defer closeLog(t, log)
			const last = 20
			for n := range last {
				appendText(t, log, fmt.Sprint(n+1))
			}
			gone := map[uint64]bool{3: true, 4: true, 9: true, last: true}
			for offset := range gone {
				if err := stream.DeleteMsg(t.Context(), offset); err != nil {
					t.Fatal(err)
				}
			}
			c.awaitCurrent(t) // a server that lags behind still has what was deleted
			epoch := state(t, log).Epoch
			var read []chatsvc.Chunk
			for at := uint64(1); at <= last; {
				got, err := log.Read(t.Context(), epoch, at, last+1, 200)
				if err != nil || got.From != at || got.Next <= at {
					t.Fatalf("read at %d: %+v, %v", at, got, err)
				}
				read = append(read, got)
				at = got.Next
			}
			checkCovered(t, "read", read, gone, last)

			var followed []chatsvc.Chunk
			err := log.Follow(t.Context(), epoch, 1, func(got chatsvc.Chunk) error {
				if followed = append(followed, got); got.Next > last {
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			checkCovered(t, "follow", followed, gone, last)
		})
	}
}

// checkCovered fails the test unless chunks have each offset once, with a record
// unless it is gone.
func checkCovered(t *testing.T, how string, chunks []chatsvc.Chunk, gone map[uint64]bool, last uint64) {
	t.Helper()
	next := uint64(1)
	found := make(map[uint64]bool)
	for _, c := range chunks {
		if c.From != next {
			t.Errorf("%s: a chunk from %d where %d was due", how, c.From, next)
		}
		next = c.Next
		for _, e := range c.Entries {
			if e.Offset < c.From || e.Offset >= c.Next || found[e.Offset] || gone[e.Offset] {
				t.Errorf("%s: record %d in a chunk of %d to %d", how, e.Offset, c.From, c.Next)
			}
			found[e.Offset] = true
		}
	}
	if next != last+1 || len(found) != int(last)-len(gone) {
		t.Errorf("%s: %d records up to %d, of %d without %v", how, len(found), next-1, last, gone)
	}
}

// A cluster that is not up yet is waited for, until the caller gives up, and the gap is
// logged.
func TestConnectWaitsForCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.stop(0)
	out := newTestLog(t)
	connected := make(chan *jetlog.Log, 1)
	go func() {
		log, err := jetlog.Connect(t.Context(), c.settings("chat"), jetlog.Options{Logger: slogTo(out)})
		if err != nil {
			t.Error(err)
		}
		connected <- log
	}()
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), "waiting for the nats servers"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log does not say that it waits")
		}
	}
	c.start(t, 0)
	log := <-connected
	if log == nil {
		return
	}
	defer closeLog(t, log)
	appendText(t, log, "up")

	ctx, cancel := context.WithCancel(t.Context())
	c.stop(0)
	cancel()
	if _, err := jetlog.Connect(ctx, c.settings("chat"), jetlog.Options{}); err == nil {
		t.Error("connected to nothing")
	}
}

// A refused send says that nothing was stored where that is certain, and that it is
// not known where it is not.
func TestRefusedSendSaysWhetherItWasStored(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
	defer closeLog(t, log)
	c.stop(0)
	awaitDown(t, log)
	_, err := log.Append(t.Context(), newRecord(t, "x"), "key")
	if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "the message was not stored: send it again") {
		t.Errorf("while NATS is away: %v", err)
	}
}
