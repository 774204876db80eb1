package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const scanRun = 4711

// scanBatches are messages as they are sent: stamped ones, large ones, and one
// that is somebody else's.
func scanBatches() []*chatpb.ChatMessages {
	var batches []*chatpb.ChatMessages
	seq := uint64(0)
	stamped := func(size int) *chatpb.ChatMessage {
		content := newContent(size)
		stamp{run: scanRun, slot: 1, seq: seq, due: time.Millisecond}.put(content)
		seq++
		return &chatpb.ChatMessage{Timestamp: 1_790_000_000_000, Content: content, Type: chatpb.ChatMessage_Text, From: "user1"}
	}
	foreign := &chatpb.ChatMessage{Content: []byte("hello"), Type: chatpb.ChatMessage_Text, From: `"content":"`}
	for _, sizes := range [][]int{{}, {100}, {stampBytes, 30, 31}, {}, {3000}, {100, 3000, stampBytes}} {
		batch := &chatpb.ChatMessages{}
		for _, size := range sizes {
			batch.Messages = append(batch.Messages, stamped(size))
		}
		batches = append(batches, batch)
	}
	batches[1].Messages = append(batches[1].Messages, foreign)
	return batches
}

// body returns the batches as a stream's body.
func body(tb testing.TB, f form) []byte {
	tb.Helper()
	var b []byte
	for _, batch := range scanBatches() {
		data, err := proto.Marshal(batch)
		if f != formProto {
			data, err = protojson.Marshal(batch) // with blanks here and there
		}
		if err != nil {
			tb.Fatal(err)
		}
		if f == formLines {
			b = append(append(b, data...), '\n')
			continue
		}
		b = binary.BigEndian.AppendUint32(append(b, 0), uint32(len(data)))
		b = append(b, data...)
	}
	return b
}

func newScanned(f form) *subscriber {
	return &subscriber{
		run:     &runState{id: scanRun, base: time.Now(), ready: make(chan struct{}, 1)},
		tally:   newTallies(1)[0],
		checker: newChecker(2),
		scan:    newScanner(f),
	}
}

// However a stream is cut in pieces, the same messages are found.
func TestScanners(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]form{"proto": formProto, "json": formJSON, "lines": formLines} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := body(t, f)
			check := func(how string, pieces ...[]byte) {
				s := newScanned(f)
				for _, p := range pieces {
					if err := s.feed(p); err != nil {
						t.Fatalf("%s: %v", how, err)
					}
				}
				want := counts{deliveries: 8, batches: 4, carried: 9, heartbeats: 2, foreign: 1}
				if s.tally.counts != want || s.checker.next[1] != 8 || s.checker.gaps+s.checker.duplicates != 0 {
					t.Fatalf("%s: %+v, next is %d", how, s.tally.counts, s.checker.next[1])
				}
			}
			check("whole", whole)
			for i := range whole {
				check(fmt.Sprintf("cut at %d", i), whole[:i], whole[i:])
			}
			for size := 1; size < 100; size++ {
				var pieces [][]byte
				for rest := whole; len(rest) > 0; rest = rest[min(size, len(rest)):] {
					// A copy: what is kept of a piece shows when it is overwritten.
					pieces = append(pieces, bytes.Clone(rest[:min(size, len(rest))]))
				}
				check(fmt.Sprintf("pieces of %d", size), pieces...)
			}
		})
	}
}

// The end of a stream says why.
func TestScanEnd(t *testing.T) {
	t.Parallel()
	envelope := func(flags byte, data string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(data)))) + data
	}
	for _, c := range []struct {
		name, data, want string
		form             form
	}{
		{"connect", envelope(2, `{"error":{"code":"unavailable"}}`), `the server ended the stream: {"error":{"code":"unavailable"}}`, formProto},
		{"connect, in order", envelope(2, `{}`), errEnded.Error(), formJSON},
		{"gRPC-Web", envelope(0x80, "grpc-status: 14\r\ngrpc-message: bye\r\n"), "the server ended the stream: grpc-status: 14\r\ngrpc-message: bye", formProto},
		{"lines", `{"code":"unavailable"}` + "\n", `the server ended the stream: {"code":"unavailable"}`, formLines},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScanned(c.form)
			if err := s.feed([]byte(c.data)); err != nil {
				t.Fatal(err)
			}
			if err := s.broken(); err == nil || err.Error() != c.want {
				t.Errorf("the stream ended with %v", err)
			}
		})
	}
}

// What is no stream of messages is an error, and nothing is read into it.
func TestScanGarbage(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"compressed":   "\x01\x00\x00\x00\x02ab",
		"not a record": "\x00\x00\x00\x00\x02\x12\x00",
		"cut record":   "\x00\x00\x00\x00\x03\x0a\x05a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScanned(formProto)
			if err := s.feed([]byte(data)); err == nil {
				t.Errorf("no error, %+v", s.tally.counts)
			}
		})
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	want := stamp{run: 1<<28 - 1, slot: maxSlots - 1, seq: 1<<42 - 1, due: 1<<63 - 1}
	content := newContent(stampBytes)
	want.put(content)
	if got, err := parseStamp(content); err != nil || got != want {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
	for _, b := range content {
		if b >= 0x80 {
			t.Errorf("%q is not ASCII", content)
		}
	}
	if _, err := base64.StdEncoding.DecodeString(base64.StdEncoding.EncodeToString(content)[:stampBase64]); err != nil {
		t.Error(err)
	}
	for _, content := range []string{"", "hello", "# this is longer than a stamp, and is none"} {
		if got, err := parseStamp([]byte(content)); err == nil {
			t.Errorf("%q is %+v", content, got)
		}
	}
}
