package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/sqlitelog"
	"example.com/simplechat/cmd/internal/cli"
)

// exportBytes is how many bytes are read from a log at a time.
const exportBytes = 1 << 20

// logStorage names the log that is exported or imported.
type logStorage struct {
	dataFlag
	natsFlags
}

// check names flags that contradict each other.
func (s *logStorage) check() error {
	if len(s.NATS) > 0 && s.Data != "" {
		return errors.New("--data and --nats contradict each other: give one of them")
	}
	return s.checkNATS()
}

// logReader is a log that can be exported.
type logReader interface {
	State(ctx context.Context) (chatsvc.State, error)
	Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error)
	Close() error
}

// open opens the log for reading.
func (s *logStorage) open(ctx context.Context, logger *slog.Logger) (logReader, error) {
	if len(s.NATS) == 0 {
		return sqlitelog.OpenReader(s.dir())
	}
	cluster, err := s.cluster(0)
	if err != nil {
		return nil, err
	}
	return jetlog.Inspect(ctx, cluster, jetlog.Options{Logger: logger})
}

type logExportCmd struct {
	Storage logStorage `embed:""`

	File string `arg:"" optional:"" type:"path" help:"File to write; it appears only when it is complete. Default: standard output."`
}

// Validate implements kong's hook.
func (c *logExportCmd) Validate() error { return c.Storage.check() }

// Run writes the export.
func (c *logExportCmd) Run(ctx context.Context, out *cli.Output) error {
	log, err := c.Storage.open(ctx, newToolLogger(out.Stderr))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // it was only read
	p := newProgress(out.Stderr, "export")
	defer p.end()
	if c.File == "" {
		return export(ctx, log, out.Stdout, p, out.Stderr)
	}
	return writeFile(c.File, func(w io.Writer) error { return export(ctx, log, w, p, out.Stderr) })
}

// newToolLogger returns a logger for the warnings of a command.
func newToolLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// writeFile makes a file that only its owner may read. The file appears only when it is
// complete.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// export writes all messages of a log. Messages that cannot be read are left out; their
// number is printed on stderr.
func export(ctx context.Context, log logReader, w io.Writer, p *progress, stderr io.Writer) error {
	state, err := log.State(ctx)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(buffer)
	lines.SetEscapeHTML(false)
	end := exportLine{Epoch: state.Epoch, Next: state.Next}
	offsets := uint64(0)
	for from := state.First; from < state.Next; {
		chunk, err := log.Read(ctx, state.Epoch, from, state.Next, exportBytes)
		if err != nil {
			return err
		}
		if chunk.Next <= from {
			return fmt.Errorf("there is no message %d: the log went back", from)
		}
		for _, e := range chunk.Entries {
			line, err := newExportLine(state.Epoch, e)
			if err == nil {
				err = lines.Encode(line)
			}
			if err != nil {
				return err
			}
			end.Messages++
		}
		offsets += chunk.Next - chunk.From
		from = chunk.Next
		p.show(int64(from-state.First), int64(state.Next-state.First))
	}
	if missing := offsets - min(offsets, end.Messages); missing > 0 {
		p.end()
		fmt.Fprintf(stderr, "%d messages cannot be read and are not in the export: simplechat log repair may find them\n", missing)
	}
	if err := lines.Encode(end); err != nil {
		return err
	}
	return buffer.Flush()
}

type logImportCmd struct {
	Storage logStorage `embed:""`

	File string `arg:"" optional:"" type:"path" help:"The export. Default: standard input."`
}

// Validate implements kong's hook.
func (c *logImportCmd) Validate() error { return c.Storage.check() }

// Run makes the log.
func (c *logImportCmd) Run(ctx context.Context, out *cli.Output) error {
	var in io.Reader = os.Stdin
	size := int64(0)
	if c.File != "" {
		file, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only read
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		in = file
	}
	p := newProgress(out.Stderr, "import")
	defer p.end()
	lines := newExportReader(&countingReader{reader: in, show: func(done int64) { p.show(done, size) }})
	create := func(epoch string, first uint64) (importer, error) {
		return c.Storage.create(ctx, epoch, first, newToolLogger(out.Stderr))
	}
	if err := importLines(ctx, lines, create); err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(c.File, "standard input"), err)
	}
	p.end()
	fmt.Fprintf(out.Stdout, "epoch: %s\nmessages: %d, the next is %d\n", lines.epoch, lines.messages, lines.end)
	return nil
}

// countingReader reports how many bytes were read.
type countingReader struct {
	reader io.Reader
	done   int64
	show   func(done int64)
}

// Read implements [io.Reader].
func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.reader.Read(p)
	r.done += int64(n)
	r.show(r.done)
	return n, err
}

// importer is a log that is being created.
type importer interface {
	Add(ctx context.Context, e chatsvc.Entry) error
	Finish(ctx context.Context, next uint64) error
	Abort(ctx context.Context) error
}

// create begins a log whose first message has the offset first.
func (s *logStorage) create(ctx context.Context, epoch string, first uint64, logger *slog.Logger) (importer, error) {
	if len(s.NATS) == 0 {
		return sqlitelog.NewImport(s.dir(), epoch)
	}
	cluster, err := s.cluster(chatsvc.MaxContentCeiling)
	if err != nil {
		return nil, err
	}
	return jetlog.NewImport(ctx, cluster, jetlog.Options{Logger: logger}, epoch, first)
}

// importLines makes a log from an export. If it fails, no log is left.
func importLines(ctx context.Context, lines *exportReader, create func(epoch string, first uint64) (importer, error)) error {
	entry, err := lines.read()
	first := entry.Offset
	if errors.Is(err, io.EOF) { // the export has no message
		first = lines.end
	} else if err != nil {
		return err
	}
	log, err2 := create(lines.epoch, first)
	if err2 != nil {
		return err2
	}
	for err == nil {
		if err = log.Add(ctx, entry); err == nil {
			entry, err = lines.read()
		}
	}
	if !errors.Is(err, io.EOF) {
		return errors.Join(err, log.Abort(context.WithoutCancel(ctx)))
	}
	return log.Finish(ctx, lines.end)
}
