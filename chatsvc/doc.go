// Package chatsvc is the SimpleChat service of Qt's gRPC chat example, for any mux:
//
//	svc, err := chatsvc.New()
//	if err != nil { … }
//	defer svc.Close()
//	mux.Handle(svc.Handler())
//
// Its two procedures, messageList and sendMessage, answer gRPC, gRPC-Web
// (binary and text) and Connect, in protobuf and in JSON, over HTTP/1.1, h2c and TLS.
//
// They also answer simpler forms for curl and browsers. A body of text/plain, of image/* or
// of the type that curl -d sends is the content of a message; the answer has its offset
// and type. A body of application/x-ndjson has a message on each line, and each is answered
// on a line while the request is open. A GET of messageList, or a POST of
// application/json, is answered with application/x-ndjson, one ChatMessages on each line;
// with Accept: text/event-stream it is answered with an event for each message, and with
// text/plain with a readable line for each message. The URL may have ?offset=, epoch= and
// until= instead of the headers. If a stream in lines ends with an error, the error is its
// last line, and the connection is then cut by [http.ErrAbortHandler].
//
// The authenticator and the interceptors see each line of a request with many messages as
// a unary call, and the request itself as a stream of sendMessage. The call of a line ends
// before its message is stored.
//
// [Service.Publish] and [Service.Messages] send and read in the same process.
//
// # Other sites
//
// A browser sends a GET and some plain bodies for a page of another site without a
// preflight. Such calls are refused unless [WithTrustedRequests] allows them. The server's
// CORS decides about all other calls.
//
// # Server
//
// gRPC needs HTTP/2, without TLS as h2c. Both come from [net/http]: set
// HTTP1, HTTP2 and UnencryptedHTTP2 in [http.Server.Protocols]. A stream lives
// long, so leave ReadTimeout and WriteTimeout zero, and set ReadHeaderTimeout;
// in [http.Server.HTTP2] set SendPingTimeout, which detects dead peers,
// and WriteByteTimeout. The service's write deadline ends a stream whose client
// keeps its window closed or does not read HTTP/1.1, but over HTTP/2 only net/http can
// end a connection that accepts no bytes. Middleware around the
// handler must pass flushes on and, for the write deadline, have an Unwrap
// method: see [http.NewResponseController].
//
// # Credentials
//
// Each call has credentials in its headers: Authorization with the scheme Basic,
// or user-name and user-password as Qt's client sends them. By default the
// users are those of Qt's example, user1 to user5 with the password qwerty.
// [WithUsers] replaces the users, and [WithAuthenticator] replaces the whole
// authentication; package userfile is an authenticator with hashed passwords and tokens
// in a file. [UserFromContext] returns the user in the embedder's own interceptors.
// [User.Revoked] ends the streams of credentials that are no longer valid.
// [AuthInterceptor] protects other handlers with the same users.
//
// # Delivery
//
// All subscribers see all messages in the order of the [Log]. A subscriber first receives
// history, oldest first, and then every new message, with no gap and no duplicate
// between the two. Without an offset, the history is as long as [WithReplay] allows;
// with an offset, it is everything that the log retains from there on. The newest records
// are in memory, and older ones are read from the log when a subscriber needs them. A record
// that cannot be read, or was redacted, is delivered as an empty message.
//
// sendMessage returns when the message is as durable as the log promises; a [MemoryLog]
// loses it when the process ends. Fewer than 64 subscribers receive a message
// at once. With more subscribers, a message waits until most of them have received the
// earlier ones, for at most 100 ms, or 250 ms with more than 5,000, and is sent in one
// batch with those that have followed.
//
// Each record has a number, its offset, and the log has an epoch. Both travel in headers
// ([HeaderOffset], [HeaderEpoch]), so a client that counts messages
// can resume with the next one. [HeaderUntil] ends a stream before an offset. If requested
// records are no longer retained, the response's offset shows how many are missing. A slow
// subscriber costs only the batch that is being written to it, and does not delay others.
// If its next record is no longer retained, its stream ends with unavailable. If it does not
// read a batch within the write deadline and a second for each 16 KiB, its stream is
// cut. In both cases it may resume. A send with [HeaderIdempotencyKey] may be repeated
// safely.
//
// # Shutdown
//
// [Service.Close] ends every stream with the code unavailable, after the stored messages:
// if a server disappears without that, Qt's older clients stay connected for ever.
// [http.Server.Shutdown] alone waits for streams without ending
// them, so register Close with [http.Server.RegisterOnShutdown], or call
// [Service.Shutdown] first.
package chatsvc
