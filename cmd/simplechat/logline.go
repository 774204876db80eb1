package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// maxLine is the longest line of an export in bytes. Base64 has 4 characters for 3
// bytes, and a name may be escaped.
const maxLine = 2*chatsvc.MaxContentCeiling + 1<<20

// exportLine is a line of an export: a message or, with Next, the end.
type exportLine struct {
	Offset  uint64          `json:"offset,omitempty"`
	Epoch   string          `json:"epoch"`
	Stored  *time.Time      `json:"stored,omitempty"`
	Message json.RawMessage `json:"message,omitempty"` // protobuf's JSON of a ChatMessage

	// The last line shows that the export is complete.
	Next     uint64 `json:"next,omitempty"`
	Messages uint64 `json:"messages,omitempty"` // number of messages in the export
}

// newExportLine returns the line of an entry.
func newExportLine(epoch string, e chatsvc.Entry) (exportLine, error) {
	var record chatpb.ChatMessages
	err := proto.Unmarshal(e.Record, &record)
	if err == nil && len(record.GetMessages()) != 1 {
		err = errors.New("the record is not one message")
	}
	if err != nil {
		return exportLine{}, fmt.Errorf("offset %d: %w", e.Offset, err)
	}
	message, err := protojson.Marshal(record.GetMessages()[0])
	if err != nil {
		return exportLine{}, fmt.Errorf("offset %d: %w", e.Offset, err)
	}
	var text bytes.Buffer // protojson's white space differs from run to run
	if err := json.Compact(&text, message); err != nil {
		return exportLine{}, fmt.Errorf("offset %d: %w", e.Offset, err)
	}
	stored := e.Time.UTC()
	return exportLine{Offset: e.Offset, Epoch: epoch, Stored: &stored, Message: text.Bytes()}, nil
}

// exportReader reads an export and checks it.
type exportReader struct {
	lines    *bufio.Scanner
	number   int    // number of the current line
	epoch    string // epoch of the first line
	next     uint64 // the lowest offset that may follow
	messages uint64
	end      uint64 // the next offset, once the end was read
}

func newExportReader(r io.Reader) *exportReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	return &exportReader{lines: lines, next: 1}
}

// read returns the next message, or [io.EOF] after the last one of a complete export.
func (r *exportReader) read() (chatsvc.Entry, error) {
	entry, err := r.readLine()
	if err != nil && !errors.Is(err, io.EOF) {
		return chatsvc.Entry{}, fmt.Errorf("line %d: %w", r.number, err)
	}
	return entry, err
}

func (r *exportReader) readLine() (chatsvc.Entry, error) {
	r.number++
	if !r.lines.Scan() {
		switch err := r.lines.Err(); {
		case err != nil:
			return chatsvc.Entry{}, err
		case r.end == 0:
			return chatsvc.Entry{}, errors.New("the export is cut: its last line, which has \"next\", is missing")
		}
		return chatsvc.Entry{}, io.EOF
	}
	var line exportLine
	if err := decodeStrictly(r.lines.Bytes(), &line); err != nil {
		return chatsvc.Entry{}, err
	}
	if r.epoch == "" {
		r.epoch = line.Epoch
	}
	switch {
	case r.end != 0:
		return chatsvc.Entry{}, errors.New("a line follows the last one")
	case !isEpoch(line.Epoch):
		return chatsvc.Entry{}, fmt.Errorf("epoch %q: it must have 1 to 128 visible ASCII characters", line.Epoch)
	case line.Epoch != r.epoch:
		return chatsvc.Entry{}, fmt.Errorf("epoch %s follows epoch %s: an export has one epoch", line.Epoch, r.epoch)
	case line.Next != 0:
		if err := r.readEnd(line); err != nil {
			return chatsvc.Entry{}, err
		}
		return r.readLine() // it must be the last
	}
	return r.entry(line)
}

// readEnd checks the last line.
func (r *exportReader) readEnd(line exportLine) error {
	switch {
	case line.Offset != 0 || line.Stored != nil || line.Message != nil:
		return errors.New("the line has \"next\" like the last line, and \"offset\" like a message")
	case line.Next < r.next || line.Next>>63 != 0:
		return fmt.Errorf("next is %d: it must be at least %d, and below 2^63", line.Next, r.next)
	case line.Messages != r.messages:
		return fmt.Errorf("there are %d messages before it, but it says %d: some are missing", r.messages, line.Messages)
	}
	r.end = line.Next
	return nil
}

// entry returns the message of a line.
func (r *exportReader) entry(line exportLine) (chatsvc.Entry, error) {
	switch {
	case line.Offset < r.next || line.Offset >= 1<<63-1:
		return chatsvc.Entry{}, fmt.Errorf("offset %d: it must be at least %d, and below 2^63 - 1", line.Offset, r.next)
	case line.Stored == nil || line.Message == nil || line.Messages != 0:
		return chatsvc.Entry{}, errors.New("a message has \"offset\", \"epoch\", \"stored\" and \"message\"")
	}
	var message chatpb.ChatMessage
	if err := protojson.Unmarshal(line.Message, &message); err != nil {
		return chatsvc.Entry{}, fmt.Errorf("message: %w", err)
	}
	data, err := proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{&message}})
	if err != nil {
		return chatsvc.Entry{}, err
	}
	r.next = line.Offset + 1
	r.messages++
	return chatsvc.Entry{Offset: line.Offset, Time: *line.Stored, Record: data}, nil
}

// decodeStrictly decodes one JSON value. It fails for fields that v does not have.
func decodeStrictly(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); errors.Is(err, io.EOF) {
		return errors.New("the line is empty")
	} else if err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// isEpoch reports whether a text can be an epoch.
func isEpoch(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(text) >= 1 && len(text) <= 128
}
