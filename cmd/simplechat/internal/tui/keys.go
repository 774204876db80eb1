package tui

import (
	"fmt"
	"math"
	"strings"

	tea "charm.land/bubbletea/v2"

	"example.com/simplechat/chatsvc/visible"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// keyDown is bubbletea's name of a key.
const keyDown = "down"

// wheelLines is how far a step of the mouse wheel scrolls.
const wheelLines = 3

// press handles a key.
func (m *Model) press(msg tea.KeyPressMsg) tea.Cmd {
	name := msg.String()
	if m.quitting && name != "ctrl+c" {
		m.quitting, m.notice = false, noticeMsg{}
	}
	switch name {
	case "ctrl+c":
		return m.quit()
	case "ctrl+z":
		return tea.Suspend
	case "ctrl+l":
		return tea.ClearScreen
	}
	switch {
	case m.inForm:
		return m.pressInForm(msg)
	case m.help:
		m.pressInHelp(name)
		return nil
	case m.moved(name):
		return nil
	}
	switch name {
	case "enter":
		return m.submit()
	case "esc", "ctrl+end":
		m.notice = noticeMsg{}
		return m.jump()
	case "ctrl+r":
		return m.retry()
	case "up":
		if m.composer.older() {
			return nil
		}
	case keyDown:
		if m.composer.newer() {
			return nil
		}
	}
	return m.composer.update(msg)
}

// pressInHelp scrolls the help, or closes it.
func (m *Model) pressInHelp(key string) {
	switch key {
	case "up", "shift+up":
		m.scrollHelp(-1)
	case keyDown, "shift+down":
		m.scrollHelp(1)
	case "pgup":
		m.scrollHelp(-m.bodyHeight())
	case "pgdown":
		m.scrollHelp(m.bodyHeight())
	default:
		m.help = false
	}
}

// moved scrolls if a key says so.
func (m *Model) moved(key string) bool {
	page := max(m.bodyHeight()-2, 1)
	switch key {
	case "pgup":
		m.scrollUp(page)
	case "pgdown":
		m.scrollDown(page)
	case "shift+up":
		m.scrollUp(1)
	case "shift+down":
		m.scrollDown(1)
	case "ctrl+home":
		m.scrollUp(math.MaxInt32)
	default:
		return false
	}
	return true
}

func (m *Model) wheel(msg tea.MouseWheelMsg) {
	up := msg.Button == tea.MouseWheelUp
	switch {
	case m.inForm || !up && msg.Button != tea.MouseWheelDown:
	case m.help && up:
		m.scrollHelp(-wheelLines)
	case m.help:
		m.scrollHelp(wheelLines)
	case up:
		m.scrollUp(wheelLines)
	default:
		m.scrollDown(wheelLines)
	}
}

func (m *Model) pressInForm(msg tea.KeyPressMsg) tea.Cmd {
	if msg.String() == "esc" {
		if !m.form.connecting {
			return m.quit()
		}
		m.endSession()
		m.form.connecting = false
		return nil
	}
	submitted, cmd := m.form.update(msg)
	if submitted {
		return m.login()
	}
	return cmd
}

// paste handles pasted text.
func (m *Model) paste(msg tea.PasteMsg) tea.Cmd {
	if m.inForm {
		_, cmd := m.form.update(msg)
		return cmd
	}
	if err := m.composer.paste(msg.Content); err != nil {
		m.complain(err.Error())
	}
	return nil
}

// submit sends what is in the input, or runs it as a command.
func (m *Model) submit() tea.Cmd {
	text := m.composer.text()
	m.notice = noticeMsg{}
	switch {
	case strings.TrimSpace(text) == "":
		return nil
	case strings.HasPrefix(text, "//"):
		text = text[1:]
	case strings.HasPrefix(text, "/"):
		done, cmd := m.command(text)
		if done {
			m.composer.sent()
		}
		return cmd
	}
	if len(text) > maxContent {
		m.complain(fmt.Sprintf("the message has %s, and may have %s: send it in parts", visible.Size(len(text)), visible.Size(maxContent)))
		return nil
	}
	m.composer.sent()
	return m.send(&chatpb.ChatMessage{Type: chatpb.ChatMessage_Text, Content: []byte(text)})
}

func (m *Model) sendImage(content []byte) tea.Cmd {
	return m.send(&chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: content})
}

// send puts a message into the outbox, and shows the end of the conversation.
func (m *Model) send(msg *chatpb.ChatMessage) tea.Cmd {
	m.outbox.add(m.user, msg, m.now().In(m.zone))
	m.firstUnread, m.unread = 0, 0
	return tea.Batch(m.jump(), m.outbox.send(m.session))
}

// retry sends again what was refused, and connects again if that had failed for good.
func (m *Model) retry() tea.Cmd {
	m.outbox.retry(m.user)
	if m.session == nil && !m.inForm {
		return m.login()
	}
	return m.outbox.send(m.session)
}

// quit ends the program. Where messages are not sent yet, the user must say so twice.
func (m *Model) quit() tea.Cmd {
	if n := m.outbox.unsent(); n > 0 && !m.quitting {
		m.quitting = true
		m.complain(plural(n, "message") + " not sent yet: press Ctrl+C to quit all the same")
		return nil
	}
	return tea.Quit
}
