package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

var (
	contentKey = []byte(`"content":`)
	linesError = []byte(`{"code":`)
)

// stampBase64 is the stamp's length in base64.
const stampBase64 = stampBytes / 3 * 4

// jsonScanner finds messages in the JSON form of ChatMessages.
type jsonScanner struct {
	rest []byte // the end of the last piece, where a stamp may be cut
}

func (j *jsonScanner) piece(s *subscriber, p []byte, last bool) error {
	if len(j.rest) > 0 {
		j.rest = append(j.rest, p...)
		p = j.rest
	}
	p = scanJSON(s, p)
	if last {
		p = nil
	}
	j.rest = append(j.rest[:0], p...)
	return nil
}

// scanJSON looks at the messages in p, and returns the end of it that is to be
// seen again with what follows.
func scanJSON(s *subscriber, p []byte) []byte {
	for {
		i := bytes.Index(p, contentKey)
		if i < 0 {
			return p[max(0, len(p)-len(contentKey)+1):]
		}
		value := p[i+len(contentKey):]
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:] // protojson puts a blank there, or not
		}
		if len(value) < 1+stampBase64 {
			return p[i:]
		}
		var content [stampBytes]byte
		if _, err := base64.StdEncoding.Decode(content[:], value[1:1+stampBase64]); err != nil {
			content[0] = 0 // foreign: shorter than a stamp
		}
		s.message(content[:])
		p = value[1+stampBase64:]
	}
}

// lineScanner finds messages in lines of JSON.
type lineScanner struct {
	json  jsonScanner
	begun []byte // the first bytes of the line
}

func (l *lineScanner) scan(s *subscriber, p []byte) error {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		if n := min(len(linesError)-len(l.begun), len(part)); n > 0 {
			l.begun = append(l.begun, part[:n]...)
		}
		if err := l.json.piece(s, part, end >= 0); err != nil {
			return err
		}
		if end < 0 {
			return nil
		}
		if bytes.Equal(l.begun, linesError) {
			s.end(fmt.Errorf("the server ended the stream: %s", part))
		} else {
			s.batch()
		}
		l.begun = l.begun[:0]
		p = p[end+1:]
	}
	return nil
}
