package chatclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/nosecret"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:65002"
	tests := []struct {
		name string
		urls string
		opt  chatclient.Option
		want string
	}{
		{"no URL", "", nil, "URL number 1"},
		{"an empty one among several", url + ",", nil, "URL number 2"},
		{"no scheme", "127.0.0.1:65002", nil, "http://HOST:PORT"},
		{"another scheme", "nats://127.0.0.1:4222", nil, "http://HOST:PORT"},
		{"no host", "http://", nil, "http://HOST:PORT"},
		{"not a URL", "http://user1:qwerty@%zz", nil, "http://HOST:PORT"},
		{"credentials", "http://user1:qwerty@127.0.0.1:65002", nil, "WithBasicAuth"},
		{"protocol", url, chatclient.WithProtocol("carrier pigeon"), "carrier pigeon"},
		{"user name", url, chatclient.WithBasicAuth("a:b", "c"), "colon"},
		{"no user name", url, chatclient.WithBasicAuth("", "c"), "empty"},
		{"timeout", url, chatclient.WithTimeout(0), "timeout"},
		{"silence", url, chatclient.WithSilence(-1), "silence"},
		{"backoff", url, chatclient.WithBackoff(0, time.Second), "pauses"},
		{"backoff the wrong way round", url, chatclient.WithBackoff(time.Second, time.Millisecond), "pauses"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var opts []chatclient.Option
			if test.opt != nil {
				opts = append(opts, test.opt)
			}
			if _, err := chatclient.New(test.urls, opts...); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "qwerty") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Over TLS, below a path, as a user of the embedder's own.
func TestTLS(t *testing.T) {
	t.Parallel()
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(chatsvc.AuthenticatorFunc(func(_ context.Context, h http.Header) (chatsvc.User, error) {
		if h.Get("Authorization") != "Bearer t0k3n" {
			return chatsvc.User{}, chatsvc.ErrUnauthenticated
		}
		return chatsvc.User{Name: "ada"}, nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Close)
	_, handler := svc.Handler()
	mux := http.NewServeMux()
	mux.Handle("/chat/", http.StripPrefix("/chat", handler))
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	trust := &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	for _, protocol := range []chatclient.Protocol{chatclient.GRPC, chatclient.GRPCWeb, chatclient.Connect} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			for name, opt := range map[string]chatclient.Option{
				"WithTLS":        chatclient.WithTLS(trust),
				"WithHTTPClient": chatclient.WithHTTPClient(srv.Client()),
			} {
				client, err := chatclient.New(srv.URL+"/chat/", opt, chatclient.WithProtocol(protocol),
					chatclient.WithHeader(http.Header{"authorization": {"Bearer t0k3n"}}))
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				sent, err := client.SendText(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				events := follow(t.Context(), t, client, chatclient.At(sent.Epoch, sent.Offset), 1)
				if msg := events[1].Message; string(msg.GetContent()) != name || msg.GetFrom() != "ada" {
					t.Errorf("%s: %v", name, msg)
				}
			}
		})
	}
}

// Failures are in the log, without content and credentials.
func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := newNetwork()
	n.serveScript(t, "a", answer{err: errUnavailable})
	n.serveScript(t, "b", answer{epoch: "E", first: 9})
	logger := nosecret.Logger(t, &out)
	client := n.client(t, "http://a,http://b,http://a", chatclient.WithLogger(logger), chatclient.WithClientOptions(connect.WithProtoJSON()))
	if _, err := client.Send(t.Context(), text("secret"), ""); err != nil {
		t.Fatal(err)
	}
	if err := n.client(t, "http://a,http://b", chatclient.WithLogger(logger)).Follow(t.Context(), chatclient.At("E", 7), func(chatclient.Event) error {
		return errEnough
	}); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for _, want := range []string{"msg=send url=http://a", "call again", "msg=\"stream ended\" url=http://a position=7@E", "msg=\"records lost\" position=7@E epoch=E lost=2"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "secret") || strings.Contains(out.String(), "qwerty") {
		t.Errorf("the log tells secrets:\n%s", out.String())
	}
}
