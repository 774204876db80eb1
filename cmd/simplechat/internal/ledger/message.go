package ledger

import (
	"fmt"
	"hash/crc32"
	"strings"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Message is a chat message as a value: two are equal if every field is.
type Message struct {
	From, Content string
	Kind          chatpb.ChatMessage_ContentType
	Timestamp     uint64
}

// MessageOf returns what m holds.
func MessageOf(m *chatpb.ChatMessage) Message {
	return Message{m.GetFrom(), string(m.GetContent()), m.GetType(), m.GetTimestamp()}
}

// NewMessage returns a user's n-th message, with a content of size bytes or a little
// more that no other has.
func NewMessage(user string, n, size int) Message {
	content := fmt.Sprintf("%s #%d ", user, n)
	content += strings.Repeat("x", max(0, size-len(content)))
	return Message{user, content, chatpb.ChatMessage_Text, 1_790_000_000_000 + uint64(n)}
}

// Proto returns the message as it is sent.
func (s Message) Proto() *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: []byte(s.Content), Type: s.Kind, Timestamp: s.Timestamp}
}

// Record returns a short text that no other message has, for the recorder.
func (s Message) Record() string {
	return fmt.Sprintf("%s: %.40q, %v, %d, %08x", s.From, s.Content, s.Kind, s.Timestamp, crc32.ChecksumIEEE([]byte(s.Content)))
}

// String shows who said what, cut to a length that fits on a line.
func (s Message) String() string { return fmt.Sprintf("%.40q of %s", s.Content, s.From) }

// Place is where a log keeps a message.
type Place struct {
	Epoch  string
	Offset uint64
}

// Placed is a message and its place, as a sender was told or a watcher saw it.
type Placed struct {
	Place
	Message
}
