package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
)

// Protocols.
const (
	GRPC        = "grpc"
	GRPCWeb     = "grpc-web"
	Connect     = "connect"
	ConnectJSON = "connect-json"
	NDJSON      = "ndjson"
	NATS        = "nats"  // core NATS, its text protocol
	Floor       = "floor" // one write per delivery, see [FloorPrefix]
)

// Transports.
const (
	H2C   = "h2c"   // HTTP/2 without TLS, by prior knowledge
	HTTP1 = "http1" // HTTP/1.1 without TLS
	TLS   = "tls"   // HTTP/2 over TLS; the certificate is not checked
)

// OverHTTP reports whether a protocol has a transport.
func OverHTTP(protocol string) bool {
	_, ok := dialects[protocol]
	return ok
}

// Multiplexes reports whether subscribers can share a connection.
func Multiplexes(protocol, transport string) bool { return OverHTTP(protocol) && transport != HTTP1 }

const (
	service  = "/qtgrpc.examples.chat.SimpleChat/"
	listPath = service + "messageList"
	sendPath = service + "sendMessage"
)

// form is the encoding of ChatMessages in a stream.
type form int

const (
	formProto form = iota // an envelope around a serialized ChatMessages
	formJSON              // an envelope around its JSON form
	formLines             // its JSON form on a line
)

// verdictIn is the part of an answer that contains the outcome of a send.
type verdictIn int

const (
	inStatus   verdictIn = iota // the HTTP status
	inTrailers                  // grpc-status among the header fields
	inBody                      // grpc-status in the last envelope of the body
)

// dialect is a protocol over HTTP.
type dialect struct {
	listType  string // content types
	sendType  string
	fields    [][2]string // further header fields
	form      form
	enveloped bool // sends have a prefix too
	verdict   verdictIn
}

// typeJSON is the content type of Connect's calls in JSON, and of curl's.
const typeJSON = "application/json"

var (
	connectVersion = [][2]string{{"connect-protocol-version", "1"}}

	dialects = map[string]dialect{
		GRPC: {
			listType: "application/grpc", sendType: "application/grpc",
			fields: [][2]string{{"te", "trailers"}}, enveloped: true, verdict: inTrailers,
		},
		GRPCWeb: {
			listType: "application/grpc-web+proto", sendType: "application/grpc-web+proto",
			enveloped: true, verdict: inBody,
		},
		Connect:     {listType: "application/connect+proto", sendType: "application/proto", fields: connectVersion},
		ConnectJSON: {listType: "application/connect+json", sendType: typeJSON, fields: connectVersion, form: formJSON},
		NDJSON:      {listType: typeJSON, sendType: typeJSON, form: formLines},
	}
)

// listBody is the body of a call to messageList.
func (d dialect) listBody() []byte {
	switch d.form {
	case formProto:
		return make([]byte, PrefixBytes)
	case formJSON:
		return []byte("\x00\x00\x00\x00\x02{}")
	default:
		return []byte("{}")
	}
}

// appendSend appends the body of a call to sendMessage.
func (d dialect) appendSend(b, content []byte) []byte {
	if d.form != formProto {
		b = append(b, `{"content":"`...)
		b = base64.StdEncoding.AppendEncode(b, content)
		return append(b, `","type":"Text"}`...)
	}
	start := len(b)
	if d.enveloped {
		b = append(b, 0, 0, 0, 0, 0)
	}
	b = append(b, 2<<3|2)
	b = binary.AppendUvarint(b, uint64(len(content)))
	b = append(b, content...)
	b = append(b, 3<<3, 1) // Text
	if d.enveloped {
		binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-PrefixBytes))
	}
	return b
}

// answer is a server's answer to a call.
type answer struct {
	status      string // HTTP's
	grpcStatus  string
	grpcMessage string
	body        []byte // if the verdict is in it
}

// check returns an error if the answer to a send is not "stored".
func (d dialect) check(a answer) error {
	if a.status != "200" {
		return fmt.Errorf("HTTP status %s %s", a.status, a.grpcMessage)
	}
	ok := true
	switch d.verdict {
	case inStatus:
	case inTrailers:
		ok = a.grpcStatus == "0"
	case inBody:
		ok = a.grpcStatus == "0" || bytes.Contains(a.body, []byte("grpc-status: 0"))
	}
	if !ok {
		return fmt.Errorf("gRPC status %s: %s%s", a.grpcStatus, a.grpcMessage, a.body)
	}
	return nil
}

// checkStream returns an error if the head of a stream's answer is not that of
// a stream.
func (d dialect) checkStream(a answer) error {
	if a.status != "200" || a.grpcStatus != "" && a.grpcStatus != "0" {
		return fmt.Errorf("the server refused: HTTP status %s, gRPC status %q %s", a.status, a.grpcStatus, a.grpcMessage)
	}
	return nil
}

// header is a request's header fields, in order, the pseudo fields apart.
func (d dialect) header(c Call, stream bool) [][2]string {
	contentType := d.sendType
	if stream {
		contentType = d.listType
	}
	fields := [][2]string{
		{"content-type", contentType},
		{"user-name", c.User},
		{"user-password", c.Password},
	}
	fields = append(fields, d.fields...)
	offset := offsets[c.History]
	if c.Offset > 0 {
		offset = strconv.FormatUint(c.Offset, 10)
	}
	if stream && offset != "" {
		fields = append(fields, [2]string{"chat-offset", offset})
	}
	return fields
}

// Where subscribers begin.
const (
	HistoryEnd    = "end"
	HistoryAll    = "all"
	HistoryReplay = "replay" // the replay that the server sends if no offset is requested
)

// offsets are the values of Chat-Offset that ask for that.
var offsets = map[string]string{HistoryEnd: "end", HistoryAll: "1"}
