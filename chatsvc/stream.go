package chatsvc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// stream writes batches to one subscriber. All subscribers share the bytes of a batch; only
// connect's envelope is added. Connect writes the headers and the trailers; between them
// only stream writes to w. It is not safe for concurrent use.
type stream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	form     form
	epoch    string            // of the log
	next     uint64            // offset of the record to write next
	isFirst  bool              // nothing was written
	prefix   [prefixBytes]byte // of the message being written
	watchdog writeWatchdog
}

// newStream returns a stream of the records from offset next on.
func newStream(w http.ResponseWriter, f form, epoch string, next uint64, deadline time.Duration) *stream {
	control := http.NewResponseController(w)
	return &stream{w: w, control: control, form: f, epoch: epoch, next: next, isFirst: true, watchdog: writeWatchdog{control: control, deadline: deadline}}
}

// send writes b as one message, and flushes it, so that each message starts in its own
// HTTP/2 DATA frame. It returns errSlow if the deadline has passed,
// and an error that wraps errGone if the subscriber has left.
func (s *stream) send(b batch) (err error) {
	body := b.data
	var array *jsonArray
	if s.form.isJSON() {
		if body, array, err = b.json(); err != nil {
			return err
		}
	}
	s.watchdog.start(pendingWrite{chunk: b.chunk, size: len(body), array: array})
	defer func() {
		if cut := s.watchdog.stop(b, len(body), err == nil); cut != nil {
			err = cut
		}
	}()
	switch s.form {
	case formEvents:
		err = s.writeEvents(b)
	case formText:
		err = s.writeText(b)
	default:
		err = s.write(b.count, body)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	s.isFirst = false
	s.next += uint64(b.count)
	return nil
}

// write writes count records as one message.
func (s *stream) write(count int, body []byte) error {
	head, foot := "", ""
	if s.form != formProto {
		head, foot = `{"messages":[`, `]}`
		if count == 0 {
			head, foot = `{`, `}`
		}
	}
	if s.form == formLines {
		foot += "\n"
	} else {
		s.prefix = envelopePrefix(len(head) + len(body) + len(foot))
		if _, err := s.w.Write(s.prefix[:]); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(s.w, head); err != nil {
		return err
	}
	if _, err := s.w.Write(body); err != nil {
		return err
	}
	if _, err := io.WriteString(s.w, foot); err != nil {
		return err
	}
	return s.control.Flush()
}

// writeLines writes and flushes lines that are not a batch.
func (s *stream) writeLines(lines []byte) (err error) {
	if len(lines) == 0 {
		return nil
	}
	s.watchdog.start(pendingWrite{size: len(lines)})
	defer func() {
		if cut := s.watchdog.stop(batch{}, 0, false); cut != nil {
			err = cut
		}
	}()
	if _, err = s.w.Write(lines); err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		return errors.Join(errGone, err)
	}
	return nil
}
