package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/simplechat/internal/flood"
)

// limitedClient calls a server from an address that the limits know.
type limitedClient struct {
	tb   testing.TB
	http *http.Client
	url  string
}

const limitedAddress = "203.0.113.7"

// call makes a call whose answer stays open, and returns its status; 0: the connection
// was closed.
func (c limitedClient) call(path, contentType, body, password string) (int, http.Header) {
	c.tb.Helper()
	req, err := http.NewRequestWithContext(chattest.Context(c.tb, patience), http.MethodPost, c.url+path, strings.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	req.SetBasicAuth("user2", password)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Forwarded-For", limitedAddress)
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil
	}
	c.tb.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	return res.StatusCode, res.Header
}

func (c limitedClient) subscribe() (int, http.Header) {
	return c.call(listPath, "application/json", "{}", "qwerty")
}

func (c limitedClient) send() (int, http.Header) {
	return c.call(sendPath, "text/plain", "hello", "qwerty")
}

func (c limitedClient) guess() (int, http.Header) {
	return c.call(sendPath, "text/plain", "hello", "wrong")
}

// beginCheck begins a call without credentials whose body does not end. While another
// one is in its way, it begins again.
func (c limitedClient) beginCheck() (int, http.Header) {
	ctx := chattest.Context(c.tb, patience)
	begin := func() (status int) {
		body, unsent := io.Pipe()
		defer unsent.Close()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+healthCheck, body)
		if err != nil {
			return 0
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", limitedAddress)
		res, err := c.http.Do(req)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	go func() {
		for begin() != http.StatusOK && ctx.Err() == nil { // a refusal may also end the connection
			<-time.After(pause)
		}
	}()
	return http.StatusOK, nil
}

// checkUntilRefused calls until the call that has begun counts.
func (c limitedClient) checkUntilRefused() (status int, header http.Header) {
	for deadline := time.Now().Add(patience); status != http.StatusTooManyRequests && time.Now().Before(deadline); <-time.After(pause) {
		status, header = c.call(healthCheck, "application/json", "{}", "")
	}
	return status, header
}

// holdBodies begins sends whose bodies do not end, and begins each that is refused again.
func (c limitedClient) holdBodies() (int, http.Header) {
	ctx := chattest.Context(c.tb, patience)
	begin := func() {
		body, unsent := io.Pipe()
		defer unsent.Close()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+sendPath, io.MultiReader(strings.NewReader(limitedImage(60<<10)), body))
		if err != nil {
			return
		}
		req.SetBasicAuth("user2", "qwerty")
		req.Header.Set("Content-Type", "image/png")
		req.Header.Set("X-Forwarded-For", limitedAddress)
		if res, err := c.http.Do(req); err == nil {
			_ = unsent.Close() // or the next line would wait for the transport, and that for the rest
			_ = res.Body.Close()
		}
	}
	for range 8 { // five of them, and the next one, fill half of the memory
		go func() {
			for ctx.Err() == nil {
				begin()
				<-time.After(pause)
			}
		}()
	}
	return http.StatusOK, nil
}

// sendUntilRefused sends large messages until one is refused.
func (c limitedClient) sendUntilRefused() (status int, header http.Header) {
	for deadline := time.Now().Add(patience); status != http.StatusTooManyRequests && time.Now().Before(deadline); <-time.After(pause) {
		status, header = c.call(sendPath, "image/png", limitedImage(60<<10), "qwerty")
	}
	return status, header
}

// limitedImage returns what the server takes for an image of a size.
func limitedImage(size int) string { return "\x89PNG\r\n\x1a\n" + strings.Repeat("x", size) }

// Each limit answers with the time to come back, and is in the log with the address, and
// with the name of a user who exists. An honest client loses nothing.
func TestLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		flag, value string
		more        []string // further flags
		kind, user  string   // in the log
		first, then func(limitedClient) (int, http.Header)
		status      int // of the first call
	}{
		{"max-subscribers", "2", nil, "streams in total", " user=user2", limitedClient.subscribe, limitedClient.subscribe, 200},
		{"address-streams", "1", nil, "streams per address", " user=user2", limitedClient.subscribe, limitedClient.subscribe, 200},
		{"user-streams", "1", nil, "streams per user", " user=user2", limitedClient.subscribe, limitedClient.subscribe, 200},
		{"max-public-calls", "1", nil, "calls without credentials in total", "", limitedClient.beginCheck, limitedClient.checkUntilRefused, 200},
		{"address-public-calls", "1", nil, "calls without credentials per address", "", limitedClient.beginCheck, limitedClient.checkUntilRefused, 200},
		{"user-sends", "0.001", []string{"--user-send-burst", "1"}, "sends per user", " user=user2", limitedClient.send, limitedClient.send, 200},
		{"body-bytes", "1441792", []string{"--max-content", "64KiB"}, "memory for messages", " user=user2", limitedClient.holdBodies, limitedClient.sendUntilRefused, 200},
		{"address-wrong-passwords", "1", nil, "wrong passwords", "", limitedClient.guess, limitedClient.guess, 401},
	}
	for _, test := range tests {
		for _, scheme := range []string{"http", "https"} {
			t.Run(test.flag+" over "+scheme, func(t *testing.T) {
				t.Parallel()
				flags := append([]string{"--memory", "--trusted-proxy", "127.0.0.1/32", "--" + test.flag, test.value}, test.more...)
				p, c, h := startLimited(t, scheme, flags...)
				if status, _ := test.first(c); status != test.status {
					t.Errorf("the first call: %d", status)
				}
				if status, header := test.then(c); status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
					t.Errorf("a call beyond the limit: %d, %v", status, header)
				}
				p.waitLog(refusedLine(test.kind, limitedAddress, test.user))
				h.AwaitMore(5)
				h.Stop()
			})
		}
	}
}

// refusedLine matches the log line of a limit.
func refusedLine(kind, address, user string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)level=WARN msg=refused limit="?` + kind + `"? address=` + regexp.QuoteMeta(address) + ` count=\d+` + user + `$`)
}

// startLimited starts a server, a client that its limits know, and an honest one.
func startLimited(t *testing.T, scheme string, flags ...string) (*process, limitedClient, *flood.Honest) {
	t.Helper()
	var config *tls.Config
	if scheme == "https" {
		cert, key, roots := certificate(t)
		config = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
		flags = append(flags, "--tls-cert", cert, "--tls-key", key)
	}
	p := startServer(t, flags...)
	h := flood.StartHonest(t, scheme+"://"+p.addr, config)
	h.AwaitMore(5)
	rt := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(rt.CloseIdleConnections)
	return p, limitedClient{t, &http.Client{Transport: rt, Timeout: patience}, scheme + "://" + p.addr}, h
}

// Subscribers that do not read are cut when they hold too much, and the limit is in the
// log. An honest one loses nothing.
func TestPendingBytesLimit(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			p, c, h := startLimited(t, scheme, "--memory", "--trusted-proxy", "127.0.0.1/32", "--hot-bytes", "1MiB", "--pending-bytes", "1MiB")
			large := limitedImage(1000 << 10)
			for i := 0; !refusedLine("memory for batches", limitedAddress, " user=user2").MatchString(p.logText()); i++ {
				if i < 4 { // each is stuck at another message
					if status, _ := c.subscribe(); status != http.StatusOK {
						t.Fatalf("subscribe: %d", status)
					}
				}
				if i > 200 {
					t.Fatal("no subscriber was cut")
				}
				if status, _ := c.call(sendPath, "image/png", large, "qwerty"); status != http.StatusOK {
					t.Fatalf("send %d: %d\n%s", i, status, p.logText())
				}
			}
			h.AwaitMore(5)
			h.Stop()
		})
	}
}

// Connections beyond the limit in all are closed at once. Those from before are not.
func TestMaxConnectionsLimit(t *testing.T) {
	t.Parallel()
	const limit = 10
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			p, _, h := startLimited(t, scheme, "--memory", "--max-connections", strconv.Itoa(limit))
			closed := make(chan error, 2*limit)
			for range 2 * limit {
				conn, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				go func() {
					_, err := conn.Read(make([]byte, 1))
					closed <- err
				}()
			}
			for n := range limit { // at least the honest client has one
				select {
				case err := <-closed:
					if err == nil {
						t.Error("the server sent something")
					}
				case <-time.After(patience):
					t.Fatalf("%d of %d connections were closed", n, 2*limit)
				}
			}
			p.waitLog(refusedLine("connections in total", "127.0.0.1", ""))
			h.AwaitMore(5)
			h.Stop()
		})
	}
}
