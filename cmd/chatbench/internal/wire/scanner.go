package wire

// HeadBytes is how much of a message's content a [Scanner] hands on at least, if
// the content has as much. It is a multiple of 3, so that in base64 it ends at a
// boundary.
const HeadBytes = 24

// Scanner finds messages in the body of a stream, however it is cut in pieces.
type Scanner interface {
	// Scan takes the next piece, which it does not keep. An error says that the
	// body is not of the protocol.
	Scan(to Sink, piece []byte) error
}

// Sink takes what a [Scanner] finds.
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

// wholeScanner is that of the protocols without batches: each piece is a message,
// and an empty one is a sign of life.
type wholeScanner struct{}

// Scan implements [Scanner].
func (wholeScanner) Scan(to Sink, piece []byte) error {
	if len(piece) > 0 {
		to.Message(piece)
	}
	to.Batch()
	return nil
}
