package sendtail

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/cli"
)

// executor is a target that runs a command for each message.
type executor struct {
	command string
	images  *images // nil: none are saved
	out     *cli.Output
}

var _ target = (*executor)(nil)

// handle implements target. An interrupt does not end the command: it returns when the
// command has ended by itself.
func (x *executor) handle(e chatclient.Event) error {
	file, err := x.images.save(e)
	if err != nil {
		return err
	}
	msg := e.Message
	cmd := exec.Command("sh", "-c", x.command) //nolint:gosec,noctx // it is the user's; no message is part of it
	cmd.Env = append(os.Environ(),
		"CHAT_OFFSET="+strconv.FormatUint(e.Offset, 10),
		"CHAT_EPOCH="+e.Epoch,
		"CHAT_TIMESTAMP="+strconv.FormatUint(msg.GetTimestamp(), 10),
		"CHAT_FROM="+strings.ReplaceAll(msg.GetFrom(), "\x00", `\x00`), // no variable can hold it
		"CHAT_TYPE="+msg.GetType().String(),
		"CHAT_FILE="+file,
	)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(msg.GetContent()), x.out.Stdout, x.out.Stderr
	setGroup(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("message %d: --exec %s: %w; tail ends before this message", e.Offset, x.command, err)
	}
	return nil
}

// flush implements target.
func (*executor) flush() error { return nil }

// isDone implements target.
func (*executor) isDone() bool { return true }
