// Package chatclient is a client of SimpleChat for Go programs. It misses no message, and
// sends no message twice:
//
//	client, err := chatclient.New("http://127.0.0.1:65002", chatclient.WithBasicAuth("user1", "qwerty"))
//	if err != nil { … }
//	defer client.Close()
//	sent, err := client.SendText(ctx, "hello")
//	…
//	err = client.Follow(ctx, chatclient.All(), func(e chatclient.Event) error {
//		if e.Message != nil {
//			fmt.Printf("%d %s: %s\n", e.Offset, e.Message.GetFrom(), e.Message.GetContent())
//		}
//		return nil
//	})
//
// # Following
//
// [Client.Follow] runs until its context is done. If a stream ends, breaks or falls
// silent, Follow pauses, opens another stream and continues with the next record. Its
// caller gets every record once, in the log's order. The pause grows with each failure
// and is partly random. If records cannot be delivered, the caller is told: [Event.Lost]
// counts the records that are no longer retained, and [Event.NewEpoch] means that the log
// was replaced, for example because a server that keeps its messages in memory was
// restarted.
//
// [Event.Next] is the [Position] after an event. A program that stores it, as text or
// JSON, together with its own result of the event, can resume from there after a restart.
//
// [Client.Read] reads a part of the history and ends.
//
// # Sending
//
// [Client.Send] tries again until the server has acknowledged or refused the message. All
// attempts carry the same idempotency key, so the message is stored once. The server
// knows a key for two minutes ([chatsvc.KeyWindow]): a send whose outcome is not known by
// then fails rather than risk a duplicate, with an error that is [ErrUncertain].
//
// [Client.SendAll] sends many messages in few requests, and keeps their order.
//
// # Replicas
//
// [New] takes several URLs of one conversation, with commas between them. Calls go to the
// first one until it fails, then to the next, in turn. Replicas share their log, so a
// client resumes at the same position on another one, even on one that lags behind.
package chatclient
