package tui

import (
	"context"
	"image"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"example.com/simplechat/chatsvc/chatclient"
)

// Model is the program's state, for bubbletea. It is used by one goroutine.
type Model struct {
	ctx     context.Context //nolint:containedctx // the program is what it bounds
	options Options
	zone    *time.Location
	now     func() time.Time

	width, height int
	colours       bool
	focused       bool
	help          bool // the help covers the conversation
	helpTop       int  // its first line on the screen
	notice        noticeMsg
	quitting      bool // the user was warned that messages are not sent

	form        form
	inForm      bool
	session     *session // nil: nobody is logged in
	user        string   // the name of the last session
	state       state
	window      window
	scroll      scroll
	loading     bool // a page is on its way
	wantsOlder  bool // the user has scrolled up, if only a little
	restarted   bool // the next messages are of another log
	ticking     bool // a tickMsg is on its way
	outbox      outbox
	composer    composer
	firstUnread uint64 // the message below the line; 0: none
	newFrom     uint64 // the first message that is not history
	unread      int    // messages that came while the user was away
	decoding    *entry // the image that is being decoded
}

// state is that of the connection.
type state struct {
	connected bool
	err       error     // why it is not
	due       time.Time // of the next attempt; zero: there will be none, or it is under way
	final     bool      // there is no next attempt
}

// newModel returns the state of a program that begins.
func newModel(ctx context.Context, o Options) *Model {
	o.Server = cleanLine(o.Server, maxReasonWidth)
	return &Model{
		ctx: ctx, options: o, zone: time.Local, now: time.Now, //nolint:gosmopolitan // the user's own clock
		width: 80, height: 24, focused: true, colours: true,
		form: newForm(o.Name, o.Password), inForm: true, composer: newComposer(), scroll: scroll{pinned: true},
	}
}

// tickMsg makes a countdown continue.
type tickMsg struct{}

// previewMsg is an image that was decoded.
type previewMsg struct {
	entry   *entry
	preview *image.NRGBA
}

// Init implements [tea.Model].
func (m *Model) Init() tea.Cmd {
	if m.options.Name != "" && m.options.Password != "" {
		return m.login()
	}
	return nil
}

// Update implements [tea.Model].
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.handle(msg)
	m.settle()
	m.noteReading()
	return m, tea.Batch(cmd, m.loadMore(), m.decodeNext())
}

func (m *Model) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 1), max(msg.Height, 1)
		m.composer.resize(m.width, m.height)
	case tea.ColorProfileMsg:
		m.colours = msg.Profile > colorprofile.ASCII
	case tea.FocusMsg:
		m.focused = true
	case tea.BlurMsg:
		m.focused = false
	case tea.MouseWheelMsg:
		m.wheel(msg)
	case tea.KeyPressMsg:
		return m.press(msg)
	case tea.PasteMsg:
		return m.paste(msg)
	case batchMsg:
		return m.receive(msg)
	case pageMsg:
		m.insert(msg)
	case sentMsg:
		m.outbox.sent(msg)
		m.outbox.arrived(&m.window)
		if m.quitting && m.outbox.unsent() == 0 {
			m.quitting, m.notice = false, noticeMsg{}
		}
		return m.outbox.send(m.session)
	case previewMsg:
		m.decoding = nil
		msg.entry.pic.preview = msg.preview
		msg.entry.pic.broken = msg.preview == nil
	case noticeMsg:
		m.notice = msg
	case imageMsg:
		return m.sendImage(msg.content)
	case tickMsg:
		m.ticking = false
		return m.tick()
	}
	return nil
}

// login starts a session with what the form holds.
func (m *Model) login() tea.Cmd {
	m.endSession()
	name := m.form.name.Value()
	session, err := newSession(m.ctx, m.options.Login, name, m.form.password.Value())
	if err != nil {
		m.form.retry(reason(err))
		return nil
	}
	from := chatclient.At(m.window.epoch, m.window.end)
	if name != m.user || m.window.epoch == "" {
		m.window, from = window{}, chatclient.Last(openWith)
	}
	m.user, m.session, m.state, m.loading = name, session, state{}, false
	m.form.connecting = true
	m.outbox.login(name)
	return tea.Batch(session.run(from), session.receive, m.outbox.send(session))
}

// endSession ends what the session does. The conversation stays on the screen.
func (m *Model) endSession() {
	if m.session != nil {
		m.session.cancel()
		m.session = nil
	}
}

// tick returns the command that comes back in a second, while there is a countdown.
func (m *Model) tick() tea.Cmd {
	if m.ticking || m.state.due.IsZero() || m.now().After(m.state.due) {
		return nil
	}
	m.ticking = true
	return tea.Tick(time.Second, func(time.Time) tea.Msg { return tickMsg{} })
}

// decodeNext returns the command that decodes an image that is on the screen, one at a time.
func (m *Model) decodeNext() tea.Cmd {
	if m.decoding != nil || !m.colours || m.inForm {
		return nil
	}
	_, shown := m.visible(m.bodyHeight())
	for _, e := range shown {
		if e.pic == nil || e.pic.preview != nil || e.pic.broken {
			continue
		}
		m.decoding = e
		return func() tea.Msg {
			preview, _ := decodePreview(e.msg.GetContent()) // an image that is broken has no preview
			return previewMsg{e, preview}
		}
	}
	return nil
}

// say and complain show a notice until the user sends something or presses Esc.
func (m *Model) say(text string)      { m.notice = noticeMsg{text: text} }
func (m *Model) complain(text string) { m.notice = noticeMsg{text: text, failed: true} }
