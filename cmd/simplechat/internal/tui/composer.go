package tui

import (
	"fmt"
	"strings"
	"unicode"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/visible"
)

const (
	// maxContent is the largest message in bytes.
	maxContent = chatsvc.DefaultMaxContent
	// Longer pastes are shown as one word: an editor of this size is no place to look at them.
	maxPasteBytes, maxPasteLines = 4 << 10, 40
	// maxPast is how many messages the up key goes back over, and maxPastBytes what one of
	// them may have.
	maxPast, maxPastBytes = 100, 16 << 10
	// maxInputHeight is the highest input in lines.
	maxInputHeight = 6
)

// composer is where the user writes.
type composer struct {
	area   textarea.Model
	pastes map[string]string // a long paste by the word that stands for it
	pasted int               // how many there were
	past   []string          // what was sent, oldest first
	at     int               // the one that is shown; len(past): none
	draft  string            // what was written before the user looked at the past
}

func newComposer() composer {
	area := textarea.New()
	area.Placeholder = "Write a message"
	area.ShowLineNumbers = false
	area.SetPromptFunc(2, func(info textarea.PromptInfo) string {
		if info.LineNumber == 0 {
			return "> "
		}
		return "  "
	})
	area.SetVirtualCursor(false)
	area.DynamicHeight = true
	area.MinHeight, area.MaxHeight, area.MaxContentHeight = 1, maxInputHeight, 10_000
	area.EndOfBufferCharacter = ' '
	styles := textarea.Styles{
		Focused: textarea.StyleState{Placeholder: dim, Prompt: bold, EndOfBuffer: dim, Selection: plain.Reverse(true)},
		Blurred: textarea.StyleState{Placeholder: dim, Prompt: dim, EndOfBuffer: dim, Selection: plain.Reverse(true)},
	}
	styles.Cursor.Blink = true
	area.SetStyles(styles)
	area.KeyMap.InsertNewline = key.NewBinding(key.WithKeys("alt+enter", "shift+enter", "ctrl+j"))
	area.KeyMap.Paste.SetEnabled(false) // the terminal pastes; this would run a program
	area.KeyMap.CopySelection.SetEnabled(false)
	area.Focus()
	return composer{area: area, pastes: make(map[string]string)}
}

// resize fits the input into a screen.
func (c *composer) resize(width, height int) {
	c.area.MaxHeight = max(min(maxInputHeight, height/3), 1)
	c.area.SetWidth(width)
}

// update handles a key.
func (c *composer) update(msg tea.Msg) tea.Cmd {
	area, cmd := c.area.Update(msg)
	c.area = area
	if c.area.Value() == "" {
		clear(c.pastes)
	}
	return cmd
}

// paste inserts a text. It returns an error for the user if that is too long.
func (c *composer) paste(text string) error {
	if len(text) > maxContent {
		return fmt.Errorf("the pasted text has %s, and a message has at most %s: nothing was inserted", visible.Size(len(text)), visible.Size(maxContent))
	}
	text = strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n"), "\r", "\n")
	lines := strings.Count(text, "\n") + 1
	if len(text) <= maxPasteBytes && lines <= maxPasteLines {
		c.area.InsertString(strings.Map(typable, text)) // which removes control characters
		return nil
	}
	c.pasted++
	word := fmt.Sprintf("[paste %d: %s, %s]", c.pasted, plural(lines, "line"), visible.Size(len(text)))
	c.pastes[word] = text
	c.area.InsertString(word)
	return nil
}

// typable drops what nobody sees and nobody types, so that the input shows what it holds.
func typable(r rune) rune {
	if unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
		return -1
	}
	return r
}

// text returns what was written, with the long pastes.
func (c *composer) text() string {
	pairs := make([]string, 0, 2*len(c.pastes))
	for word, paste := range c.pastes {
		pairs = append(pairs, word, paste)
	}
	return strings.NewReplacer(pairs...).Replace(c.area.Value())
}

// sent empties the input, and keeps its text for the up key.
func (c *composer) sent() {
	text := c.area.Value()
	if len(c.pastes) == 0 && len(text) <= maxPastBytes && (len(c.past) == 0 || c.past[len(c.past)-1] != text) {
		c.past = append(c.past, text)
		c.past = c.past[max(len(c.past)-maxPast, 0):]
	}
	c.at, c.draft = len(c.past), ""
	c.set("")
	clear(c.pastes)
}

func (c *composer) set(text string) {
	c.area.SetValue(text)
	c.area.MoveToEnd()
}

// older shows the message that was sent before the one that is shown. It returns false if
// the cursor is not in the first line, or there is none.
func (c *composer) older() bool {
	if c.area.Line() > 0 || c.area.LineInfo().RowOffset > 0 || c.at == 0 || len(c.pastes) > 0 {
		return false
	}
	if c.at == len(c.past) {
		c.draft = c.area.Value()
	}
	c.at--
	c.set(c.past[c.at])
	return true
}

// newer is older in the other direction: at the end is what the user was writing.
func (c *composer) newer() bool {
	info := c.area.LineInfo()
	if c.area.Line() < c.area.LineCount()-1 || info.RowOffset < info.Height-1 || c.at == len(c.past) || len(c.pastes) > 0 {
		return false
	}
	c.at++
	if c.at == len(c.past) {
		c.set(c.draft)
	} else {
		c.set(c.past[c.at])
	}
	return true
}
