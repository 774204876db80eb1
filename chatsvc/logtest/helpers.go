package logtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// opened returns a log that is closed when the test ends.
func opened(tb testing.TB, open Opener) chatsvc.Log {
	tb.Helper()
	log, closeLog := open(tb)
	tb.Cleanup(closeLog)
	return log
}

// record returns a message with content as a log stores it.
func record(tb testing.TB, content string) []byte {
	tb.Helper()
	b, err := proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{
		{Timestamp: 1_790_000_000_000, Content: []byte(content), Type: chatpb.ChatMessage_Text, From: "user1"},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// contentOf returns the content of the only message of a record.
func contentOf(tb testing.TB, record []byte) string {
	tb.Helper()
	var messages chatpb.ChatMessages
	if err := proto.Unmarshal(record, &messages); err != nil || len(messages.GetMessages()) != 1 {
		tb.Fatalf("record %q: %d messages, %v", record, len(messages.GetMessages()), err)
	}
	return string(messages.GetMessages()[0].GetContent())
}

// add appends a message, and fails the test if the append fails.
func add(tb testing.TB, log chatsvc.Log, content, key string) chatsvc.Appended {
	tb.Helper()
	got, err := log.Append(tb.Context(), record(tb, content), key)
	if err != nil {
		tb.Fatalf("append %q: %v", content, err)
	}
	return got
}

func stateOf(tb testing.TB, log chatsvc.Log) chatsvc.State {
	tb.Helper()
	state, err := log.State(tb.Context())
	if err != nil {
		tb.Fatalf("state: %v", err)
	}
	return state
}

// follow calls yield for each record of a log in the epoch that it has now.
func follow(ctx context.Context, log chatsvc.Log, from uint64, yield func(chatsvc.Entry) error) error {
	state, err := log.State(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	return log.Follow(ctx, state.Epoch, from, func(c chatsvc.Chunk) error {
		for _, e := range c.Entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	})
}

var errEnough = errors.New("enough")

// read follows a log from an offset until the record at last, and returns the
// entries. It fails the test if offsets are not each one more than the one
// before.
func read(tb testing.TB, log chatsvc.Log, from, last uint64) []chatsvc.Entry {
	tb.Helper()
	var got []chatsvc.Entry
	err := follow(tb.Context(), log, from, func(e chatsvc.Entry) error {
		if n := len(got); n > 0 && e.Offset != got[n-1].Offset+1 {
			return fmt.Errorf("offset %d came behind %d", e.Offset, got[n-1].Offset)
		}
		if got = append(got, e); e.Offset >= last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		tb.Fatalf("follow from %d to %d: %v, after %d records", from, last, err, len(got))
	}
	return got
}
