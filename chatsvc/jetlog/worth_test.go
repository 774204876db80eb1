package jetlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"example.com/simplechat/chatsvc/jetlog"
)

// startConfigured starts a NATS server with a configuration file, and returns its
// address.
func startConfigured(tb testing.TB, config string) string {
	tb.Helper()
	dir := tb.TempDir()
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "listen: \"127.0.0.1:-1\"\nmax_payload: 8MB\nstore_dir: %q\n%s", dir, config), 0o600); err != nil {
		tb.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	srv, err := server.NewServer(options)
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	tb.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		tb.Fatal("the NATS server does not start")
	}
	return srv.Addr().String()
}

// At the start the log says what an acknowledgement is worth, as far as its user
// may see the servers' setting.
func TestWorthIsSaid(t *testing.T) {
	t.Parallel()
	const visible = `
		accounts {
			SYS { users: [{user: sys, password: x}], exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response: stream}] }
			APP { jetstream: enabled, users: [{user: app, password: x}], imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}] }
		}
		system_account: SYS
	`
	for name, tt := range map[string]struct {
		config string
		want   string
	}{
		"always":         {visible + `jetstream { sync_interval: always }`, "write to the disk before they acknowledge\""},
		"interval":       {visible + `jetstream { sync_interval: 30s }`, "sync_interval=30s"},
		"not to be seen": {`jetstream {}`, "may not see the nats servers' sync_interval"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := startConfigured(t, tt.config)
			out := newTestLog(t)
			log, err := jetlog.Connect(t.Context(), jetlog.Cluster{URLs: []string{"nats://app:x@" + addr}, Stream: "chat", Replicas: 1, MaxContent: 1 << 20},
				jetlog.Options{Logger: slogTo(out)})
			if err != nil {
				t.Fatal(err)
			}
			closeLog(t, log)
			for _, want := range []string{tt.want, "kept by one nats server"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
}
