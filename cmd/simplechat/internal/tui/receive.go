package tui

import (
	"errors"

	tea "charm.land/bubbletea/v2"
	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chatclient"
)

// receive handles what has come for the session.
func (m *Model) receive(batch batchMsg) tea.Cmd {
	if batch.session != m.session {
		return nil // the user has logged in again
	}
	cmds := []tea.Cmd{m.session.receive}
	for _, event := range batch.events {
		switch event := event.(type) {
		case chatclient.Event:
			if event.Message == nil {
				m.opened(event)
			} else {
				m.arrived(event)
			}
		case interruption:
			m.state = state{err: event.err, due: event.due}
			cmds = append(cmds, m.tick())
		case history:
			m.newFrom = event.end
		case restarted:
			m.restarted = true
		case ended:
			m.ended(event.err)
			return nil
		}
	}
	m.outbox.arrived(&m.window)
	return tea.Batch(cmds...)
}

// opened notes that a stream is open.
func (m *Model) opened(e chatclient.Event) {
	m.state = state{connected: true}
	m.inForm, m.form.connecting, m.form.problem = false, false, ""
	switch {
	case e.Epoch != m.window.epoch || m.restarted:
		again := m.window.epoch != ""
		m.window.reset(e.Epoch, e.Offset)
		m.firstUnread, m.unread, m.loading, m.restarted = 0, 0, false, false
		if again {
			m.window.append(&entry{offset: e.Offset, note: "The server began a new conversation: the old messages are gone"})
		}
		m.pin()
	case m.window.atEnd() && e.Offset > m.window.next:
		m.window.append(&entry{offset: e.Offset, note: lostNote(e.Offset - m.window.next)})
		m.window.skip(e.Offset)
	default:
		m.window.end = max(m.window.end, e.Offset)
	}
}

func lostNote(n uint64) string {
	return plural(int(n), "message") + " came while you were away, and the server keeps them no longer"
}

// arrived adds a message to the conversation, if its newest part is in memory.
func (m *Model) arrived(event chatclient.Event) {
	w := &m.window
	if event.Epoch != w.epoch || event.Offset < w.end {
		return // it is in the window, or a page will bring it
	}
	e := newEntry(event.Offset, event.Message, m.session.name, m.zone)
	if !w.atEnd() {
		w.end = event.Offset + 1
		m.countUnread(e)
		return
	}
	m.countUnread(e)
	w.append(e)
	if m.scroll.pinned {
		m.scroll.index = len(w.entries) - 1
	}
	if m.scroll.index > len(w.entries)/2 {
		m.dropOldest()
	} else {
		w.dropNewest(m.scroll.index)
	}
}

// countUnread counts a message that comes while the user does not look at the newest ones.
func (m *Model) countUnread(e *entry) {
	if e.own || e.offset < m.newFrom || m.scroll.pinned && m.focused {
		return
	}
	if m.unread == 0 {
		m.firstUnread = e.offset
	}
	m.unread++
}

// noteReading notes that the user looks at the newest messages. The line above the first
// unread one stays until others come while the user is away.
func (m *Model) noteReading() {
	if m.focused && m.scroll.pinned {
		m.unread = 0
	}
}

// ended handles the end of the stream for good.
func (m *Model) ended(err error) {
	if m.ctx.Err() != nil {
		return
	}
	m.endSession()
	m.state = state{err: err, final: true}
	if connect.CodeOf(err) == connect.CodeUnauthenticated || m.inForm {
		m.inForm = true
		m.form.retry(refusal(err))
	}
}

// refusal returns why the server lets the user not in.
func refusal(err error) string {
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		return "The server does not know this name with this password."
	}
	return "The server refuses: " + reason(err)
}

// loadMore returns the command that reads messages that are about to be scrolled to.
func (m *Model) loadMore() tea.Cmd {
	w := &m.window
	if m.loading || m.session == nil || m.inForm || w.epoch == "" {
		return nil
	}
	nearby := 2 * m.bodyHeight()
	switch {
	case !w.complete && w.first > 1 && (m.wantsOlder || !m.scroll.pinned) && m.linesAbove(nearby) < nearby:
		m.loading = true
		from := uint64(1)
		if w.first > pageSize {
			from = w.first - pageSize
		}
		return m.session.read(w.epoch, from, w.first, false)
	case !w.atEnd() && m.linesBelow(nearby) < nearby:
		m.loading = true
		return m.session.read(w.epoch, w.next, min(w.next+pageSize, w.end), true)
	}
	return nil
}

// linesBelow returns how many lines of the window are below the screen, at most limit.
func (m *Model) linesBelow(limit int) int {
	n := m.scroll.skip
	for i := m.scroll.index + 1; i < m.items() && n < limit; i++ {
		n += len(m.linesOf(i))
	}
	return min(n, limit)
}

// insert adds a page to the window.
func (m *Model) insert(p pageMsg) {
	w := &m.window
	if p.session != m.session || p.epoch != w.epoch {
		return // another session loads its own
	}
	m.loading = false
	switch {
	case errors.Is(p.err, chatclient.ErrNewEpoch): // the stream will tell
	case p.err != nil:
		m.complain("other messages could not be read: " + reason(p.err))
		w.complete = true // do not ask for them again and again
	case p.newer:
		m.insertNewer(p)
	case p.until == w.first:
		m.insertOlder(p)
	}
}

func (m *Model) insertOlder(p pageMsg) {
	w := &m.window
	m.wantsOlder = false
	if len(p.records) == 0 {
		w.complete = true
		return
	}
	w.complete = p.first == 1 || p.first > p.from && !p.cut
	m.scroll.index += w.prepend(p.first, m.entriesOf(p))
	w.dropNewest(m.scroll.index)
}

func (m *Model) insertNewer(p pageMsg) {
	w := &m.window
	if p.first > w.next {
		w.append(&entry{offset: p.first, note: lostNote(p.first - w.next)})
		w.skip(p.first)
	}
	for _, e := range m.entriesOf(p) {
		if e.offset == w.next {
			w.append(e)
		}
	}
	m.dropOldest()
}

// entriesOf returns the entries of a page.
func (m *Model) entriesOf(p pageMsg) []*entry {
	entries := make([]*entry, len(p.records))
	for i, msg := range p.records {
		entries[i] = newEntry(p.first+uint64(i), msg, m.session.name, m.zone)
	}
	return entries
}

// dropOldest removes messages from the memory that are far above the screen.
func (m *Model) dropOldest() {
	m.scroll.index -= m.window.dropOldest(max(m.scroll.index-m.bodyHeight(), 0))
}

// jump shows the newest message.
func (m *Model) jump() tea.Cmd {
	w := &m.window
	if w.atEnd() {
		m.pin()
		return nil
	}
	from := w.end - min(w.end-1, openWith)
	end := w.end
	w.reset(w.epoch, from)
	w.end = end
	m.pin()
	if m.session == nil {
		return nil
	}
	m.loading = true
	return m.session.read(w.epoch, from, min(from+pageSize, end), true)
}
