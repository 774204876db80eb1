package chatsvc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"
)

var (
	// errEndOfLines means that the body has ended.
	errEndOfLines = errors.New("there are no more lines")
	// errLongLine refuses one line. Later lines are still read.
	errLongLine = errors.New("the line is too large")
)

// lineBudget is the budget for the memory of a user's long lines.
type lineBudget struct {
	budget *bodyBudget
	user   string
}

// lineReader reads the lines of a body. It limits the size of each line, and the time for a
// line that has begun. Between lines it waits without a limit. Except for stop, it is not
// safe for concurrent use.
type lineReader struct {
	body    *limitedBody
	budget  lineBudget
	content int // largest content, for the error's text
	limit   int // largest line in bytes
	taken   int64
	buf     []byte
	start   int   // begin of the next line in buf
	end     int   // end of the bytes that were read
	scanned int   // number of bytes after start without the end of a line
	skips   bool  // the rest of a line that is too large is being skipped
	readErr error // why no more bytes can be read

	watchdog lineWatchdog
}

// newLineReader returns a reader of the lines of a body, each with at most content
// bytes of content in base64. The caller must call close at the end.
func newLineReader(body *limitedBody, budget lineBudget, content int) *lineReader {
	limit := base64.StdEncoding.EncodedLen(content) + bodySlack
	return &lineReader{
		body: body, budget: budget, content: content, limit: limit,
		buf:      make([]byte, manyBytes),
		watchdog: lineWatchdog{body: body, patience: bodyTime + transferTime(int64(limit))},
	}
}

// hasLine reports whether the next line was read completely.
func (l *lineReader) hasLine() bool {
	if l.skips {
		return false
	}
	i := bytes.IndexByte(l.buf[l.start+l.scanned:l.end], '\n')
	if i < 0 {
		l.scanned = l.end - l.start
		return false
	}
	l.scanned += i
	return true
}

// next returns the next line without its end. The line is valid until the next call. Next
// returns errEndOfLines at the end, and an error that wraps errLongLine for a line that
// is too large.
func (l *lineReader) next() ([]byte, error) {
	for {
		switch {
		case l.hasLine():
			line := l.buf[l.start : l.start+l.scanned]
			l.start += l.scanned + 1
			l.scanned = 0
			l.watchdog.passed = true
			return bytes.TrimSpace(line), nil
		case l.skips:
			if i := bytes.IndexByte(l.buf[l.start:l.end], '\n'); i >= 0 {
				l.start += i + 1
				l.skips, l.watchdog.passed = false, true
				continue
			}
			l.start, l.end, l.scanned = 0, 0, 0
		case l.end-l.start == len(l.buf):
			if err := l.grow(); err != nil {
				l.skips = true
				return nil, longLineError{err}
			}
		case l.readErr != nil:
			return l.last()
		}
		l.fill()
		if l.skips && l.readErr != nil {
			return nil, l.readErr
		}
	}
}

// longLineError wraps errLongLine with the error for the client.
type longLineError struct{ cause *connect.Error }

func (e longLineError) Error() string { return e.cause.Message() }

func (e longLineError) Is(target error) bool { return target == errLongLine }

func (e longLineError) Unwrap() error { return e.cause }

// last returns the bytes after the last end of a line, and then the error that ended the
// body.
func (l *lineReader) last() ([]byte, error) {
	line := l.buf[l.start:l.end]
	l.start, l.end, l.scanned = 0, 0, 0
	if len(line) > 0 && errors.Is(l.readErr, errEndOfLines) {
		return bytes.TrimSpace(line), nil
	}
	return nil, l.readErr
}

// grow makes room for a long line. It fails if the line is too large, or if no memory is
// left for it.
func (l *lineReader) grow() *connect.Error {
	if len(l.buf) > l.limit {
		return tooLarge("the line is larger than %d bytes: a message holds at most %d bytes of content", l.limit, l.content)
	}
	more := min(len(l.buf), l.limit+1-len(l.buf))
	if !l.budget.budget.take(l.budget.user, 2*int64(more)) { // twice: also for the record
		l.budget.budget.onFull(l.body.request.Context(), l.budget.user)
		return limited(time.Second, "too many messages are arriving at the same time: send it again")
	}
	l.taken += 2 * int64(more)
	l.buf = append(l.buf, make([]byte, more)...)
	return nil
}

// shrink frees the room for a long line after it was read.
func (l *lineReader) shrink() {
	if l.taken == 0 || l.end > manyBytes {
		return
	}
	l.buf = append(make([]byte, 0, manyBytes), l.buf[:l.end]...)[:manyBytes]
	l.release()
}

func (l *lineReader) release() {
	if l.taken > 0 {
		l.budget.budget.give(l.budget.user, l.taken)
		l.taken = 0
	}
}

// fill reads the next bytes.
func (l *lineReader) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
		l.shrink()
	}
	l.watchdog.begin(l.end > 0 || l.skips)
	n, err := l.body.src.Read(l.buf[l.end:])
	l.end += n
	if err == nil {
		return
	}
	l.readErr = errEndOfLines
	if !errors.Is(err, io.EOF) {
		l.readErr = l.watchdog.reason(l.body.readError(err))
		return
	}
	l.body.end()
	// An HTTP/1.1 server now waits for the connection's next request, which a cut would end.
	l.watchdog.end()
}

// stop makes reads fail with reason from now on.
func (l *lineReader) stop(reason error) {
	l.watchdog.mu.Lock()
	defer l.watchdog.mu.Unlock()
	l.watchdog.cut(reason)
}

// close frees the reader's memory. Nothing may be read after it.
func (l *lineReader) close() {
	l.watchdog.end()
	l.release()
}
