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
// A subscriber of the chat that is idle on a connection of its own takes about
// 25 KiB, half of what it takes with net/http: 4 for the stack that reads, 8 for
// the handler's, 2.5 for the connection with its framer and HPACK table, 1.5 for
// the request, 4.5 for what connect and the service keep of the call, and 4 for
// what Go's runtime notes of goroutines, timers, sockets and spans.
//
// # What it is not
//
// It has no server push, no priorities and no CONNECT. Of [http.Server] it heeds
// Handler, TLSConfig, ReadHeaderTimeout, IdleTimeout, MaxHeaderBytes, ErrorLog,
// BaseContext, ConnContext and, of its HTTP2, MaxConcurrentStreams,
// SendPingTimeout, PingTimeout and WriteByteTimeout. ReadTimeout and
// WriteTimeout, which would end a stream that lives long, hold for HTTP/1.1 only.
//
// A handler's write may carry bytes of other handlers on the same connection, and
// a write deadline of a call does not interrupt it: where a client takes no bytes
// at all, WriteByteTimeout does, and ends the connection. Against a client that
// keeps its flow-control window closed, a call's own deadline holds.
//
// # What a client can make it hold
//
// A connection holds at most 1 MiB of bodies that no handler has read, 256 KiB
// for each call; some 10,000 frames that answer the client's own, if it reads
// none; header fields up to MaxHeaderBytes; and twice MaxConcurrentStreams
// handlers, if it resets calls faster than they end. What handlers have written
// and the client has not taken is 256 KiB, and a frame for each handler that
// waits. A client that exceeds a bound is cut off or, where the bound is
// MaxConcurrentStreams, refused.
//
// Whatever else a client or a handler does, they get what net/http's server
// would give them; the tests compare the two, and list the differences with
// their reasons.
//
// The frames are read by golang.org/x/net/http2's Framer. Section numbers in
// this package are those of RFC 9113, or of RFC 7541 where HPACK is concerned.
package h2
