// Package h2 serves HTTP/2 for handlers that write little and often to many
// clients. It takes over the HTTP/2 connections of an [http.Server], both in
// plain text with prior knowledge (h2c) and over TLS, and leaves HTTP/1.1 to it:
//
//	srv := h2.New(&http.Server{Handler: mux})
//	err := srv.Serve(listener)
//
// Handlers need no change, and may use an [http.ResponseController] as always. This
// server is for services whose cost per message is mostly the HTTP server's.
//
// # What makes it cheap
//
// net/http moves each frame through three goroutines: the handler's, the
// connection's and one that writes. Here the handler's own goroutine writes. A
// connection has one goroutine, which reads, and no buffer while it is idle. A
// frame that is ready while another one is being written waits in the connection's
// queue and is written together with all others that wait, in one system call.
// Bytes of a large write are not copied. Handlers run on goroutines that are
// reused, so that their stacks need not grow again for each call.
//
// A subscriber of the chat that is idle on a connection of its own takes about
// 25 KiB, half of what it takes with net/http: 4 for the stack that reads, 8 for
// the handler's stack, 2.5 for the connection with its framer and HPACK table, 1.5 for
// the request, 4.5 for the state of connect and the service, and 4 for the runtime's
// own state of goroutines, timers, sockets and spans.
//
// # Settings
//
// Of [http.Server] it uses Handler, TLSConfig, ReadHeaderTimeout, IdleTimeout,
// MaxHeaderBytes, ErrorLog, BaseContext, ConnContext and, of its HTTP2,
// MaxConcurrentStreams, SendPingTimeout, PingTimeout and WriteByteTimeout. It sets
// Handler and TLSNextProto.
//
// Two of them have defaults where net/http has none: a ReadHeaderTimeout of 0 is
// 10 s, and a WriteByteTimeout of 0 is 30 s. ReadHeaderTimeout also bounds the TLS
// handshake and the time until the client's first SETTINGS.
//
// # Memory that a client can take
//
// Each connection has these bounds. A client that exceeds one is cut off. A call that
// exceeds MaxConcurrentStreams is refused.
//
//   - 1 MiB of request bodies that no handler has read yet, 256 KiB for each call
//   - MaxConcurrentStreams calls, and as many handlers at a time. A call whose
//     handler cannot begin yet waits. Four times as many calls may be refused, or
//     reset while they wait, before one succeeds.
//   - header lists of MaxHeaderBytes. A header block must end within
//     ReadHeaderTimeout, and may take about twice MaxHeaderBytes on the wire,
//     including its frames.
//   - 10,000 frames that answer the client's frames, if it reads none
//   - 32 values in a SETTINGS frame
//   - bytes that handlers have written and the client has not read: one frame for
//     each waiting handler, of which up to 2 KiB are copied, and a buffer of
//     about 64 KiB. Larger writes are not copied: their handlers wait.
//
// A panic of the goroutine that reads a connection ends that connection.
//
// # Differences from net/http
//
// In everything else it does what net/http does: the tests compare the two, and a
// fuzzer sends the same frames to both. Some things are not offered:
//
//   - server push, priorities and extended CONNECT
//   - ReadTimeout and WriteTimeout, which would end a stream that lives long,
//     apply to HTTP/1.1 only; so does ConnState
//   - Protocols is not read: both versions are served, HTTP/2 in plain text only
//     with prior knowledge, not by an upgrade
//   - of HTTP2, the sizes of frames, windows and tables are fixed, and CountError
//     is not called
//   - SetKeepAlivesEnabled applies to HTTP/1.1 only
//
// A request is treated differently in these cases:
//
//   - A malformed one resets its stream with PROTOCOL_ERROR (section 8.1.1):
//     fields of a connection, TE other than trailers, a Content-Length that is
//     repeated, no number or not the body's. net/http answers some with the
//     status 400, lets the handler see an error for others, or ignores them.
//   - A header list that is too large gets the status 431 without a text.
//   - OPTIONS * is the handler's.
//   - A client that sends Expect: 100-continue and no body does not get 100
//     (Continue).
//   - TLS is set for all requests of a TLS connection, with any :scheme.
//
// A response is different in these cases:
//
//   - The server adds no Content-Length to a response with trailers.
//   - If a request was answered early, its stream is reset 100 ms later, and the
//     client may send until then: some clients drop a response whose stream is reset
//     at once.
//   - A handler's write may carry bytes of other handlers on the same connection,
//     and a write deadline of a call does not interrupt it: where a client takes
//     no bytes at all, WriteByteTimeout does, and ends the connection. Against a
//     client that keeps its flow-control window closed, a call's own deadline
//     holds.
//   - After WriteHeader(100), reading the body sends no second 100 (Continue).
//   - A goroutine that outlives its handler may use the response writer: it
//     gets errors, while net/http panics.
//
// These violations have other consequences:
//
//   - A call beyond MaxConcurrentStreams is always refused with REFUSED_STREAM,
//     which the client may repeat.
//   - HEADERS on a closed stream end the connection with STREAM_CLOSED, not
//     PROTOCOL_ERROR (section 5.1); so does a lower stream than one before, also
//     if that one was malformed (section 5.1.1).
//   - Frames on a stream that the server has reset are always ignored (section 5.1).
//   - A window update by 0 on an idle stream, and padding longer than a HEADERS
//     frame, end the connection (sections 5.1 and 6.2).
//   - Several values of one setting in a frame are allowed (section 6.5.3).
//   - Windows that overflow by a new initial size end the connection with
//     FLOW_CONTROL_ERROR (section 6.9.2), and so does a body that exceeds the
//     connection's window (section 6.9.1).
//
// HTTP/1.1 is net/http's, with two additions. Up to two empty lines before the
// first request of a connection are ignored (RFC 9112, section 2.2). If the answer
// ends the connection, up to 4 MiB of the rest of the request are read first, for up
// to five seconds, so that the answer is not lost in a reset of the connection.
//
// A TLS handshake prefers HTTP/2 and then HTTP/1.1, regardless of the order in
// TLSConfig's NextProtos; further protocols there, such as that of ACME's challenge, may
// be chosen, too.
//
// The connection that ConnContext and [http.Hijacker] get is not the listener's
// *net.TCPConn and, over HTTP/1.1, no *tls.Conn. Over TLS it has a ConnectionState
// method.
//
// The Framer of golang.org/x/net/http2 reads the frames. Section numbers in
// this package are those of RFC 9113, or of RFC 7541 for HPACK.
package h2
