package chatsvc

import (
	"bufio"
	"strconv"
	"sync"
)

// lineBuffers are buffers for streams that write a batch message by message. A stream holds
// one only during a write.
var lineBuffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 16<<10) }}

// writeEach calls write with a buffered writer to the response, and flushes.
func (s *stream) writeEach(write func(w *bufio.Writer) error) error {
	w := lineBuffers.Get().(*bufio.Writer) //nolint:forcetypeassert // the pool has nothing else
	defer func() {
		w.Reset(nil)
		lineBuffers.Put(w)
	}()
	w.Reset(s.w)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return s.control.Flush()
}

// writeEvents writes b as server-sent events (HTML standard, section 9.2), one for each
// message. The id of an event is the position after the message, so that an EventSource
// that reconnects gets the next one. An empty batch is a comment; if it is the first batch
// of a stream, it has the position too.
func (s *stream) writeEvents(b batch) error {
	data, ends, array, err := b.jsonParts()
	if err != nil {
		return err
	}
	s.watchdog.holds(array) // the form may have been dropped and made again since send
	return s.writeEach(func(w *bufio.Writer) error {
		if b.count == 0 {
			if s.isFirst {
				writeEventID(w, s.epoch, s.next)
			}
			_, err := w.WriteString(": nothing new\n\n")
			return err
		}
		for i := b.index; i < len(ends); i++ {
			from := 0
			if i > 0 {
				from = ends[i-1]
			}
			writeEventID(w, s.epoch, b.offset+uint64(i-b.index)+1)
			_, _ = w.WriteString("data: ")
			_, _ = w.Write(data[from : ends[i]-1]) // without its comma
			if _, err := w.WriteString("\n\n"); err != nil {
				return err
			}
		}
		return nil
	})
}

// end tells a reader of events that the stream is complete. Without that, an EventSource
// would reconnect, as it does after every end.
func (s *stream) end() error {
	if s.form != formEvents {
		return nil
	}
	s.watchdog.start(pendingWrite{})
	err := s.writeEach(func(w *bufio.Writer) error {
		_, err := w.WriteString("event: end\nid: " + eventID(s.epoch, s.next) + eventEnd + "\ndata: {}\n\n")
		return err
	})
	if cut := s.watchdog.stop(batch{}, 0, false); cut != nil {
		return cut
	}
	return err
}

func writeEventID(w *bufio.Writer, epoch string, next uint64) {
	_, _ = w.WriteString("id: ")
	_, _ = w.Write(strconv.AppendUint(w.AvailableBuffer(), next, 10))
	_ = w.WriteByte('@')
	_, _ = w.WriteString(epoch)
	_ = w.WriteByte('\n')
}
