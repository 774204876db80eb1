package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"example.com/simplechat/chatsvc/visible"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	// groupTime is how long messages of one user follow each other under one name.
	groupTime = 5 * time.Minute
	// maxTextLines is how many lines of a message are shown. /save writes all of it.
	maxTextLines = 200
	// lastTime is the last millisecond of the year 9999: times beyond it are not shown.
	lastTime = 253402300799999
)

// entry is a message of the conversation, or a note between them.
type entry struct {
	offset uint64
	at     time.Time // zero: not shown
	from   string    // clean
	own    bool
	msg    *chatpb.ChatMessage
	note   string   // instead of a message
	status string   // below a message that is not sent yet
	failed bool     // the status is an error
	pic    *picture // of an image

	key   layout // that lines were made for
	lines []string
}

// layout is what the lines of an entry depend on.
type layout struct {
	width   int
	above   string // of the first message: what is above it
	colours bool
	day     bool // a new day begins
	grouped bool // the name stands above an earlier message
	unread  bool // it is the first unread message
	preview bool // the image is decoded
	status  string
}

// newEntry returns the entry of a message.
func newEntry(offset uint64, msg *chatpb.ChatMessage, name string, zone *time.Location) *entry {
	e := &entry{offset: offset, msg: msg, from: cleanLine(msg.GetFrom(), maxNameWidth)}
	e.own = msg.GetFrom() == name
	if ms := msg.GetTimestamp(); ms <= lastTime {
		e.at = time.UnixMilli(int64(ms)).In(zone)
	}
	if msg.GetType() == chatpb.ChatMessage_Image {
		e.pic = newPicture(msg.GetContent())
	}
	return e
}

// size returns about how much memory the entry takes, in bytes.
func (e *entry) size() int { return 512 + len(e.msg.GetContent()) + len(e.msg.GetFrom()) + len(e.note) }

// layoutAfter returns the entry's layout behind another one, which is nil for the first.
func (e *entry) layoutAfter(previous *entry, width int, colours bool, firstUnread uint64) layout {
	k := layout{width: width, colours: colours, status: e.status}
	k.preview = e.pic != nil && (e.pic.preview != nil || e.pic.broken)
	if e.note != "" {
		return k
	}
	k.unread = e.offset != 0 && e.offset == firstUnread
	switch {
	case previous == nil || previous.note != "":
		k.day = true
	default:
		k.day = !e.at.IsZero() && (previous.at.IsZero() || !sameDay(previous.at, e.at))
		apart := e.at.Sub(previous.at)
		k.grouped = !k.day && !k.unread && previous.from == e.from && previous.own == e.own &&
			apart > -groupTime && apart < groupTime
	}
	return k
}

func sameDay(a, b time.Time) bool {
	return a.YearDay() == b.YearDay() && a.Year() == b.Year()
}

// render returns the entry's lines for a layout. They are kept until another is asked for.
func (e *entry) render(k layout) []string {
	if e.lines != nil && e.key == k {
		return e.lines
	}
	e.key = k
	e.lines = e.lines[:0]
	if k.above != "" {
		e.lines = append(e.lines, center(dim.Render(ansi.Truncate(k.above, k.width, "…")), k.width))
	}
	if e.note != "" {
		e.lines = append(e.lines, "")
		for _, line := range wrap(e.note, k.width) {
			e.lines = append(e.lines, center(warning.Render(line), k.width))
		}
		return e.lines
	}
	if k.day && !e.at.IsZero() {
		e.lines = append(e.lines, "", rule(e.at.Format("Monday, 2 January 2006"), k.width, dim))
	}
	if k.unread {
		e.lines = append(e.lines, "", rule("new", k.width, unread))
	}
	if !k.grouped {
		e.lines = append(e.lines, "", e.align(e.header(), k.width))
	}
	e.lines = append(e.lines, e.alignBlock(e.body(k), k.width)...)
	if e.status != "" {
		style := dim
		if e.failed {
			style = failure
		}
		e.lines = append(e.lines, e.alignBlock(styled(wrap(e.status, e.bodyWidth(k.width)), style), k.width)...)
	}
	return e.lines
}

// header returns the line with the name and the time.
func (e *entry) header() string {
	clock := ""
	if !e.at.IsZero() {
		clock = dim.Render(e.at.Format("15:04"))
	}
	switch {
	case e.own:
		return strings.TrimSpace(clock + "  " + ownName.Render("you"))
	case e.from == "":
		return clock
	default:
		return nameStyle(e.from).Render(e.from) + "  " + clock
	}
}

// body returns the lines of the content.
func (e *entry) body(k layout) []string {
	width := e.bodyWidth(k.width)
	switch {
	case e.pic != nil:
		return e.image(width, k.colours)
	case e.msg.GetType() == chatpb.ChatMessage_Text:
		lines := e.text(width)
		if e.own {
			lines = styled(lines, ownText)
		}
		return lines
	case e.from == "" && len(e.msg.GetContent()) == 0:
		return styled(wrap("[a message that cannot be read, or was removed]", width), dim)
	default:
		return styled(wrap(fmt.Sprintf("[content of an unknown type, %s]", visible.Size(len(e.msg.GetContent()))), width), dim)
	}
}

// text returns the lines of a text, the first of them if there are too many.
func (e *entry) text(width int) []string {
	content := e.msg.GetContent()
	bound := maxTextLines * width * 4 // bytes, enough for so many lines of any script
	cut := len(content) > bound
	lines := wrap(cleanText(string(content[:min(bound, len(content))])), width)
	if len(lines) > maxTextLines {
		lines, cut = lines[:maxTextLines], true
	}
	if cut {
		more := fmt.Sprintf("[the text has %s: /save %d PATH writes all of it]", visible.Size(len(content)), e.offset)
		lines = append(lines, styled(wrap(more, width), dim)...)
	}
	return lines
}

// image returns the lines of an image: a description and, on a terminal with colours,
// the preview or the space for it.
func (e *entry) image(width int, colours bool) []string {
	about := "image"
	if e.pic.format != "" {
		about = fmt.Sprintf("image %d: %s, %d × %d", e.offset, strings.ToUpper(e.pic.format), e.pic.width, e.pic.height)
		if e.offset == 0 {
			about = "image" + about[len("image 0"):]
		}
	}
	lines := styled(wrap(fmt.Sprintf("[%s, %s]", about, visible.Size(len(e.msg.GetContent()))), width), dim)
	if !colours || e.pic.broken {
		return lines
	}
	w, h := e.pic.size(width)
	if e.pic.preview == nil {
		return append(lines, make([]string, h)...)
	}
	return append(lines, halfBlocks(e.pic.preview, w, h)...)
}

// bodyWidth returns how wide the content may be: on a wide screen there is a margin that
// shows whose message it is.
func (e *entry) bodyWidth(width int) int {
	return max(min(width-width/5, 100), min(width, 10))
}

// align puts a line where the user's messages are: one's own on the right.
func (e *entry) align(line string, width int) string {
	if !e.own {
		return line
	}
	return strings.Repeat(" ", max(width-ansi.StringWidth(line), 0)) + line
}

// alignBlock is align for lines that begin in the same column.
func (e *entry) alignBlock(lines []string, width int) []string {
	if !e.own {
		return lines
	}
	widest := 0
	for _, line := range lines {
		widest = max(widest, ansi.StringWidth(line))
	}
	margin := strings.Repeat(" ", max(width-widest, 0))
	aligned := make([]string, len(lines))
	for i, line := range lines {
		aligned[i] = margin + line
	}
	return aligned
}
