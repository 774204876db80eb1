package userfile_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/userfile"
)

// A service with the users of a file, which follows what happens to the file.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "users.json")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	hash, err := userfile.Hash("correct horse") // as simplechat users add does
	if err != nil {
		log.Fatal(err)
	}
	err = userfile.Edit(ctx, path, func(e *userfile.Editor) error { return e.Add("ada", hash) })
	if err != nil {
		log.Fatal(err)
	}

	users, err := userfile.Open(path, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	go users.Watch(ctx)
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(users))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()

	user, err := users.Authenticate(ctx, http.Header{"User-Name": {"ada"}, "User-Password": {"correct horse"}})
	fmt.Println(user.Name, err)
	_, err = users.Authenticate(ctx, http.Header{"User-Name": {"ada"}, "User-Password": {"qwerty"}})
	fmt.Println(err)
	// Output:
	// ada <nil>
	// user name or password is wrong
}
