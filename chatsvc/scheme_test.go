package chatsvc_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// The scheme of deployed clients, written down independently of the .proto file: Qt's
// examples/grpc/chat/proto/simplechat.proto as released with Qt 6.5 to 6.8. These tables
// never change.
var (
	schemeFields = map[protoreflect.FullName]struct {
		number protowire.Number
		kind   protoreflect.Kind
		list   bool
		json   string
	}{
		"qtgrpc.examples.chat.ChatMessage.timestamp": {1, protoreflect.Uint64Kind, false, "timestamp"},
		"qtgrpc.examples.chat.ChatMessage.content":   {2, protoreflect.BytesKind, false, "content"},
		"qtgrpc.examples.chat.ChatMessage.type":      {3, protoreflect.EnumKind, false, "type"},
		"qtgrpc.examples.chat.ChatMessage.from":      {4, protoreflect.StringKind, false, "from"},
		"qtgrpc.examples.chat.ChatMessages.messages": {1, protoreflect.MessageKind, true, "messages"},
		"qtgrpc.examples.chat.User.name":             {1, protoreflect.StringKind, false, "name"},
		"qtgrpc.examples.chat.User.password":         {2, protoreflect.StringKind, false, "password"},
		"qtgrpc.examples.chat.Users.users":           {1, protoreflect.MessageKind, true, "users"},
	}
	schemeMessages = map[protoreflect.Name]int{ // and the number of their fields
		"ChatMessage": 4, "ChatMessages": 1, "User": 2, "Users": 1, "None": 0,
	}
	schemeTypes = map[protoreflect.Name]protoreflect.EnumNumber{"Unknown": 0, "Text": 1, "Image": 2}
)

func TestSchemeIsQts(t *testing.T) {
	t.Parallel()
	file := chatpb.File_qtgrpc_examples_chat_simplechat_proto
	if file.Package() != "qtgrpc.examples.chat" || file.Syntax() != protoreflect.Proto3 {
		t.Errorf("package %s, syntax %v", file.Package(), file.Syntax())
	}
	if n := file.Messages().Len(); n != len(schemeMessages) {
		t.Errorf("%d messages, %d were due", n, len(schemeMessages))
	}
	for name, fields := range schemeMessages {
		message := file.Messages().ByName(name)
		if message == nil || message.Fields().Len() != fields {
			t.Errorf("message %s: %v, %d fields were due", name, message, fields)
			continue
		}
		for i := range fields {
			field := message.Fields().Get(i)
			want, ok := schemeFields[field.FullName()]
			if !ok || field.Number() != want.number || field.Kind() != want.kind || field.IsList() != want.list || field.JSONName() != want.json {
				t.Errorf("field %s: number %d, kind %v, list %v, JSON name %s; %+v was due", field.FullName(), field.Number(), field.Kind(), field.IsList(), field.JSONName(), want)
			}
		}
	}
	values := file.Messages().ByName("ChatMessage").Enums().ByName("ContentType").Values()
	if values.Len() != len(schemeTypes) {
		t.Errorf("%d content types, %d were due", values.Len(), len(schemeTypes))
	}
	for name, number := range schemeTypes {
		if value := values.ByName(name); value == nil || value.Number() != number {
			t.Errorf("content type %s: %v, %d was due", name, value, number)
		}
	}
}

func TestProceduresAreQts(t *testing.T) {
	t.Parallel()
	if chatconnect.SimpleChatMessageListProcedure != "/qtgrpc.examples.chat.SimpleChat/messageList" ||
		chatconnect.SimpleChatSendMessageProcedure != "/qtgrpc.examples.chat.SimpleChat/sendMessage" {
		t.Error("the procedures' paths are not what clients call")
	}
	methods := chatpb.File_qtgrpc_examples_chat_simplechat_proto.Services().ByName("SimpleChat").Methods()
	list, send := methods.ByName("messageList"), methods.ByName("sendMessage")
	if methods.Len() != 2 || list == nil || send == nil {
		t.Fatalf("methods: %v", methods)
	}
	if list.Input().Name() != "None" || list.Output().Name() != "ChatMessages" || list.IsStreamingClient() || !list.IsStreamingServer() {
		t.Errorf("messageList: %v", list)
	}
	if send.Input().Name() != "ChatMessage" || send.Output().Name() != "None" || send.IsStreamingClient() || send.IsStreamingServer() {
		t.Errorf("sendMessage: %v", send)
	}
}

// The bytes of a message, put together by hand.
func TestSchemeOnTheWire(t *testing.T) {
	t.Parallel()
	want := []byte{
		0x0a, 0x14, // messages, 20 bytes
		0x08, 0xd2, 0x85, 0xd8, 0xcc, 0x04, // timestamp 1234567890
		0x12, 0x03, 0xe2, 0x82, 0xac, // content "€"
		0x18, 0x01, // type Text
		0x22, 0x05, 'u', 's', 'e', 'r', '1', // from
	}
	var got chatpb.ChatMessages
	if err := proto.Unmarshal(want, &got); err != nil {
		t.Fatal(err)
	}
	message := &chatpb.ChatMessage{Timestamp: 1234567890, Content: []byte("€"), Type: chatpb.ChatMessage_Text, From: "user1"}
	if !proto.Equal(&got, &chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{message}}) {
		t.Errorf("the bytes are read as %v", &got)
	}
}
