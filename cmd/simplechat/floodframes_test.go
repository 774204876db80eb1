package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// attack is the behaviour of one hostile connection. It may end it, or leave that to the
// server.
type attack struct {
	name    string
	workers int    // connections at a time
	proto   string // "h2", "http/1.1", or none: the connection does not begin
	run     func(p *hostile)
}

const (
	protoH2 = "h2"
	proto1  = "http/1.1"
	// tooMany frames are more than any connection may repeat: the kernel holds
	// some megabytes of answers that nobody reads before the server sees that.
	tooMany = 2_000_000
	// calls are as many as the server of the flood lets a connection have.
	calls = 50
)

// frameAttacks are those on HTTP/2 and HTTP/1.1.
func frameAttacks() []attack {
	return []attack{
		{"silent connections", 60, "", func(p *hostile) { p.untilCut() }},
		{"silent after the preface", 10, protoH2, func(p *hostile) { p.begin(); p.hold() }},
		{"header that drips", 10, proto1, dripHeader},
		{"garbage", 2, protoH2, sendGarbage},
		{"unfinished header block", 10, protoH2, func(p *hostile) {
			p.begin()
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			p.untilCut()
		}},
		flood("empty continuations", func(p *hostile, i int) error {
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x20}})
			}
			return p.WriteContinuation(1, false, nil)
		}),
		flood("table updates", func(p *hostile, i int) error {
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x20}})
			}
			return p.WriteContinuation(1, false, bytes.Repeat([]byte{0x20}, 1000))
		}),
		flood("settings", func(p *hostile, _ int) error { return p.WriteSettings() }),
		flood("pings", func(p *hostile, _ int) error { return p.WritePing(false, [8]byte{}) }),
		flood("priority of itself", func(p *hostile, _ int) error {
			return p.WritePriority(1, http2.PriorityParam{StreamDep: 1})
		}),
		flood("malformed calls", func(p *hostile, i int) error { return p.call(uint32(2*i+1), true, "/", "A", "b") }),
		flood("refused calls", func(p *hostile, i int) error {
			return p.call(uint32(2*i+1), false, sendPath, "content-type", "application/proto")
		}),
		{"settings with many windows", 2, protoH2, sendManyWindows},
		{"rapid resets", 2, protoH2, resetRapidly},
		{"large header lists", 2, protoH2, sendLargeHeaders},
		{"many connections", 1, "", openMany},
	}
}

// flood is an attack that sends frames, reads nothing, and must be cut.
func flood(name string, send func(p *hostile, i int) error) attack {
	return attack{name, 1, protoH2, func(p *hostile) {
		p.begin()
		p.repeat(tooMany, func(i int) error { return send(p, i) })
	}}
}

func dripHeader(p *hostile) {
	_, err := fmt.Fprint(p.Conn, "POST / HTTP/1.1\r\nHost: localhost\r\nX: ")
	for i := 0; err == nil && p.pause(100*time.Millisecond); i++ {
		if _, err = fmt.Fprint(p.Conn, "x"); i > 600 {
			p.blame(errNotCut)
			return
		}
	}
}

func sendGarbage(p *hostile) {
	p.begin()
	junk := make([]byte, 64<<10)
	_, _ = rand.Read(junk)
	for i := 3; i+9 < len(junk); i += 1000 { // some frames are of a type and a length that exist
		junk[i-3], junk[i-2], junk[i] = 0, 0, junk[i]%10
	}
	_, _ = p.Write(junk)
	go p.read()
	p.pause(100 * time.Millisecond)
}

func sendManyWindows(p *hostile) {
	p.begin()
	for i := range uint32(calls) {
		_ = p.grpc(2*i+1, listPath, "chat-offset", "end")
	}
	settings := make([]http2.Setting, 100)
	for i := range settings {
		settings[i] = http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)}
	}
	_ = p.WriteSettings(settings...)
	p.untilCut()
}

func resetRapidly(p *hostile) {
	p.begin()
	go p.read()
	for i := range uint32(10_000) {
		err := p.grpc(2*i+1, listPath)
		if err == nil {
			err = p.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}
		if err != nil {
			return
		}
	}
}

func sendLargeHeaders(p *hostile) {
	p.begin()
	go p.read()
	large := strings.Repeat("x", 12<<10)
	for i := range uint32(1000) {
		if p.call(2*i+1, true, "/", "a", large, "b", large) != nil {
			return
		}
	}
}

// openMany opens more connections at once than the server takes.
func openMany(p *hostile) {
	for range floodConnections {
		other, err := dialHostile(p.ctx, p.RemoteAddr().String(), nil, "", p.fault)
		if err != nil {
			break
		}
		defer other.Close()
	}
	p.pause(time.Second)
}
