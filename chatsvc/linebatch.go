package chatsvc

// lineBatch is lines that are stored together.
type lineBatch struct {
	sends []*lineSend
	bytes int
}

// cut drops what comes behind the first line that may be stored later.
func (b *lineBatch) cut() {
	for i, send := range b.sends {
		if send.passes {
			b.sends = b.sends[:i+1]
			return
		}
	}
}

func (b *lineBatch) isFull() bool { return len(b.sends) >= manyLines || b.bytes >= manyBytes }

// isCut reports whether the last line of a batch is the last one that is answered.
func (m *manySend) isCut(b *lineBatch) bool {
	return m.ordered && len(b.sends) > 0 && b.sends[len(b.sends)-1].passes
}
