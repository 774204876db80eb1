package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

type pipeCmd struct {
	serverFlags

	Connections int           `group:"load" short:"c" default:"4" placeholder:"N" help:"Requests, each on a connection of its own (${default})."`
	Window      int           `group:"load" short:"w" default:"2048" placeholder:"N" help:"Messages in flight on each (${default}, at least 64)."`
	Size        int           `group:"load" default:"100" placeholder:"BYTES" help:"Content of a message (${default})."`
	Warmup      time.Duration `group:"load" default:"1s" placeholder:"DURATION" help:"Load that is not measured (${default})."`
	Duration    time.Duration `group:"load" short:"d" default:"5s" placeholder:"DURATION" help:"Load that is measured (${default})."`
}

// pipeLines is how many lines are written at a time.
const pipeLines = 64

// Validate implements kong's hook.
func (c *pipeCmd) Validate() error {
	if c.Connections < 1 || c.Window < pipeLines || c.Size < 0 || c.Warmup < 0 || c.Duration <= 0 {
		return fmt.Errorf("--connections and --duration must be positive, --window at least %d, --size and --warmup not negative", pipeLines)
	}
	return nil
}

// Run sends lines on all connections, and prints how many were stored in a second. It
// fails if a line was refused or answered out of order.
func (c *pipeCmd) Run(ctx context.Context, out *cli.Output) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pipes := make([]*pipe, c.Connections)
	errs := make(chan error, c.Connections)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range pipes {
		p, err := c.open(ctx)
		if err != nil {
			return err
		}
		defer p.conn.Close() //nolint:errcheck // an error would come too late to matter
		pipes[i] = p
	}
	for _, p := range pipes {
		wg.Go(p.write)
		wg.Go(func() { errs <- p.read() })
	}
	stored := func() (n int64) {
		for _, p := range pipes {
			n += p.stored.Load()
		}
		return n
	}
	if err := waitFor(ctx, c.Warmup, errs); err != nil {
		return err
	}
	before, since := stored(), time.Now()
	if err := waitFor(ctx, c.Duration, errs); err != nil {
		return err
	}
	count, seconds := stored()-before, time.Since(since).Seconds()
	for _, p := range pipes {
		p.stop()
	}
	for range pipes {
		if err := <-errs; err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out.Stdout, "%d messages of %d bytes in %.1f s over %d connections: %.0f/s\n", count, c.Size, seconds, c.Connections, float64(count)/seconds)
	return err
}

// waitFor waits for d, or for an error.
func waitFor(ctx context.Context, d time.Duration, errs <-chan error) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-errs:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pipe is one request with many messages.
type pipe struct {
	conn   net.Conn
	chunk  []byte // pipeLines lines, as a chunk of HTTP/1.1
	window int64
	stored atomic.Int64

	mu     sync.Mutex // guards all below
	cond   *sync.Cond
	flying int64
	ends   bool
}

// open begins a request.
func (c *pipeCmd) open(ctx context.Context) (*pipe, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	p := &pipe{conn: conn, window: int64(c.Window)}
	p.cond = sync.NewCond(&p.mu)
	line := `{"content":"` + base64.StdEncoding.EncodeToString(bench.NewContent(c.Size)) + `","type":"Text"}` + "\n"
	lines := bytes.Repeat([]byte(line), pipeLines)
	p.chunk = append(append([]byte(strconv.FormatInt(int64(len(lines)), 16)+"\r\n"), lines...), "\r\n"...)
	token := base64.StdEncoding.EncodeToString([]byte(c.User + ":" + c.Password))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
		chatconnect.SimpleChatSendMessageProcedure, c.Addr, token)
	return p, err
}

// write sends lines while there is room in the window.
func (p *pipe) write() {
	for {
		p.mu.Lock()
		for p.flying+pipeLines > p.window && !p.ends {
			p.cond.Wait()
		}
		ends := p.ends
		p.flying += pipeLines
		p.mu.Unlock()
		if ends {
			_, _ = p.conn.Write([]byte("0\r\n\r\n"))
			return
		}
		if _, err := p.conn.Write(p.chunk); err != nil {
			return // the reader has the reason
		}
	}
}

// stop ends the request after the lines that were sent.
func (p *pipe) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = true
	p.cond.Signal()
}

// read checks the answers: each line is stored after the one before.
func (p *pipe) read() error {
	defer p.stop()       // ends the writer, which notices p.ends or the end of the connection
	defer p.conn.Close() //nolint:errcheck // the writer stops then
	from := bufio.NewReaderSize(p.conn, 64<<10)
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // of a connection that is closed
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 64<<10), 0)
	last, pending := uint64(0), int64(0)
	for lines.Scan() {
		digits, ok := bytes.CutPrefix(lines.Bytes(), []byte(`{"offset":"`))
		end := bytes.IndexByte(digits, '"')
		if !ok || end < 0 {
			return fmt.Errorf("a line was answered with %q", lines.Text())
		}
		offset, err := strconv.ParseUint(string(digits[:end]), 10, 64)
		if err != nil || offset <= last {
			return fmt.Errorf("offset %q came after %d", digits[:end], last)
		}
		last = offset
		if pending++; pending == pipeLines {
			p.answered(pending)
			pending = 0
		}
	}
	p.answered(pending)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := lines.Err(); err != nil || p.ends {
		return err
	}
	return errors.New("the server ended the request")
}

// answered notes that n lines were answered.
func (p *pipe) answered(n int64) {
	p.stored.Add(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying -= n
	p.cond.Signal()
}
