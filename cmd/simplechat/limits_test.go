package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
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
	req, err := http.NewRequestWithContext(testContext(c.tb), http.MethodPost, c.url+path, strings.NewReader(body))
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
	ctx := testContext(c.tb)
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

// Each limit answers with the time to come back, and is in the log with the address, and
// with the name of a user who exists. An honest client loses nothing.
func TestLimits(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	tests := []struct {
		flag, value string
		more        []string // further flags
		kind, user  string   // in the log
		first, then func(limitedClient) (int, http.Header)
		status      int // of the first call
	}{
		{"max-subscribers", "2", nil, "streams", " user=user2", limitedClient.subscribe, limitedClient.subscribe, 200},
		{"address-streams", "1", nil, "streams", " user=user2", limitedClient.subscribe, limitedClient.subscribe, 200},
		{"user-streams", "1", nil, "streams per user", " user=user2", limitedClient.subscribe, limitedClient.subscribe, 200},
		{"max-public-calls", "1", nil, "calls without credentials", "", limitedClient.beginCheck, limitedClient.checkUntilRefused, 200},
		{"address-public-calls", "1", nil, "calls without credentials", "", limitedClient.beginCheck, limitedClient.checkUntilRefused, 200},
		{"user-sends", "0.001", []string{"--user-send-burst", "1"}, "sends per user", " user=user2", limitedClient.send, limitedClient.send, 200},
		{"address-wrong-passwords", "1", nil, "wrong passwords", "", limitedClient.guess, limitedClient.guess, 401},
	}
	for _, test := range tests {
		for _, scheme := range []string{"http", "https"} {
			t.Run(test.flag+" over "+scheme, func(t *testing.T) {
				t.Parallel()
				flags := append([]string{"--memory", "--trusted-proxy", "127.0.0.1/32", "--" + test.flag, test.value}, test.more...)
				var config *tls.Config
				if scheme == "https" {
					config = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
					flags = append(flags, "--tls-cert", cert, "--tls-key", key)
				}
				p := startServer(t, flags...)
				h := startHonest(t, scheme+"://"+p.addr, config)
				h.awaitMore(5)
				c := limitedClient{t, &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: patience}, scheme + "://" + p.addr}
				if status, _ := test.first(c); status != test.status {
					t.Errorf("the first call: %d", status)
				}
				if status, header := test.then(c); status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
					t.Errorf("a call beyond the limit: %d, %v", status, header)
				}
				p.waitLog(regexp.MustCompile(`level=WARN msg=refused limit="?` + test.kind + `"? address=` + regexp.QuoteMeta(limitedAddress) + ` count=\d+` + test.user + `$`))
				h.awaitMore(5)
				h.stop()
			})
		}
	}
}
