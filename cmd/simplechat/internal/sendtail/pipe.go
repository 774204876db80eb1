package sendtail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/cmd/simplechat/internal/login"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	// pipeBytes is how much of standard input is read at a time, and pipeLines how many
	// lines are handed on at a time at most.
	pipeBytes = 1 << 20
	pipeLines = 4096
	// maxRefusals is how many refused lines are reported one by one.
	maxRefusals = 20
	// endTime is how long lines under way may take after an interrupt.
	endTime = 2 * time.Second
)

// pipe sends the lines of standard input, in their order.
type pipe struct {
	client  *chatclient.Client
	input   *bufio.Reader
	json    *bufio.Writer // nil: nothing is printed
	notices *notices
	timeout time.Duration

	number       int // of the line that was read last
	batches      chan batch
	readErr      error // why nothing more is read; it is set before batches is closed
	acknowledged int
	refused      int
}

// batch is lines that are sent together.
type batch struct {
	msgs    []*chatpb.ChatMessage
	numbers []int // of their lines
	bytes   int
}

func newPipe(c *SendCmd, client *chatclient.Client, input io.Reader, out *cli.Output, n *notices) *pipe {
	p := &pipe{
		client: client, input: bufio.NewReaderSize(input, pipeBytes),
		notices: n, timeout: c.Timeout, batches: make(chan batch),
	}
	if c.JSON {
		p.json = bufio.NewWriter(out.Stdout)
	}
	return p
}

// run sends until standard input ends or ctx is done.
func (p *pipe) run(ctx context.Context) error {
	go p.read()
	for {
		select {
		case b, ok := <-p.batches:
			if !ok {
				return p.end()
			}
			if err := p.send(ctx, b); err != nil {
				return err
			}
		case <-ctx.Done():
			return p.interrupted(0)
		}
	}
}

// read makes batches of the lines: all that can be read without waiting goes into one,
// so that a single line is sent at once.
func (p *pipe) read() {
	defer close(p.batches)
	for {
		var b batch
		for len(b.msgs) == 0 || len(b.msgs) < pipeLines && b.bytes < pipeBytes && p.hasLine() {
			line, err := p.readLine()
			if len(line) > 0 {
				b.msgs = append(b.msgs, &chatpb.ChatMessage{Content: line, Type: chatpb.ChatMessage_Text})
				b.numbers = append(b.numbers, p.number)
				b.bytes += len(line)
			}
			if err != nil {
				p.readErr = err
				break
			}
		}
		if len(b.msgs) > 0 {
			p.batches <- b
		}
		if p.readErr != nil {
			return
		}
	}
}

// hasLine reports whether a line can be read without waiting.
func (p *pipe) hasLine() bool {
	ready, _ := p.input.Peek(p.input.Buffered())
	return bytes.IndexByte(ready, '\n') >= 0
}

// readLine returns a copy of the next line without its end. Of a line that no server
// takes it keeps as much as makes the server refuse it.
func (p *pipe) readLine() (line []byte, err error) {
	p.number++
	for {
		part, err := p.input.ReadSlice('\n')
		if room := chatsvc.MaxContentCeiling + 1 - len(line); len(part) > room {
			part = part[:max(room, 0)]
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return trimEnd(line), err
		}
	}
}

// send sends a batch until each line is acknowledged or refused. It returns why nothing
// more is to be sent.
func (p *pipe) send(ctx context.Context, b batch) error {
	sending, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	idle := time.AfterFunc(p.timeout, func() { cancel(errNoAnswer) })
	defer idle.Stop()
	stop := context.AfterFunc(ctx, func() { idle.Reset(min(endTime, p.timeout)) })
	defer stop()
	done := 0
	err := p.client.SendAll(sending, b.msgs, func(i int, sent chatclient.Sent, err error) {
		done++
		if ctx.Err() == nil {
			idle.Reset(p.timeout)
		}
		p.outcome(b.numbers[i], sent, err)
	})
	if flushErr := p.flush(); flushErr != nil {
		return flushErr
	}
	switch {
	case ctx.Err() != nil:
		return p.interrupted(len(b.msgs) - done)
	case err != nil:
		return login.Explain(fmt.Errorf("line %d (%s before): %w", b.numbers[done], p.counts(), err))
	}
	return nil
}

// outcome tells what became of a line.
func (p *pipe) outcome(number int, sent chatclient.Sent, err error) {
	if err == nil {
		p.acknowledged++
	} else {
		p.refused++
		if p.refused <= maxRefusals {
			p.notices.tellf("line %d was refused: %v", number, err)
		}
	}
	if p.json == nil {
		return
	}
	line := newSentLine(number, sent)
	if err != nil {
		line = newRefusedLine(number, err)
	}
	_, _ = p.json.Write(appendJSON(p.json.AvailableBuffer(), line)) // flush tells
}

func (p *pipe) flush() error {
	if p.json == nil {
		return nil
	}
	return p.json.Flush()
}

// end returns what standard input came to.
func (p *pipe) end() error {
	switch {
	case !errors.Is(p.readErr, io.EOF):
		return fmt.Errorf("after %s: read standard input: %w", p.counts(), p.readErr)
	case p.refused > 0:
		return login.Exit(login.ExitRefused, fmt.Errorf("not all was sent: %s", p.counts()))
	}
	return nil
}

// interrupted returns what was done before the interrupt.
func (p *pipe) interrupted(unknown int) error {
	if unknown > 0 {
		return login.Exit(login.ExitUnknown, fmt.Errorf("interrupted: %s, and %d more may have been stored or not", p.counts(), unknown))
	}
	return login.Exit(login.ExitInterrupted, fmt.Errorf("interrupted: %s", p.counts()))
}

// counts says how many lines have an outcome.
func (p *pipe) counts() string {
	lines := "lines were"
	if p.acknowledged == 1 {
		lines = "line was"
	}
	text := fmt.Sprintf("%d %s acknowledged", p.acknowledged, lines)
	if p.refused > 0 {
		text += fmt.Sprintf(" and %d refused", p.refused)
	}
	return text
}
