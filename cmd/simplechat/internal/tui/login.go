package tui

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	// formWidth is the width of the login form in cells, where the terminal has as many.
	formWidth = 46
	// labelWidth is that of the labels in it.
	labelWidth = 10
	// maxFieldRunes bounds a name and a password.
	maxFieldRunes = 1024
)

// form asks for a user's name and password.
type form struct {
	name, password textinput.Model
	problem        string // why there is a form again
	connecting     bool   // it was submitted, and there is no answer yet
}

func newForm(name, password string) form {
	field := func(value string) textinput.Model {
		input := textinput.New()
		input.Prompt = ""
		input.CharLimit = maxFieldRunes
		input.SetVirtualCursor(false)
		input.SetStyles(textinput.Styles{Cursor: textinput.CursorStyle{Blink: true}})
		input.KeyMap.Paste.SetEnabled(false) // the terminal pastes; this would run a program
		input.SetValue(value)
		return input
	}
	f := form{name: field(name), password: field(password)}
	f.password.EchoMode = textinput.EchoPassword
	f.password.EchoCharacter = '•'
	f.focus(name != "")
	return f
}

// focus moves the cursor to one of the fields.
func (f *form) focus(password bool) {
	if password {
		f.name.Blur()
		f.password.Focus()
		return
	}
	f.password.Blur()
	f.name.Focus()
}

// retry shows the form again after a problem. The password must be typed again.
func (f *form) retry(problem string) {
	f.problem, f.connecting = problem, false
	f.password.Reset()
	f.focus(f.name.Value() != "")
}

// update handles a key. It reports whether the form is complete and was submitted.
func (f *form) update(msg tea.Msg) (submitted bool, _ tea.Cmd) {
	if pressed, ok := msg.(tea.KeyPressMsg); ok {
		switch pressed.String() {
		case "tab", "shift+tab", "up", keyDown:
			f.focus(f.name.Focused())
			return false, nil
		case "enter":
			if f.name.Focused() && f.password.Value() == "" {
				f.focus(f.name.Value() != "")
				return false, nil
			}
			return f.name.Value() != "", nil
		}
	}
	var nameCmd, passwordCmd tea.Cmd
	f.name, nameCmd = f.name.Update(msg)
	f.password, passwordCmd = f.password.Update(msg)
	return false, tea.Batch(nameCmd, passwordCmd)
}

// view returns the form for a screen, and where the cursor is on it.
func (f *form) view(server, state string, width, height int) (string, *tea.Cursor) {
	framed := width >= formWidth && height >= 13
	inner := formWidth - 6
	if !framed {
		inner = width
	}
	f.name.SetWidth(max(inner-labelWidth-1, 1))
	f.password.SetWidth(max(inner-labelWidth-1, 1))
	lines := []string{heading.Render("SimpleChat"), dim.Render(ansi.Truncate(server, inner, "…")), ""}
	nameLine := len(lines)
	lines = append(lines, "User      "+f.name.View(), "Password  "+f.password.View(), "")
	switch {
	case f.connecting:
		lines = append(lines, styled(wrap(state, inner), warning)...)
	case f.problem != "":
		lines = append(lines, styled(wrap(f.problem, inner), failure)...)
	default:
		lines = append(lines, "")
	}
	lines = append(lines, "", dim.Render(ansi.Truncate("Enter: log in   Tab: next field   Esc: quit", inner, "…")))
	cursor := f.name.Cursor()
	if f.password.Focused() {
		cursor = f.password.Cursor()
		nameLine++
	}
	block := strings.Join(lines, "\n")
	x, y := labelWidth, nameLine
	if framed {
		block = plain.Border(lipgloss.RoundedBorder()).BorderForeground(lipgloss.BrightBlack).Padding(1, 2).Width(formWidth).Render(block)
		left, top := (width-lipgloss.Width(block))/2, (height-lipgloss.Height(block))/2
		block = plain.MarginLeft(max(left, 0)).MarginTop(max(top, 0)).Render(block)
		x, y = x+max(left, 0)+3, y+max(top, 0)+2
	}
	if cursor != nil {
		cursor.X += x
		cursor.Y += y
	}
	return block, cursor
}
