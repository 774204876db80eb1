// Package chatclient is a client of SimpleChat for Go programs that must not
// miss anything, and must not say anything twice:
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
// [Client.Follow] runs until its context is done. Where a stream ends, breaks or
// falls silent it opens another one, after a pause that grows and is never the
// same for two clients, and goes on with the record that is due: its caller gets
// every record once, in the log's order. Where that cannot be, the caller is
// told: [Event.Lost] counts the records that were retained no longer, and
// [Event.NewEpoch] says that the log is another one, as after the restart of a
// server that keeps its messages in memory.
//
// [Event.Next] is the [Position] behind an event. A program that stores it, as
// text or JSON, together with what it made of the event, goes on from there when
// it is started again.
//
// [Client.Read] reads a part of the history and ends.
//
// # Sending
//
// [Client.Send] tries again until the server has acknowledged the message or
// refused it. All attempts carry the same idempotency key, so the message is
// stored once. The server knows a key for two minutes ([chatsvc.KeyWindow]): a
// send whose outcome is not known by then fails rather than risk a duplicate,
// with an error that is [ErrUncertain].
//
// [Client.SendAll] sends many messages in few requests, and keeps their order.
//
// # Replicas
//
// [New] takes several URLs of one conversation, with commas between them. Calls
// go to the first one until it fails, then to the next, in turn. Replicas share
// their log, so a client resumes on another one where it was, also on one that
// is a little behind.
package chatclient
