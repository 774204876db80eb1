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
// calling: package userfile is one, with hashed passwords and tokens in a file.
// [UserFromContext] tells the embedder's own interceptors, and [User.Revoked]
// ends the streams of credentials that are no longer valid. [AuthInterceptor]
// puts further handlers behind the same users.
//
// # Delivery
//
// All subscribers see all messages in one order, the [Log]'s. A subscriber gets
// history first, oldest first, then every new message, with no gap and no duplicate
// between the two. Without an offset the history is the end that [WithReplay] allows;
// with one it is everything that the log retains from it on. The newest records are in
// memory, older ones are read from the log when a subscriber needs them. A record that
// cannot be read, or was redacted, comes as an empty message.
//
// sendMessage returns when the message is as durable as the log promises; with a
// [MemoryLog] it is gone when the process ends. Fewer than 64 subscribers get a message
// at once. In a larger crowd it waits until most of them have taken the messages before
// it, for at most 100 ms, or 250 ms for more than 5,000, and leaves with the messages
// that follow it in one batch.
//
// Each record has a number, its offset, and the log has an epoch; both travel in headers
// ([HeaderOffset], [HeaderEpoch]), so a client that counts the messages that it receives
// can resume with the next one. [HeaderUntil] ends a stream before an offset. If records
// that were asked for are gone, the response's offset shows how many are missing. A slow
// subscriber costs its place in the history and the batch that it is being sent, and
// slows nobody. The stream of one that falls out of the history ends with unavailable;
// that of one that does not take a batch in time is cut, as nothing more can be written
// to it: in time is the write deadline and a second for each 16 KiB. Both may resume. A
// send with [HeaderIdempotencyKey] may be repeated safely.
//
// # Shutdown
//
// [Service.Close] ends every stream with the code unavailable, after what it
// still has to get: Qt's older clients stay connected for ever to a server that
// just goes away. [http.Server.Shutdown] alone waits for streams without ending
// them, so register Close with [http.Server.RegisterOnShutdown], or call
// [Service.Shutdown] first.
package chatsvc
