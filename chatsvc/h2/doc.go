// Package h2 serves HTTP/2 for handlers that write little and often to many
// clients. It takes over the HTTP/2 connections of an [http.Server], both in
// plain text with prior knowledge (h2c) and over TLS, and leaves HTTP/1.1 to it:
//
//	srv := h2.New(&http.Server{Handler: mux})
//	err := srv.Serve(listener)
//
// The handlers are the same, and so is what they can do with a
// [http.ResponseController]. They need not run here: any server that speaks
// HTTP/2 will do. This one is for the case that the server's share of a
// delivery counts.
//
// # What makes it cheap
//
// net/http moves each frame through three goroutines: the handler's, the
// connection's and one that writes. Here the handler's own goroutine writes. A
// connection has one goroutine, which reads, and no buffer while it is idle; a
// frame that is due while another is being written waits in the connection's
// queue and leaves with all others that came meanwhile, in one system call.
// Bytes of a large write are not copied. Handlers run on goroutines that are
// used again, so that their stacks need not grow anew for each call.
//
// # What it is not
//
// It has no server push, no priorities, no CONNECT, and no trailers on requests
// (they are read and dropped). Of [http.Server] it heeds Handler, TLSConfig,
// ReadHeaderTimeout, IdleTimeout, MaxHeaderBytes, ErrorLog, BaseContext and,
// of its HTTP2, MaxConcurrentStreams, SendPingTimeout, PingTimeout and
// WriteByteTimeout. ReadTimeout and WriteTimeout, which would end a stream that
// lives long, hold for HTTP/1.1 only.
//
// The frames are read by golang.org/x/net/http2's Framer. Section numbers in
// this package are those of RFC 9113, or of RFC 7541 where HPACK is concerned.
package h2
