package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	// roomyHeight is the height from which on there are lines that only look good.
	roomyHeight = 14
	// maxNoticeLines bounds a notice.
	maxNoticeLines = 3
)

// View implements [tea.Model].
func (m *Model) View() tea.View {
	var content string
	var cursor *tea.Cursor
	if m.inForm {
		content, cursor = m.form.view(m.options.Server, m.stateText(), m.width, m.height)
		content = fit(strings.Split(content, "\n"), m.width, m.height)
	} else {
		content, cursor = m.chatView()
	}
	v := tea.NewView(content)
	v.Cursor = cursor
	v.AltScreen = true
	v.ReportFocus = true
	v.MouseMode = tea.MouseModeCellMotion
	v.WindowTitle = "SimpleChat"
	if m.unread > 0 {
		v.WindowTitle = fmt.Sprintf("(%d) SimpleChat", m.unread)
	}
	return v
}

// chatView returns the screen with the conversation.
func (m *Model) chatView() (string, *tea.Cursor) {
	lines := []string{m.headerLine()}
	if m.isRoomy() {
		lines = append(lines, rule("", m.width, dim))
	}
	height := m.bodyHeight()
	lines = append(lines, m.body(height)...)
	lines = append(lines, m.dividerLine())
	lines = append(lines, m.noticeLines()...)
	inputAt := len(lines)
	lines = append(lines, strings.Split(m.composer.area.View(), "\n")...)
	if m.isRoomy() {
		lines = append(lines, dim.Render(ansi.Truncate("Enter sends · Alt+Enter new line · PgUp older · /image PATH · /help · /quit", m.width, "…")))
	}
	cursor := m.composer.area.Cursor()
	if cursor != nil {
		cursor.Y += inputAt
	}
	if m.help {
		cursor = nil
	}
	return fit(lines, m.width, m.height), cursor
}

func (m *Model) isRoomy() bool { return m.height >= roomyHeight }

// textWidth is the width of the conversation.
func (m *Model) textWidth() int { return max(m.width, 4) }

// bodyHeight is how many lines there are for the conversation.
func (m *Model) bodyHeight() int {
	used := 1 + 1 + m.composer.area.Height() + len(m.noticeLines())
	if m.isRoomy() {
		used += 2
	}
	return max(m.height-used, 1)
}

// body returns the lines of the conversation, or of the help.
func (m *Model) body(height int) []string {
	if m.help {
		lines := strings.Split(helpText, "\n")
		lines = lines[min(m.helpTop, len(lines)):]
		return pad(lines[:min(len(lines), height)], height)
	}
	lines, _ := m.visible(height)
	return append(m.space(height-len(lines)), lines...)
}

// space returns so many lines above the conversation.
func (m *Model) space(height int) []string {
	lines := make([]string, max(height, 0))
	if m.items() == 0 && m.window.epoch != "" {
		text := "no messages yet: write the first one"
		if !m.window.complete {
			text = "loading…"
		}
		lines[len(lines)/2] = center(dim.Render(ansi.Truncate(text, m.width, "…")), m.width)
	}
	return lines
}

// headerLine says who talks to which server, and how the connection is.
func (m *Model) headerLine() string {
	right := m.stateLine()
	free := m.width - ansi.StringWidth(right) - 1
	left := heading.Render("SimpleChat") + "  " + bold.Render(cleanLine(m.user, maxNameWidth)) + dim.Render(" at "+m.options.Server)
	if free < 14 {
		return ansi.Truncate(right, m.width, "…")
	}
	left = ansi.Truncate(left, free, "…")
	return left + strings.Repeat(" ", m.width-ansi.StringWidth(left)-ansi.StringWidth(right)) + right
}

// stateLine is the state of the connection with a sign.
func (m *Model) stateLine() string {
	text := ansi.Truncate(m.stateText(), max(m.width*2/3, 20), "…")
	switch {
	case m.state.connected:
		return good.Render("● " + text)
	case m.state.final:
		return failure.Render("✕ " + text)
	default:
		return warning.Render("○ " + text)
	}
}

// stateText is the state of the connection in words.
func (m *Model) stateText() string {
	s := m.state
	switch {
	case s.connected:
		return "connected"
	case s.final:
		return "refused: " + reason(s.err) + ", Ctrl+R tries again"
	case s.err == nil:
		return "connecting…"
	case m.now().Before(s.due):
		return fmt.Sprintf("reconnecting in %d s: %s", int(s.due.Sub(m.now()).Seconds())+1, reason(s.err))
	default:
		return "reconnecting…: " + reason(s.err)
	}
}

// dividerLine is the line above the input. It says what is below the screen.
func (m *Model) dividerLine() string {
	switch {
	case m.scroll.pinned:
		return rule("", m.width, dim)
	case m.unread > 0:
		return rule(fmt.Sprintf("↓ %d new · Esc", m.unread), m.width, unread)
	default:
		return rule("↓ newer messages · Esc", m.width, dim)
	}
}

// noticeLines are what there is to tell about the last command.
func (m *Model) noticeLines() []string {
	if m.notice.text == "" {
		return nil
	}
	style, sign := good, "✓ "
	if m.notice.failed {
		style, sign = failure, "! "
	}
	lines := wrap(sign+m.notice.text, m.width)
	return styled(lines[:min(len(lines), maxNoticeLines)], style)
}

// fit returns a screen of lines, whatever there is of it.
func fit(lines []string, width, height int) string {
	lines = lines[max(len(lines)-height, 0):]
	return lipgloss.NewStyle().MaxWidth(width).Render(strings.Join(lines, "\n"))
}

func pad(lines []string, height int) []string {
	for len(lines) < height {
		lines = append(lines, "")
	}
	return lines
}
