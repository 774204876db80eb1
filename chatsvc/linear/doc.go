// Package linear checks recorded histories of a chat log. It searches for one order of
// all operations that explains every answer. Tests and simulations use a [Recorder] to
// record what clients send and which answers they get:
//
//	r := linear.NewRecorder()
//	send := r.Append("hello", "user1/key")       // just before the request
//	send.Return(epoch, offset, duplicate)        // after the response
//	stream := r.Read()                           // before the stream is opened
//	stream.Return(epoch, offset, "hello", "you") // for each batch
//	stream.End(epoch, next)                      // if the server named the end
//	err := r.Check()
//
// The model is an append-only log. Its promises are:
//
//   - An acknowledged append has its offset, and a later append has a larger one.
//   - A record that was read stays at its offset, and no other is ever read there.
//   - Every record that is read was sent, and its append began before it was read.
//   - Appends with one key are one record within [KeyWindow], and one of them at
//     most is not called a duplicate.
//   - An append whose outcome is unknown may be in the log, at any time after its
//     begin, or not. It accounts for an offset that nobody has seen.
//   - The end of the log that a reader is told was the end at some moment of the
//     call: a stale end is rejected.
//   - An epoch begins with records of the epochs before it or with none. Nothing
//     is acknowledged in an epoch after a record of a later one was acknowledged
//     or seen.
//
// [porcupine] searches for the order. A history of a log can be cut into windows
// of offsets that are checked one by one, because the records of a window all
// come after those of the windows before it: the first operation of each window
// stands for them. So the time for a check grows linearly with the history.
//
// [porcupine]: https://github.com/anishathalye/porcupine
package linear
