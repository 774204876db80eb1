package web_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/web"
)

// The page stands beside the service, in a mux that may have more.
func ExampleHandler() {
	svc, err := chatsvc.New()
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	mux.Handle("/", web.Handler())
	server := httptest.NewServer(mux)
	defer server.Close()

	res, err := http.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	fmt.Println(res.StatusCode, res.Header.Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
