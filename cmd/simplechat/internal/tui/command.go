package tui

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"example.com/simplechat/chatsvc/visible"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// noticeMsg is the outcome of a command, for the user.
type noticeMsg struct {
	text   string
	failed bool
}

// imageMsg is an image file that was read, to be sent.
type imageMsg struct{ content []byte }

// command runs a line that begins with a slash. It returns false if it is left in the input
// because there is something wrong with it.
func (m *Model) command(line string) (done bool, _ tea.Cmd) {
	name, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
	argument = strings.TrimSpace(argument)
	switch name {
	case "/quit", "/exit", "/q":
		return true, m.quit()
	case "/help", "/?":
		m.help, m.helpTop = true, 0
	case "/image":
		if argument == "" {
			m.complain("name the file: /image PATH")
			return false, nil
		}
		return true, readImage(argument)
	case "/save":
		return m.save(argument)
	case "/retry":
		return true, m.retry()
	case "/drop":
		m.say(plural(m.outbox.drop(), "message") + " removed")
	default:
		m.complain(fmt.Sprintf("there is no command %s: /help lists them. A text that begins with a slash is sent with two: //", cleanLine(name, 40)))
		return false, nil
	}
	return true, nil
}

// readImage returns the command that reads an image file.
func readImage(path string) tea.Cmd {
	return func() tea.Msg {
		content, err := loadImage(expand(path))
		if err != nil {
			return noticeMsg{fmt.Sprintf("%s: %s", cleanLine(path, 100), cleanLine(err.Error(), 200)), true}
		}
		return imageMsg{content}
	}
}

// loadImage reads an image that can be sent.
func loadImage(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, errors.Unwrap(err) // without the path
	case !info.Mode().IsRegular(): // a pipe would wait for ever
		return nil, errors.New("it is not a file")
	case info.Size() > maxContent:
		return nil, fmt.Errorf("it has %s, and a message at most %s: make it smaller first", visible.Size(int(info.Size())), visible.Size(maxContent))
	}
	file, err := os.Open(path) //nolint:gosec // the user has named it
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, maxContent))
	if err != nil {
		return nil, err
	}
	return content, checkImage(content)
}

// save handles "/save [N] [PATH]".
func (m *Model) save(argument string) (done bool, _ tea.Cmd) {
	first, path, _ := strings.Cut(argument, " ")
	e := m.window.lastImage()
	if n, err := strconv.ParseUint(first, 10, 64); err == nil {
		e = m.window.find(n)
	} else {
		path = argument
	}
	switch {
	case e == nil && argument == "":
		m.complain("there is no image on this page: scroll to one first")
		return false, nil
	case e == nil:
		m.complain("there is no such image here: scroll to it, its number stands above it")
		return false, nil
	case e.msg == nil || len(e.msg.GetContent()) == 0:
		m.complain("that message has no content")
		return false, nil
	}
	if path = strings.TrimSpace(path); path == "" {
		path = fmt.Sprintf("message-%d.txt", e.offset)
		if e.pic != nil {
			path = fmt.Sprintf("image-%d.%s", e.offset, e.pic.extension())
		}
	}
	return true, writeMessage(expand(path), e.msg)
}

// writeMessage returns the command that writes a message's content to a new file.
func writeMessage(path string, msg *chatpb.ChatMessage) tea.Cmd {
	return func() tea.Msg {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user has named it
		if err == nil {
			_, err = file.Write(msg.GetContent())
			if err = errors.Join(err, file.Close()); err != nil {
				_ = os.Remove(path) // a part of an image is none
			}
		}
		name := cleanLine(path, 100)
		switch {
		case errors.Is(err, os.ErrExist):
			return noticeMsg{name + " exists: /save N PATH writes to another file", true}
		case err != nil:
			return noticeMsg{"not saved: " + cleanLine(err.Error(), 200), true}
		}
		return noticeMsg{text: fmt.Sprintf("saved %s (%s)", name, visible.Size(len(msg.GetContent())))}
	}
}

// expand returns the path that a shell would make of one that a user types: without quotes,
// and with the home directory for ~.
func expand(path string) string {
	if n := len(path); n >= 2 && path[0] == path[n-1] && (path[0] == '\'' || path[0] == '"') {
		path = path[1 : n-1]
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// scrollHelp moves the help on a screen that is too small for it.
func (m *Model) scrollHelp(lines int) {
	most := max(strings.Count(helpText, "\n")+1-m.bodyHeight(), 0)
	m.helpTop = min(max(m.helpTop+lines, 0), most)
}

const helpText = `
Enter              send
Alt+Enter, Ctrl+J  new line
Up, Down           at the edge of the input: what you sent before
PgUp, PgDn, wheel  older and newer messages
Shift+Up, +Down    one line
Ctrl+Home          the oldest message in memory
Ctrl+End, Esc      the newest message
Ctrl+R             send again what was not sent
Ctrl+L             draw the screen again
Ctrl+C             quit

/image PATH        send a PNG, JPEG, GIF or WebP file
/save [N] [PATH]   write the last image, or message N, to a file
/retry  /drop      send again, or remove, what was not sent
/quit              quit
//text             send /text

Hold Shift to select text with the mouse. Any key closes this.`
