package chatclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
)

// startChat serves a chat over HTTP/1.1 and h2c, as simplechat does, and
// returns its URL and how to end it.
func startChat(opts ...chatsvc.Option) (url string, stop func()) {
	svc, err := chatsvc.New(opts...)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	return srv.URL, func() {
		_ = svc.Shutdown(context.Background())
		srv.Close()
	}
}

// A program that says hello and writes down all messages, from the beginning or from
// where it was when it ran the last time.
func Example() {
	url, stop := startChat()
	defer stop()
	ctx := context.Background()
	position := chatclient.All()
	store := func(next chatclient.Position) error {
		position = next // to a file, with the result of the message
		if _, offset, _ := next.Offset(); offset == 2 {
			return errEnough
		}
		return nil
	}

	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SendText(ctx, "hello"); err != nil {
		log.Fatal(err)
	}
	err = client.Follow(ctx, position, func(e chatclient.Event) error {
		if e.Lost > 0 || e.NewEpoch {
			fmt.Println("messages are gone")
		}
		if e.Message != nil {
			fmt.Printf("%d %s: %s\n", e.Offset, e.Message.GetFrom(), e.Message.GetContent())
		}
		return store(e.Next())
	})
	fmt.Println(err)
	// Output:
	// 1 user1: hello
	// enough
}

// A program that was away resumes at its position, and is told how many messages it has
// missed: the server retains three messages.
func ExampleClient_Follow() {
	url, stop := startChat(chatsvc.WithRetention(chatsvc.Retention{Messages: 3}))
	defer stop()
	ctx := context.Background()
	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	say := func(texts ...string) {
		for _, text := range texts {
			if _, err := client.SendText(ctx, text); err != nil {
				log.Fatal(err)
			}
		}
	}

	// Store the position together with the results of the messages.
	stored := chatclient.All()
	followTo := func(last string) {
		err := client.Follow(ctx, stored, func(e chatclient.Event) error {
			if e.Lost > 0 {
				fmt.Println(e.Lost, "messages are gone")
			}
			if e.Message != nil {
				fmt.Printf("%s\n", e.Message.GetContent())
			}
			stored = e.Next()
			if string(e.Message.GetContent()) == last {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			log.Fatal(err)
		}
	}

	say("one", "two")
	followTo("two")
	say("three", "four", "five", "six", "seven")
	followTo("seven")
	_, offset, _ := stored.Offset()
	fmt.Println("next is", offset)
	// Output:
	// one
	// two
	// 2 messages are gone
	// five
	// six
	// seven
	// next is 8
}

// A server that keeps messages in memory has another epoch when it is started
// again: its offsets mean nothing to the one before.
func ExampleEvent_newEpoch() {
	url, stop := startChat()
	defer stop()
	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	stored := chatclient.At("THEONEBEFORE", 17)
	err = client.Follow(context.Background(), stored, func(e chatclient.Event) error {
		fmt.Println("new epoch:", e.NewEpoch, "next:", e.Offset)
		return errEnough
	})
	fmt.Println(err)
	// Output:
	// new epoch: true next: 1
	// enough
}

// With a key of its own, a program may send a message again if it does not know whether
// the message was sent, even after a restart.
func ExampleClient_Send() {
	url, stop := startChat()
	defer stop()
	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for range 2 {
		sent, err := client.Send(context.Background(), text("order 17 has been shipped"), "order-17-shipped")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("offset", sent.Offset, "duplicate", sent.Duplicate)
	}
	_, err = client.SendText(context.Background(), "not \xff UTF-8")
	fmt.Println(err)
	// Output:
	// offset 1 duplicate false
	// offset 1 duplicate true
	// send: invalid_argument: the content is not UTF-8, which the type Text requires: encode it as UTF-8, or send it with the type Unknown
}
