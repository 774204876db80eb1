// Package chatsvc is the SimpleChat service of Qt's gRPC chat example, to be
// mounted in any mux:
//
//	svc, err := chatsvc.New()
//	if err != nil { … }
//	defer svc.Close()
//	mux.Handle(svc.Handler())
//
// The same two procedures, messageList and sendMessage, answer gRPC, gRPC-Web
// and Connect, in protobuf and in JSON, over HTTP/1.1, h2c and TLS. Posting
// application/json to messageList answers application/x-ndjson: one ChatMessages
// a line, for curl.
//
// # Server
//
// gRPC needs HTTP/2, without TLS as h2c. Both come from [net/http]: set
// HTTP1, HTTP2 and UnencryptedHTTP2 in [http.Server.Protocols]. A stream lives
// long, so leave ReadTimeout and WriteTimeout zero, and set ReadHeaderTimeout;
// in [http.Server.HTTP2] set SendPingTimeout, which finds peers that are gone,
// and WriteByteTimeout: the service's write deadline ends a stream whose client
// grants no window or does not read HTTP/1.1, but over HTTP/2 only net/http can
// end a connection that takes no bytes. Middleware around the
// handler must pass on flushes and, for the write deadline, have an Unwrap
// method: see [http.NewResponseController].
//
// # Credentials
//
// Each call carries them in its headers: Authorization with the scheme Basic,
// or user-name and user-password as Qt's client does. Without an option the
// users are those of Qt's example, user1 to user5 with the password qwerty.
// [WithUsers] replaces them, [WithAuthenticator] the whole way to tell who is
// calling. [UserFromContext] tells the embedder's own interceptors.
//
// # Delivery
//
// All subscribers see all messages in one order, the [Log]'s. A subscriber gets
// the retained history first, oldest first, then every new message, with no gap
// and no duplicate between the two. sendMessage returns when the message is as
// durable as the log promises; with a [MemoryLog] it is gone when the process
// ends. Subscribers that wait get a message at once; where they are still busy
// with what came before, or were for long, it waits for at most 100 ms (20 µs for
// each of a crowd of over 5,000), and goes out with what follows it in one batch.
//
// A late subscriber sees what [Retention] has left. Each record has a number,
// its offset, and the log has an epoch; both travel in headers ([HeaderOffset],
// [HeaderEpoch]), so a client that counts what it receives can resume with the
// next one. If that is gone, the answer's offset shows how many are missing. A
// slow subscriber costs nothing but its place in the history, and slows nobody.
// The stream of one that falls out of the history ends with unavailable; that
// of one that does not take a batch within the write deadline is cut, as nothing
// more can be written to it. Both may resume. A send with
// [HeaderIdempotencyKey] may be repeated safely.
//
// # Shutdown
//
// [Service.Close] ends every stream with the code unavailable, after what it
// still has to get: Qt's older clients stay connected for ever to a server that
// just goes away. [http.Server.Shutdown] alone waits for streams without ending
// them, so register Close with [http.Server.RegisterOnShutdown], or call
// [Service.Shutdown] first.
package chatsvc
