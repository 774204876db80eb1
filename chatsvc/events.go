package chatsvc

import (
	"bufio"
	"strconv"
	"sync"
)

// lineBuffers are for streams that write a batch message by message. They hold one for
// no longer than a write takes.
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

// writeEvents writes b as server-sent events (HTML standard, section 9.2): one for each
// message, whose id is the position behind it, so that an EventSource that connects
// again gets the next one. An empty batch is a comment; the first one of a stream
// carries the position too.
func (s *stream) writeEvents(b batch) error {
	data, ends, array, err := b.jsonParts()
	if err != nil {
		return err
	}
	s.watch.holds(array) // it may have been dropped and made again since send
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

// end tells a reader of events that it has all that it asked for: without that an
// EventSource connects again, as it does after every end.
func (s *stream) end() error {
	if s.form != formEvents {
		return nil
	}
	s.watch.start(pendingWrite{})
	err := s.writeEach(func(w *bufio.Writer) error {
		_, err := w.WriteString("event: end\nid: " + eventID(s.epoch, s.next) + eventEnd + "\ndata: {}\n\n")
		return err
	})
	if cut := s.watch.stop(batch{}, 0, false); cut != nil {
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
