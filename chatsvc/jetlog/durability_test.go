package jetlog_test

import (
	"strings"
	"testing"

	"example.com/simplechat/chatsvc/jetlog"
)

// visibleSync is a NATS server's configuration with a user that may see sync_interval.
const visibleSync = `
	accounts {
		SYS { users: [{user: sys, password: x}], exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response: stream}] }
		APP { jetstream: enabled, users: [{user: app, password: x}], imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}] }
	}
	system_account: SYS
`

// At the start the log says what an acknowledged message survives, as far as its user
// may see the servers' setting.
func TestDurabilityIsLogged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config string
		want   string
	}{
		"always":         {visibleSync + `jetstream { sync_interval: always }`, "write to the disk before they acknowledge\""},
		"interval":       {visibleSync + `jetstream { sync_interval: 30s }`, "sync_interval=30s"},
		"not to be seen": {`jetstream {}`, "may not see the nats servers' sync_interval"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := natsOptions(t)
			options.SyncAlways = false
			if err := options.ProcessConfigString(tt.config); err != nil {
				t.Fatal(err)
			}
			addr := startEmbedded(t, options).Addr().String()
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

// A setting that the servers do not have is a mistake.
func TestFalseSyncAlwaysIsRefused(t *testing.T) {
	t.Parallel()
	options := natsOptions(t)
	options.SyncAlways = false
	if err := options.ProcessConfigString(visibleSync + `jetstream { sync_interval: 30s }`); err != nil {
		t.Fatal(err)
	}
	settings := jetlog.Cluster{URLs: []string{"nats://app:x@" + startEmbedded(t, options).Addr().String()}, Stream: "chat", Replicas: 1, MaxContent: 1 << 20, SyncAlways: true}
	log, err := jetlog.Connect(t.Context(), settings, jetlog.Options{Logger: logger(t)})
	if err == nil {
		closeLog(t, log)
	}
	if err == nil || !strings.Contains(err.Error(), "one of them has 30s: set it on all of them") {
		t.Errorf("connect: %v", err)
	}
}

// A user that may not use JetStream is told so at once, and what to allow: the NATS
// server just does not answer.
func TestMissingPermissionIsNamed(t *testing.T) {
	t.Parallel()
	options := natsOptions(t)
	if err := options.ProcessConfigString(`
		jetstream {}
		authorization { users: [{user: app, password: x, permissions: {publish: "chat", subscribe: "_INBOX.>"}}] }
	`); err != nil {
		t.Fatal(err)
	}
	addr := startEmbedded(t, options).Addr().String()
	log, err := jetlog.Connect(t.Context(), jetlog.Cluster{URLs: []string{"nats://app:x@" + addr}, Stream: "chat", Replicas: 1, MaxContent: 1 << 20},
		jetlog.Options{Logger: logger(t)})
	if err == nil {
		closeLog(t, log)
	}
	for _, want := range []string{"permissions violation", "$JS.API.", "_INBOX.>"} {
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
