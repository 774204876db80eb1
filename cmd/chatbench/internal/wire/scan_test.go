package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// scanned is a sink that records the results.
type scanned struct {
	heads   []string // of the contents
	batches []int    // how many messages each had
	inBatch int
	ended   error
	end     bool
}

var _ Sink = (*scanned)(nil)

func (s *scanned) Message(content []byte) {
	s.heads = append(s.heads, string(content[:min(len(content), HeadBytes)]))
	s.inBatch++
}

func (s *scanned) Batch() {
	s.batches = append(s.batches, s.inBatch)
	s.inBatch = 0
}

func (s *scanned) End(err error) { s.ended, s.end = err, true }

// scanHead is the beginning of the content of message n.
func scanHead(n int) string { return fmt.Sprintf("#%0*d ", HeadBytes-2, n) }

// scanBatches are messages as they are sent: short ones, large ones, and one that
// looks like JSON.
func scanBatches() []*chatpb.ChatMessages {
	var batches []*chatpb.ChatMessages
	n := 0
	numbered := func(size int) *chatpb.ChatMessage {
		content := bytes.Repeat([]byte("x"), size)
		copy(content, scanHead(n))
		n++
		return &chatpb.ChatMessage{Timestamp: 1_790_000_000_000, Content: content, Type: chatpb.ChatMessage_Text, From: "user1"}
	}
	foreign := &chatpb.ChatMessage{Content: []byte("hello"), Type: chatpb.ChatMessage_Text, From: `"content":"`}
	for _, sizes := range [][]int{{}, {100}, {HeadBytes, 30, 31}, {}, {3000}, {100, 3000, HeadBytes}} {
		batch := &chatpb.ChatMessages{}
		for _, size := range sizes {
			batch.Messages = append(batch.Messages, numbered(size))
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

// However a stream is cut in pieces, the same messages are found.
func TestScanners(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]string{"proto": GRPC, "json": ConnectJSON, "lines": NDJSON} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := body(t, dialects[protocol].form)
			check := func(how string, pieces ...[]byte) {
				scan, got := NewScanner(protocol), &scanned{}
				for _, p := range pieces {
					if err := scan.Scan(got, p); err != nil {
						t.Fatalf("%s: %v", how, err)
					}
				}
				if !slices.Equal(got.batches, []int{0, 2, 3, 0, 1, 3}) || got.end {
					t.Fatalf("%s: batches of %v messages, end: %v", how, got.batches, got.end)
				}
				for i, head := range slices.Delete(got.heads, 1, 2) { // without the one that looks like JSON
					if head != scanHead(i) {
						t.Fatalf("%s: %q is message %d", how, head, i)
					}
				}
			}
			check("whole", whole)
			for i := range whole {
				check(fmt.Sprintf("cut at %d", i), whole[:i], whole[i:])
			}
			for size := 1; size < 100; size++ {
				var pieces [][]byte
				for rest := whole; len(rest) > 0; rest = rest[min(size, len(rest)):] {
					// A copy is overwritten after the call, so that a scanner that retains a piece is
					// noticed.
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
		protocol         string
	}{
		{"connect", envelope(2, `{"error":{"code":"unavailable"}}`), `the server ended the stream: {"error":{"code":"unavailable"}}`, Connect},
		{"connect, in order", envelope(2, `{}`), "", ConnectJSON},
		{"gRPC-Web", envelope(0x80, "grpc-status: 14\r\ngrpc-message: bye\r\n"), "the server ended the stream: grpc-status: 14\r\ngrpc-message: bye", GRPCWeb},
		{"lines", `{"code":"unavailable"}` + "\n", `the server ended the stream: {"code":"unavailable"}`, NDJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := &scanned{}
			if err := NewScanner(c.protocol).Scan(got, []byte(c.data)); err != nil {
				t.Fatal(err)
			}
			if !got.end || got.ended == nil && c.want != "" || got.ended != nil && got.ended.Error() != c.want {
				t.Errorf("end: %v, with %v", got.end, got.ended)
			}
		})
	}
}

// A body that is not a stream of messages is an error, and yields no messages.
func TestScanGarbage(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"compressed":   "\x01\x00\x00\x00\x02ab",
		"not a record": "\x00\x00\x00\x00\x02\x12\x00",
		"cut record":   "\x00\x00\x00\x00\x03\x0a\x05a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := &scanned{}
			if err := NewScanner(GRPC).Scan(got, []byte(data)); err == nil {
				t.Errorf("no error, %+v", got)
			}
		})
	}
}
