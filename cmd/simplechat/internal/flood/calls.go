package flood

import (
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	watchPath   = "/grpc.health.v1.Health/Watch"
	reflectPath = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	// largeContent is the size of a large message in bytes.
	largeContent = 200 << 10
)

// callAttacks are those on the service.
func callAttacks() []Attack {
	return []Attack{
		{"unfinished bodies", 10, protoH2, leaveBodies},
		{"unfinished bodies over HTTP/1.1", 10, proto1, func(p *hostile) {
			p.post(sendPath, 200<<10)
			_, _ = p.Write(make([]byte, 100<<10))
			p.hold()
		}},
		{"endless bodies", 2, proto1, func(p *hostile) {
			p.post(sendPath, 1<<40)
			go p.read()
			p.repeat(tooMany, func(int) error { _, err := p.Write(make([]byte, 16<<10)); return err })
		}},
		{"checks without a body", 10, proto1, func(p *hostile) {
			p.post(healthPath, 10)
			p.hold()
		}},
		{"health watchers", 4, protoH2, func(p *hostile) { p.open(watchPath) }},
		{"reflection streams", 4, protoH2, func(p *hostile) {
			p.begin()
			go p.read()
			for i := range uint32(Calls) {
				_ = p.call(2*i+1, false, reflectPath, "content-type", "application/grpc", "te", "trailers")
			}
			p.hold()
		}},
		{"wrong passwords", 4, protoH2, guessPasswords},
		{"idempotency keys", 2, protoH2, func(p *hostile) {
			p.sendAll(func() []byte { return []byte("key") }, func() string { return fmt.Sprintf("%0120d", rand.Int64()) })
		}},
		{"large messages", 1, protoH2, func(p *hostile) {
			content := make([]byte, largeContent)
			p.sendAll(func() []byte { p.pause(100 * time.Millisecond); return content }, func() string { return "" })
		}},
		{"stuck subscribers", 4, protoH2, func(p *hostile) { p.stick() }},
		{"stuck subscribers with huge windows", 4, protoH2, func(p *hostile) {
			p.stick(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
		}},
		{"windows that toggle", 4, protoH2, toggleWindows},
		{"windows of a byte", 2, protoH2, openByByte},
		{"subscribers that come and go", 2, protoH2, func(p *hostile) {
			p.begin()
			_ = p.grpc(1, listPath, "chat-offset", "1")
			p.pause(10 * time.Millisecond)
		}},
	}
}

// post sends the header of an HTTP/1.1 request with a body of size bytes.
func (p *hostile) post(path string, size int64) {
	_, _ = fmt.Fprintf(p.Conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nUser-Name: user2\r\nUser-Password: qwerty\r\n"+
		"X-Forwarded-For: 203.0.113.9\r\nContent-Type: application/proto\r\nContent-Length: %d\r\n\r\n", path, size)
}

// open opens as many streams as it may, and reads them for a while.
func (p *hostile) open(path string) {
	p.begin()
	go p.read()
	for i := range uint32(Calls) {
		_ = p.grpc(2*i+1, path)
	}
	p.hold()
}

// stick subscribes from the first message on, and reads nothing.
func (p *hostile) stick(settings ...http2.Setting) {
	p.begin(settings...)
	_ = p.WriteWindowUpdate(0, 1<<30)
	for i := range uint32(Calls / 5) {
		_ = p.grpc(2*i+1, listPath, "chat-offset", "1")
	}
	p.hold()
}

func leaveBodies(p *hostile) {
	p.begin()
	go p.read()
	for i := range uint32(Calls) {
		_ = p.call(2*i+1, false, sendPath, "content-type", "application/proto", "content-length", fmt.Sprint(largeContent))
		_ = p.WriteData(2*i+1, false, make([]byte, 4<<10))
	}
	p.hold()
}

func guessPasswords(p *hostile) {
	p.begin()
	go p.read()
	for i := range uint32(2000) {
		err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, EndHeaders: true, BlockFragment: p.encode(
			":method", "POST", ":scheme", "http", ":authority", "localhost", ":path", sendPath, "content-type", "application/proto",
			"user-name", fmt.Sprintf("user%d", rand.IntN(8)), "user-password", fmt.Sprint(rand.Int()),
			"x-forwarded-for", fmt.Sprintf("203.0.%d.%d", rand.IntN(256), rand.IntN(256)))})
		if err != nil || !p.pause(time.Millisecond) {
			return
		}
		_ = p.WriteData(2*i+1, true, nil)
	}
}

// sendAll sends messages one after the other, with keys that are not empty.
func (p *hostile) sendAll(content func() []byte, key func() string) {
	p.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	go p.read()
	for i := range uint32(500) {
		fields := []string{"content-type", "application/proto"}
		if k := key(); k != "" {
			fields = append(fields, "idempotency-key", k)
		}
		if p.call(2*i+1, false, sendPath, fields...) != nil || !p.pause(5*time.Millisecond) {
			return
		}
		body, err := proto.Marshal(&chatpb.ChatMessage{Content: content(), Type: chatpb.ChatMessage_Image})
		if err != nil {
			return
		}
		for len(body) > 0 {
			n := min(len(body), 16<<10)
			if p.WriteData(2*i+1, n == len(body), body[:n]) != nil {
				return
			}
			body = body[n:]
		}
	}
}

// toggleWindows subscribes, and closes and reopens all windows again and again.
func toggleWindows(p *hostile) {
	p.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	go p.read()
	_ = p.WriteWindowUpdate(0, 1<<30)
	for i := range uint32(Calls / 5) {
		_ = p.grpc(2*i+1, listPath, "chat-offset", "end")
	}
	for i := range 500 {
		window := uint32(i%2) << 20
		if p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}) != nil || !p.pause(5*time.Millisecond) {
			return
		}
	}
}

// openByByte subscribes with a window that it opens by a byte at a time.
func openByByte(p *hostile) {
	p.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	go p.read()
	_ = p.grpc(1, listPath, "chat-offset", "1")
	for range 20_000 {
		if p.WriteWindowUpdate(1, 1) != nil {
			return
		}
	}
}
