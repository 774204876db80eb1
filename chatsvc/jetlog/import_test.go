package jetlog_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/jetlog"
)

// An import keeps offsets and the epoch, and the log is in use after it as any other.
func TestImport(t *testing.T) {
	t.Parallel()
	srv := startEmbedded(t, natsOptions(t))
	cluster := jetlog.Cluster{URLs: []string{srv.ClientURL()}, Stream: "imported", Replicas: 1}
	in, err := jetlog.NewImport(t.Context(), cluster, jetlog.Options{Logger: logger(t)}, "EPOCH", 100)
	if err != nil {
		t.Fatal(err)
	}
	for offset := uint64(100); offset < 1000; offset++ {
		if offset == 200 {
			continue
		}
		if err := in.Add(t.Context(), chatsvc.Entry{Offset: offset, Record: newRecord(t, "text")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Add(t.Context(), chatsvc.Entry{Offset: 999, Record: newRecord(t, "text")}); err == nil {
		t.Error("an offset was added again")
	}
	if err := in.Finish(t.Context(), 1005); err != nil {
		t.Fatal(err)
	}
	log, err := jetlog.Connect(t.Context(), cluster, jetlog.Options{Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	state, err := log.State(t.Context())
	if want := (chatsvc.State{Epoch: "EPOCH", First: 100, Next: 1005}); err != nil || state != want {
		t.Fatalf("state %+v, %v, want %+v", state, err, want)
	}
	chunk, err := log.Read(t.Context(), "EPOCH", 199, 202, 1<<20)
	if err != nil || len(chunk.Entries) != 3 || !bytes.Equal(chunk.Entries[1].Record, record.Empty) ||
		!bytes.Equal(chunk.Entries[2].Record, newRecord(t, "text")) {
		t.Errorf("%+v, %v", chunk, err)
	}
	if offset := appendText(t, log, "next"); offset != 1005 {
		t.Errorf("the next message got offset %d", offset)
	}
	if _, err := jetlog.NewImport(t.Context(), cluster, jetlog.Options{}, "EPOCH", 1); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("over a stream: %v", err)
	}
}

// An import that cannot begin leaves no stream: a server would serve it as a log without
// messages, in the epoch of the export.
func TestImportCannotBegin(t *testing.T) {
	t.Parallel()
	options := natsOptions(t)
	options.MaxPayload = 1 << 20
	srv := startEmbedded(t, options)
	cluster := jetlog.Cluster{URLs: []string{srv.ClientURL()}, Stream: "imported", Replicas: 1, MaxContent: 2 << 20}
	for range 2 { // the second one would find a stream
		in, err := jetlog.NewImport(t.Context(), cluster, jetlog.Options{Logger: logger(t)}, "EPOCH", 1)
		if err == nil {
			t.Fatal("no error", in.Abort(t.Context()))
		}
		if !strings.Contains(err.Error(), "max_payload") {
			t.Error(err)
		}
	}
	cluster.MaxContent = 1 << 10
	in, err := jetlog.NewImport(t.Context(), cluster, jetlog.Options{Logger: logger(t)}, "EPOCH", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}

// An import that fails removes the stream.
func TestImportFails(t *testing.T) {
	t.Parallel()
	srv := startEmbedded(t, natsOptions(t))
	cluster := jetlog.Cluster{URLs: []string{srv.ClientURL()}, Stream: "imported", Replicas: 1}
	for name, fail := range map[string]func(*jetlog.Import) error{
		"no record": func(in *jetlog.Import) error {
			err := in.Add(t.Context(), chatsvc.Entry{Offset: 1, Record: []byte("no record")})
			return errors.Join(err, in.Abort(t.Context()))
		},
		"too low an end": func(in *jetlog.Import) error {
			return errors.Join(in.Add(t.Context(), chatsvc.Entry{Offset: 7, Record: newRecord(t, "text")}), in.Finish(t.Context(), 7))
		},
		"cancelled": func(in *jetlog.Import) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return errors.Join(in.Add(t.Context(), chatsvc.Entry{Offset: 300, Record: newRecord(t, "text")}), in.Finish(ctx, 301))
		},
	} {
		in, err := jetlog.NewImport(t.Context(), cluster, jetlog.Options{Logger: logger(t)}, "EPOCH", 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err) // also if the one before has left its stream
		}
		if err := fail(in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	in, err := jetlog.NewImport(t.Context(), cluster, jetlog.Options{}, "EPOCH", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}
