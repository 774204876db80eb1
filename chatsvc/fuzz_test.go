package chatsvc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc/internal/record"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Every Authorization header is either an error that says so, or is read as net/http
// reads it.
func FuzzBasicHeader(f *testing.F) {
	for _, value := range []string{
		"Basic " + base64.StdEncoding.EncodeToString([]byte("user1:qwerty")),
		"basic dXNlcjE6YTpiOmM=", "Basic dXNlcjE=", "Basic ", "Basic", "Bearer x", "", "Basic /w==:", "Basic\tdXNlcjE6cXdlcnR5",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{"Authorization": {value}}
		name, password, err := Credentials(h)
		if err != nil {
			if !errors.Is(err, ErrUnauthenticated) || name != "" || password != "" {
				t.Fatalf("%q: %q, %q, %v", value, name, password, err)
			}
			return
		}
		if !utf8.ValidString(name) || !utf8.ValidString(password) || strings.Contains(name, ":") {
			t.Fatalf("%q: accepted as %q, %q", value, name, password)
		}
		wantName, wantPassword, ok := (&http.Request{Header: h}).BasicAuth()
		if ok && (wantName != name || wantPassword != password) {
			t.Fatalf("%q: %q, %q; net/http reads %q, %q", value, name, password, wantName, wantPassword)
		}
	})
}

// A users file is refused with a text, or everyone in it can log in.
func FuzzUsersFile(f *testing.F) {
	for _, file := range []string{
		`{"users":[{"name":"ada","password":"x"},{"name":"zoë","password":"a:b"}]}`,
		`{"users":[{"name":"a","password":s3cr3t"}]}`, `{"users":[{"name":"a","password":"x"s3cr3t}]}`, `{"users":[{"name":"a","password":"s3cr3t\ud800"}]}`,
		`{"users":[{"name":"a:b","password":"x"}]}`, `{"users":[]}`, `{}`, ``, `[]`, `{"users":[{"name":"a"}]}`,
		`{"users":[{"name":"a","password":"x"},{"name":"a","password":"y"}]}`, "{\"users\":[{\"name\":\"\\u0000\",\"password\":\"x\"}]}",
	} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		users, err := ParseUsers(file)
		if err != nil {
			text := err.Error()
			if text == "" || strings.ContainsAny(text, "\n\u00a0") {
				t.Fatalf("error %q", text)
			}
			// Of a file that can be read, names are shown.
			if protojson.Unmarshal(file, &chatpb.Users{}) != nil && strings.Contains(text, "s3cr3t") {
				t.Fatalf("error %q", text)
			}
			return
		}
		a, err := NewUserAuthenticator(users)
		if err != nil {
			t.Fatalf("accepted by ParseUsers only: %v", err)
		}
		for _, user := range users.GetUsers() {
			token := base64.StdEncoding.EncodeToString([]byte(user.GetName() + ":" + user.GetPassword()))
			got, err := a.Authenticate(context.Background(), http.Header{"Authorization": {"Basic " + token}})
			if err != nil || got.Name != user.GetName() {
				t.Fatalf("user %q cannot log in: %v", user.GetName(), err)
			}
		}
	})
}

// For all offset headers, a stream begins within the retained records, or its error names
// the mistake.
func FuzzOffsetHeaders(f *testing.F) {
	f.Add("7", "E", uint64(5), uint64(6))
	f.Add("-2", "", uint64(1), uint64(0))
	f.Add("end", "other", uint64(1), uint64(100))
	f.Add("18446744073709551615", "E", uint64(3), uint64(3))
	f.Add("-18446744073709551615", "\x7f", uint64(3), uint64(3))
	f.Fuzz(func(t *testing.T, offset, epoch string, first, retained uint64) {
		next := first + retained
		if next < first {
			t.Skip("no log gets that far")
		}
		p, err := parsePosition(http.Header{HeaderOffset: {offset}, HeaderEpoch: {epoch}})
		if err != nil {
			if connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Fatalf("%q, %q: %v", offset, epoch, err)
			}
			return
		}
		if got := p.resolve(first, first, next); got < first || got > next {
			t.Fatalf("%q, %q: begins at %d of [%d, %d)", offset, epoch, got, first, next)
		}
	})
}

// Concatenated records are one ChatMessages, and are split into the same records. For all
// other input the splitter ends, and accepts only what protobuf itself reads.
func FuzzRecordSplitting(f *testing.F) {
	encode := func(m *chatpb.ChatMessage) []byte {
		b, err := proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{m}})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	one := encode(&chatpb.ChatMessage{Timestamp: 1, Content: []byte("hi"), Type: chatpb.ChatMessage_Text, From: "user1"})
	f.Add(one)
	f.Add(append(append([]byte{}, one...), encode(&chatpb.ChatMessage{})...))
	f.Add(one[:len(one)-1])
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x0a, 0x02, 0x18, 0x07})
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var joined []byte
		var want chatpb.ChatMessages
		for rest := b; len(rest) > 0; {
			_, after, err := record.Split(rest)
			if err != nil {
				break
			}
			taken := rest[:len(rest)-len(after)]
			rest = after
			m, err := record.Parse(taken)
			if err != nil {
				continue
			}
			var got chatpb.ChatMessages
			if err := proto.Unmarshal(taken, &got); err != nil || len(got.GetMessages()) != 1 {
				t.Fatalf("%x is a record, protobuf says %v, %v", taken, &got, err)
			}
			checkJSON(t, m, got.GetMessages()[0])
			if len(m.Content) == 0 {
				m.Content = nil // the field may be there and empty
			}
			if again := m.Append(nil); len(again) != m.Size() {
				t.Fatalf("a record of %d bytes, and its size is %d", len(again), m.Size())
			} else if back, err := record.Parse(again); err != nil || !reflect.DeepEqual(back, m) {
				t.Fatalf("%+v comes back as %+v, %v", m, back, err)
			}
			joined = append(joined, taken...)
			want.Messages = append(want.Messages, got.GetMessages()...)
		}
		var got chatpb.ChatMessages
		if err := proto.Unmarshal(joined, &got); err != nil || !proto.Equal(&got, &want) {
			t.Fatalf("joined records are %v, %v; %v was due", &got, err, &want)
		}
	})
}

// checkJSON checks that m's JSON form is want for every reader.
func checkJSON(t *testing.T, m record.Message, want *chatpb.ChatMessage) {
	t.Helper()
	data, err := m.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) || bytes.ContainsAny(data, "\n\r") {
		t.Fatalf("JSON form %q", data)
	}
	var got chatpb.ChatMessage
	if err := protojson.Unmarshal(data, &got); err != nil || !proto.Equal(&got, want) {
		t.Fatalf("JSON form %s is %v, %v; %v was due", data, &got, err, want)
	}
}

// Any message that is sent as JSON is refused or comes back as one line that is the same
// message.
func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"content":"aGk=","type":"Text"}`))
	f.Add([]byte(`{"timestamp":"18446744073709551615","type":2,"content":"/w=="}`))
	f.Add([]byte("{\"from\":\"a\\u2028\\n\",\"content\":\"YQpi\"}"))
	f.Add([]byte(`{"type":"Video"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, body []byte) {
		svc, err := New(WithUsers(&chatpb.Users{Users: []*chatpb.User{{Name: "zoë \"<&>\u2028!", Password: "p"}}}))
		if err != nil {
			t.Fatal(err)
		}
		defer svc.Close()
		_, handler := svc.Handler()
		post := func(ctx context.Context, w http.ResponseWriter, procedure string, body []byte) {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, procedure, bytes.NewReader(body))
			r.Header.Set("Content-Type", contentTypeJSON)
			r.SetBasicAuth("zoë \"<&>\u2028!", "p")
			handler.ServeHTTP(w, r)
		}
		sent := httptest.NewRecorder()
		post(t.Context(), sent, chatconnect.SimpleChatSendMessageProcedure, body)
		if sent.Code != http.StatusOK {
			if !json.Valid(sent.Body.Bytes()) {
				t.Fatalf("%q: status %d with %q", body, sent.Code, sent.Body)
			}
			return
		}
		var want chatpb.ChatMessage
		if err := protojson.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q was accepted: %v", body, err)
		}
		want.From = "zoë \"<&>\u2028!"
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		lines := &firstLine{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
		post(ctx, lines, chatconnect.SimpleChatMessageListProcedure, []byte(`{}`))
		line, err := bufio.NewReader(lines.Body).ReadBytes('\n')
		if err != nil {
			t.Fatalf("%q: no line: %v", body, err)
		}
		var got chatpb.ChatMessages
		if err := protojson.Unmarshal(line, &got); err != nil || len(got.GetMessages()) != 1 {
			t.Fatalf("%q: line %q: %v", body, line, err)
		}
		if want.GetTimestamp() == 0 {
			want.Timestamp = got.GetMessages()[0].GetTimestamp()
		}
		if !proto.Equal(got.GetMessages()[0], &want) {
			t.Fatalf("%q came back as %v, %v was due", body, got.GetMessages()[0], &want)
		}
	})
}

// firstLine is a response that ends its call at the first line.
type firstLine struct {
	*httptest.ResponseRecorder

	cancel context.CancelFunc
}

// Flush implements [http.Flusher].
func (w *firstLine) Flush() {
	if w.Body.Len() > 0 {
		w.cancel()
	}
	w.ResponseRecorder.Flush()
}

// The query of a URL is refused with a text, or means the same as the headers.
func FuzzQuery(f *testing.F) {
	f.Add("offset=-10&until=end", "", "")
	f.Add("offset=7&epoch=E&until=9", "", "8@E")
	f.Add("until=end", "3", "9@E end")
	f.Add("offset=%2d1&offset=2", "1", "@")
	f.Add("a=b;c", "", "18446744073709551616@E")
	f.Fuzz(func(t *testing.T, query, offset, id string) {
		h := make(http.Header)
		h.Set(HeaderLastEventID, id)
		if offset != "" {
			h.Set(HeaderOffset, offset)
		}
		again, err := applyQuery(h, query, faceEvents)
		if err != nil {
			if connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Fatalf("%q, %q, %q: %v", query, offset, id, err)
			}
			return
		}
		if again.isAgain != (id != "") || again.isDone && h.Get(HeaderUntil) == "" {
			t.Fatalf("%q, %q, %q: %+v", query, offset, id, again)
		}
		if offset != "" && h.Get(HeaderOffset) != offset {
			t.Fatalf("%q, %q, %q: the offset is %q", query, offset, id, h.Get(HeaderOffset))
		}
		p, err := parsePosition(h)
		if err == nil && again.isAgain && (p.kind != fromOffset || !strings.HasPrefix(id, strconv.FormatUint(p.n, 10)) && !strings.HasPrefix(id, "0")) {
			t.Fatalf("%q, %q, %q: %+v", query, offset, id, p)
		}
	})
}

// Base64 in parts, cut or broken into lines in any way, decodes to the bytes of all parts;
// anything else is an error.
func FuzzWebText(f *testing.F) {
	f.Add([]byte("AAAAAAA="), uint8(1))
	f.Add([]byte("AA==AAA=AAAA"), uint8(3))
	f.Add([]byte("A"), uint8(1))
	f.Add([]byte("AA==\n"), uint8(200))
	f.Add([]byte("\nA\r\nA==AAA\n=AAAA"), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, step uint8) {
		var want []byte
		var bad error
		text := strings.NewReplacer("\r", "", "\n", "").Replace(string(body))
		for at := 0; at < len(text) && bad == nil; at += quantum {
			part := text[at:min(at+quantum, len(text))]
			var decoded []byte
			decoded, bad = base64.StdEncoding.DecodeString(part)
			if len(part) < quantum {
				bad = errors.New("no quantum")
			}
			want = append(want, decoded...)
		}
		got, err := io.ReadAll(&webTextBody{src: io.NopCloser(&steps{bytes.NewReader(body), int(step)%7 + 1})})
		if (err != nil) != (bad != nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q: %x, %v; %x, %v was due", body, got, err, want, bad)
		}
		if err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Fatalf("%q: %v", body, err)
		}
		rec := httptest.NewRecorder()
		w := newWebTextWriter(rec, contentTypeWebText)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
			if n%2 == 0 {
				w.Flush()
			}
		}
		w.finish()
		if back, err := io.ReadAll(&webTextBody{src: io.NopCloser(rec.Body)}); err != nil || !bytes.Equal(back, body) {
			t.Fatalf("%q comes back as %q, %v", body, back, err)
		}
	})
}

// steps reads a few bytes at a time.
type steps struct {
	io.Reader

	size int
}

// Read implements [io.Reader].
func (s *steps) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), s.size)]) }

// The fast way to read a line takes nothing that the other one does not, and reads the
// same in it.
func FuzzSimpleLine(f *testing.F) {
	f.Add([]byte(`{"content":"aGk=","type":"Text","key":"k"}`))
	f.Add([]byte(` { "type" : "Image" , "content" : "" } `))
	f.Add([]byte(`{"type":"Text","content":"aGk=aGk="}`))
	f.Add([]byte("{\"type\":\"Text\",\"key\":\"\xff\"}"))
	f.Add([]byte(`{"type":"Text","type":"Text"}`))
	f.Add([]byte(`{"type":"Text",}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, key, ok := parseSimpleLine(line)
		if !ok {
			return
		}
		want, wantKey, hasKey, err := parseLine(line)
		if err != nil || key != wantKey || m.hasKey != hasKey {
			t.Fatalf("%q: key %q, %t; %q, %t, %v was due", line, key, m.hasKey, wantKey, hasKey, err)
		}
		var got chatpb.ChatMessage
		if err := proto.Unmarshal(m.appendTo(nil), &got); err != nil || !proto.Equal(&got, want) {
			t.Fatalf("%q: %v, %v; %v was due", line, &got, err, want)
		}
	})
}
