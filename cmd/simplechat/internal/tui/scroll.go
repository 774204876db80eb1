package tui

import "slices"

// item returns an entry of the conversation as it is shown: first the messages of the
// window, then what is not sent yet.
func (m *Model) item(i int) *entry {
	if i < len(m.window.entries) {
		return m.window.entries[i]
	}
	return m.outbox.entries[i-len(m.window.entries)]
}

// items returns how many there are.
func (m *Model) items() int {
	n := len(m.window.entries)
	if m.window.atEnd() {
		n += len(m.outbox.entries)
	}
	return n
}

// linesOf returns the lines of an item.
func (m *Model) linesOf(i int) []string {
	var previous *entry
	if i > 0 {
		previous = m.item(i - 1)
	}
	e := m.item(i)
	k := e.layoutAfter(previous, m.textWidth(), m.colours, m.firstUnread)
	switch {
	case i > 0:
	case m.window.complete:
		k.above = "the beginning of the conversation"
	default:
		k.above = "older messages"
	}
	return e.render(k)
}

// scroll is which part of the conversation is on the screen: the last line is that of item
// index which has skip lines below it. A screen that is pinned shows the newest message.
type scroll struct {
	pinned bool
	index  int
	skip   int
}

// pin moves to the newest message that is in memory.
func (m *Model) pin() { m.scroll = scroll{pinned: true, index: max(m.items()-1, 0)} }

// settle moves the screen to where lines are: after a change of the conversation, or of the
// size of the terminal.
func (m *Model) settle() {
	if m.scroll.pinned || m.items() == 0 {
		m.pin()
		return
	}
	m.scroll.index = min(m.scroll.index, m.items()-1)
	m.scroll.skip = min(m.scroll.skip, max(len(m.linesOf(m.scroll.index))-1, 0))
	m.scrollDown(m.bodyHeight() - m.linesAbove(m.bodyHeight()))
}

// linesAbove returns how many lines there are from the first one to the last one on the
// screen, at most limit.
func (m *Model) linesAbove(limit int) int {
	n := -m.scroll.skip
	for i := m.scroll.index; i >= 0 && n < limit; i-- {
		n += len(m.linesOf(i))
	}
	return min(n, limit)
}

// scrollUp shows older lines.
func (m *Model) scrollUp(lines int) {
	if m.items() == 0 {
		return
	}
	m.scroll.pinned, m.wantsOlder = false, true
	m.scroll.skip += lines
	for m.scroll.index > 0 && m.scroll.skip >= len(m.linesOf(m.scroll.index)) {
		m.scroll.skip -= len(m.linesOf(m.scroll.index))
		m.scroll.index--
	}
	m.settle()
}

// scrollDown shows newer lines.
func (m *Model) scrollDown(lines int) {
	if lines <= 0 || m.items() == 0 {
		return
	}
	m.scroll.skip -= lines
	for m.scroll.skip < 0 && m.scroll.index < m.items()-1 {
		m.scroll.index++
		m.scroll.skip += len(m.linesOf(m.scroll.index))
	}
	if m.scroll.skip <= 0 && m.scroll.index >= m.items()-1 {
		m.scroll.skip = 0
		m.scroll.pinned = m.window.atEnd()
	}
}

// visible returns the lines on the screen, at most height, and the items that they are of.
func (m *Model) visible(height int) (lines []string, shown []*entry) {
	if m.items() == 0 {
		return nil, nil
	}
	hidden := m.scroll.skip
	parts := make([][]string, 0, height)
	count := 0
	for i := m.scroll.index; i >= 0 && count < height; i-- {
		part := m.linesOf(i)
		part = part[:max(len(part)-hidden, 0)]
		hidden = 0
		parts = append(parts, part)
		shown = append(shown, m.item(i))
		count += len(part)
	}
	for _, part := range slices.Backward(parts) {
		lines = append(lines, part...)
	}
	return lines[max(len(lines)-height, 0):], shown
}
