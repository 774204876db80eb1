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
	// errEndOfLines is the end of a body.
	errEndOfLines = errors.New("there are no more lines")
	// errLongLine refuses a line without ending the lines after it.
	errLongLine = errors.New("the line is too large")
)

// lineBudget is where a user's long lines take their memory from.
type lineBudget struct {
	budget *bodyBudget
	user   string
}

// lineReader reads the lines of a body, each no further than a limit and, once it has
// begun, for no longer than its size justifies. Between lines it waits for as long as
// the client does. It is not safe for concurrent use, apart from stop.
type lineReader struct {
	body    *requestBody
	budget  lineBudget
	content int // largest content, for the error's text
	limit   int // largest line in bytes
	taken   int64
	buf     []byte
	start   int   // where the next line begins in buf
	end     int   // end of the bytes that were read
	scanned int   // there is no end of a line before it
	skips   bool  // the rest of a line that is too large is being skipped
	readErr error // why nothing more can be read

	watch lineWatch
}

// newLineReader returns a reader of the lines of a body, each with at most content
// bytes of content in base64. The caller calls close.
func newLineReader(body *requestBody, budget lineBudget, content int) *lineReader {
	limit := base64.StdEncoding.EncodedLen(content) + bodySlack
	return &lineReader{
		body: body, budget: budget, content: content, limit: limit,
		buf:   make([]byte, manyBytes),
		watch: lineWatch{body: body, patience: bodyTime + transferTime(int64(limit))},
	}
}

// hasLine reports whether the next line is there already.
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

// next returns the next line without its end; it is valid until the next call. It
// returns errEndOfLines at the end, and an error that wraps errLongLine for a line that
// is skipped.
func (l *lineReader) next() ([]byte, error) {
	for {
		switch {
		case l.hasLine():
			line := l.buf[l.start : l.start+l.scanned]
			l.start += l.scanned + 1
			l.scanned = 0
			l.watch.passed = true
			return bytes.TrimSpace(line), nil
		case l.skips:
			if i := bytes.IndexByte(l.buf[l.start:l.end], '\n'); i >= 0 {
				l.start += i + 1
				l.skips, l.watch.passed = false, true
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

// longLineError is errLongLine with what the client is told.
type longLineError struct{ cause *connect.Error }

func (e longLineError) Error() string { return e.cause.Message() }

func (e longLineError) Is(target error) bool { return target == errLongLine }

func (e longLineError) Unwrap() error { return e.cause }

// last returns what stands behind the last end of a line, and then why there is no more.
func (l *lineReader) last() ([]byte, error) {
	line := l.buf[l.start:l.end]
	l.start, l.end, l.scanned = 0, 0, 0
	if len(line) > 0 && errors.Is(l.readErr, errEndOfLines) {
		return bytes.TrimSpace(line), nil
	}
	return nil, l.readErr
}

// grow makes room for a long line, if it may be that long and there is memory for it.
func (l *lineReader) grow() *connect.Error {
	if len(l.buf) > l.limit {
		return tooLarge("the line is larger than %d bytes: a message holds at most %d bytes of content", l.limit, l.content)
	}
	more := min(len(l.buf), l.limit+1-len(l.buf))
	if !l.budget.budget.take(l.budget.user, 2*int64(more)) { // and the record
		l.budget.budget.onFull(l.body.request.Context(), l.budget.user)
		return limited(time.Second, "too many messages are arriving at the same time: send it again")
	}
	l.taken += 2 * int64(more)
	l.buf = append(l.buf, make([]byte, more)...)
	return nil
}

// shrink gives up the room for a long line that was read.
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

// fill reads what comes next.
func (l *lineReader) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
		l.shrink()
	}
	l.watch.begin(l.end > 0 || l.skips)
	n, err := l.body.src.Read(l.buf[l.end:])
	l.end += n
	if err == nil {
		return
	}
	l.readErr = errEndOfLines
	if !errors.Is(err, io.EOF) {
		l.readErr = l.watch.reason(l.body.readError(err))
		return
	}
	l.body.end()
	// An HTTP/1.1 server now waits for the connection's next request, which a cut would end.
	l.watch.end()
}

// stop makes the reads fail from now on, for a reason.
func (l *lineReader) stop(reason error) {
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	l.watch.cut(reason)
}

// close gives up what the reader holds. Nothing is read after it.
func (l *lineReader) close() {
	l.watch.end()
	l.release()
}
