package jetlog

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A server's state of a stream is not trusted if the stream has no leader, or if its
// leader is cut off from the others, because that server may not have all of the stream.
func TestStreamWithoutLeaderDoesNotGoBack(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]string{
		"no leader":          `{"name":"c"}`,
		"leader is cut off":  `{"name":"c","leader":"n0","replicas":[{"name":"n1","current":true,"active":9000000000},{"name":"n2","current":true,"active":9000000000}]}`,
		"others are offline": `{"name":"c","leader":"n0","replicas":[{"name":"n1","offline":true},{"name":"n2","offline":true}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := newNATS(t)
			_, err := conn.Subscribe("$JS.API.STREAM.INFO.chat", func(msg *nats.Msg) {
				const behind = `{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"chat","subjects":["chat"]},` +
					`"created":"2026-11-25T12:00:00Z","state":{"first_seq":1,"last_seq":1},"cluster":`
				if err := msg.Respond([]byte(behind + cluster + "}")); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			l := newLog(Cluster{Stream: "chat", Replicas: 3}, Options{})
			l.conn = conn
			if l.js, err = jetstream.New(conn); err != nil {
				t.Fatal(err)
			}
			const epoch = "created-20261125T120000.000000000"
			for name, ask := range map[string]func() error{
				"followed further":     func() error { _, err := l.checkEpoch(t.Context(), epoch, 5); return err },
				"acknowledged further": func() error { return l.beginEpochAfterLoss(t.Context(), epoch, errRecordLost) },
				"another epoch":        func() error { _, err := l.checkEpoch(t.Context(), "another", 1); return err },
				"watched":              func() error { return l.check(t.Context()) },
				"state":                func() error { _, err := l.State(t.Context()); return err },
			} {
				if err := ask(); !errors.Is(err, errNoLeader) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
