package chatsvc

// lineBatch is lines that are stored together.
type lineBatch struct {
	sends []*lineSend
	bytes int
}

// cut drops all lines after the first one that may be stored later.
func (b *lineBatch) cut() {
	for i, send := range b.sends {
		if send.passes {
			b.sends = b.sends[:i+1]
			return
		}
	}
}

func (b *lineBatch) isFull() bool { return len(b.sends) >= manyLines || b.bytes >= manyBytes }
