package wire

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

var (
	contentKey = []byte(`"content":`)
	linesError = []byte(`{"code":`)
)

// headBase64 is the length of HeadBytes in base64.
const headBase64 = HeadBytes / 3 * 4

// jsonScanner finds messages in the JSON form of ChatMessages.
type jsonScanner struct {
	rest []byte // the end of the last piece, where the head of a content may be cut
}

func (j *jsonScanner) piece(to Sink, p []byte, last bool) error {
	if len(j.rest) > 0 {
		j.rest = append(j.rest, p...)
		p = j.rest
	}
	p = scanJSON(to, p)
	if last {
		p = nil
	}
	j.rest = append(j.rest[:0], p...)
	return nil
}

// scanJSON finds the messages in p, and returns the end of p that must be scanned again
// together with the next piece.
func scanJSON(to Sink, p []byte) []byte {
	for {
		i := bytes.Index(p, contentKey)
		if i < 0 {
			return p[max(0, len(p)-len(contentKey)+1):]
		}
		value := p[i+len(contentKey):]
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:] // protojson writes a blank there at random
		}
		if len(value) < 1+headBase64 {
			return p[i:]
		}
		var content [HeadBytes]byte
		if _, err := base64.StdEncoding.Decode(content[:], value[1:1+headBase64]); err != nil {
			content[0] = 0 // not valid content
		}
		to.Message(content[:])
		p = value[1+headBase64:]
	}
}

// lineScanner finds messages in lines of JSON.
type lineScanner struct {
	json  jsonScanner
	begun []byte // the first bytes of the line
}

// Scan implements [Scanner].
func (l *lineScanner) Scan(to Sink, p []byte) error {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		if n := min(len(linesError)-len(l.begun), len(part)); n > 0 {
			l.begun = append(l.begun, part[:n]...)
		}
		if err := l.json.piece(to, part, end >= 0); err != nil {
			return err
		}
		if end < 0 {
			return nil
		}
		if bytes.Equal(l.begun, linesError) {
			to.End(fmt.Errorf("the server ended the stream: %s", part))
		} else {
			to.Batch()
		}
		l.begun = l.begun[:0]
		p = p[end+1:]
	}
	return nil
}
