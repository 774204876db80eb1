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

// join appends the lines of next, unless the batch would be too large.
func (b *lineBatch) join(next *lineBatch) bool {
	if len(b.sends)+len(next.sends) > manyLines || b.bytes+next.bytes > manyBytes {
		return false
	}
	b.sends = append(b.sends, next.sends...)
	b.bytes += next.bytes
	return true
}

func (b *lineBatch) isFull() bool { return len(b.sends) >= manyLines || b.bytes >= manyBytes }
