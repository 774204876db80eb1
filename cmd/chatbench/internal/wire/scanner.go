package wire

// HeadBytes is the least number of bytes of a message's content that a [Scanner] passes
// on, if the content is that long. It is a multiple of 3, so that in base64 it ends at a
// boundary.
const HeadBytes = 24

// Scanner finds messages in the body of a stream, which may be cut into pieces anywhere.
type Scanner interface {
	// Scan takes the next piece, which it does not keep. It returns an error if the body
	// does not follow the protocol.
	Scan(to Sink, piece []byte) error
}

// Sink receives the messages that a [Scanner] finds.
type Sink interface {
	// Message takes the beginning of a message's content. It must not keep it.
	Message(content []byte)
	// Batch takes the end of a batch of messages.
	Batch()
	// End takes the end of the stream, with the server's reason.
	End(err error)
}

// NewScanner returns the scanner of a protocol's streams.
func NewScanner(protocol string) Scanner {
	d, ok := dialects[protocol]
	switch {
	case !ok:
		return wholeScanner{}
	case d.form == formLines:
		return &lineScanner{}
	case d.form == formJSON:
		return &envelopeScanner{inner: &jsonScanner{}}
	default:
		return &envelopeScanner{inner: &recordScanner{}}
	}
}

// wholeScanner is the scanner of protocols without batches: each piece is a message, and
// an empty one is a heartbeat.
type wholeScanner struct{}

// Scan implements [Scanner].
func (wholeScanner) Scan(to Sink, piece []byte) error {
	if len(piece) > 0 {
		to.Message(piece)
	}
	to.Batch()
	return nil
}
