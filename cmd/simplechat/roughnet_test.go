//go:build unix

package main

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/proxy"
)

// roughDelay returns how long a piece of a connection takes: most times a few
// milliseconds, sometimes much longer, as where packets are lost and sent again.
func roughDelay() time.Duration {
	if rand.IntN(50) == 0 {
		return 200 * time.Millisecond
	}
	return rand.N(5 * time.Millisecond)
}

// Through nginx, haproxy and caddy, over networks that delay, swallow everything for a while
// and cut connections, on either side of the proxy, programs lose nothing and get
// nothing twice.
func TestRoughNetworkBehindProxies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(tb testing.TB, block string) func(port, cert, key, both string) *exec.Cmd{"nginx": nginx, "haproxy": haproxy, "caddy": caddy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chance := testkit.NewChance(t)
			server := startServer(t, append(load.Unlimited(), "--trusted-proxy=127.0.0.1/32", "--ops-listen=127.0.0.1:0", "--heartbeat=1s")...)
			inner, outer := proxy.New(t, server.addr), proxy.New(t, "")
			inner.Delay, outer.Delay = roughDelay, roughDelay
			ops := strings.TrimPrefix(server.ops(), "http://127.0.0.1:")
			front := newTLSProxy(t, start(t, strings.NewReplacer("127.0.0.1:65002", inner.Addr, "65010", ops).Replace(fenceOf(t, name))))
			behind := strings.TrimPrefix(front.url, "https://")
			outer.To(behind)

			l := load.New(t, ledger.New())
			l.Options = []chatclient.Option{chatclient.WithTLS(&tls.Config{RootCAs: front.roots}), chatclient.WithSilence(3 * time.Second), chatclient.WithTimeout(5 * time.Second)}
			url := "https://" + outer.Addr
			for i := range 4 {
				l.StartClient(fmt.Sprintf("user%d", i+1), url, func() int { return 10 << rand.IntN(12) })
			}
			l.StartFollower("left", url)
			l.StartFollower("right", url)
			l.StartWatcher("direct", func() string { return server.url("") })
			l.AwaitMore(10)
			for range 8 {
				link, backend := inner, server.addr
				if chance.IntN(2) == 0 {
					link, backend = outer, behind
				}
				if chance.IntN(2) == 0 {
					link.To(backend) // all connections end
				} else {
					link.Cut()
					l.Wait(time.Duration(chance.IntN(1500)) * time.Millisecond)
					link.Heal()
				}
				l.AwaitMore(10)
			}
			ledger.Report(t, l.Finish(server.url("")))
			t.Logf("%d messages acknowledged", l.Count())
		})
	}
}
