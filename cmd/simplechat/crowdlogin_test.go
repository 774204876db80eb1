package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/userfile"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// 10,000 clients of 50 users log in together, with hashes as the commands make them. All
// of them get in, and a user that has logged in before can send all the time.
func TestCrowdLogsIn(t *testing.T) {
	t.Parallel()
	users, logins, connections := 50, 10_000, 50
	if raceDetector() { // which makes hashes slow, and looks for races only
		users, logins, connections = 5, 500, 5
	}
	file := filepath.Join(t.TempDir(), "users.json")
	hash, err := userfile.Hash("s3cr3t")
	if err != nil {
		t.Fatal(err)
	}
	err = userfile.Edit(t.Context(), file, func(e *userfile.Editor) error {
		for i := range users {
			if err := e.Add(fmt.Sprintf("user%d", i), hash); err != nil {
				return err
			}
		}
		return e.Add("honest", hash)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := startServer(t, "--users", file, "--user-sends", "0")
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	honest := p.client("honest:s3cr3t", connect.WithGRPC())
	send(ctx, t, honest, text("first"))

	var crowd sync.WaitGroup
	begun := time.Now()
	for c := range connections {
		base := testkit.NewTransport(t, true)
		for i := range logins / connections {
			crowd.Go(func() {
				user := fmt.Sprintf("user%d:s3cr3t", (c+i)%users)
				client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: user, Base: base}}, p.url(""), connect.WithGRPC())
				if _, err := client.SendMessage(ctx, text("hi")); err != nil {
					t.Errorf("%s: %v", user, err)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() {
		crowd.Wait()
		close(done)
	}()
	var took []time.Duration
	for !isDone(done) || len(took) < 10 {
		before := time.Now()
		send(ctx, t, honest, text("hello"))
		took = append(took, time.Since(before))
	}
	all := time.Since(begun)
	slices.Sort(took)
	t.Logf("%d logins in %v; beside them %d sends of another user: median %v, p99 %v, longest %v",
		logins, all, len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	p.stop()
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
