package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"example.com/simplechat/chatsvc/sqlitelog"
	"example.com/simplechat/cmd/internal/cli"
)

// logCmd are the commands for the log that a server has stored.
type logCmd struct {
	Check    logCheckCmd    `cmd:"" help:"Read all messages and list the damage; the exit code is 1 if there is any. A server may run."`
	Backup   logBackupCmd   `cmd:"" help:"Write a copy of --data, as it is at one moment, to a new file. A server may run."`
	Export   logExportCmd   `cmd:"" help:"Write all messages as JSON, one a line. A server may run."`
	Import   logImportCmd   `cmd:"" help:"Make a log from an export, with the same offsets and the same epoch."`
	Repair   logRepairCmd   `cmd:"" help:"Make a new database from all messages in --data that can be read. The server must be stopped."`
	NewEpoch logNewEpochCmd `cmd:"" help:"Begin a new epoch, so that all clients read the history again. The server must be stopped."`
	Redact   logRedactCmd   `cmd:"" help:"Replace a message in --data by an empty one, and remove its text from the file. A server may run."`
}

// dataFlag names the directory for a command.
type dataFlag struct {
	Data string `type:"path" placeholder:"DIR" help:"Directory with the messages of a server (./simplechat-data)."`
}

func (f *dataFlag) dir() string { return cmp.Or(f.Data, defaultData) }

type logCheckCmd struct{ dataFlag }

// errDamage is what check returns for a damaged log.
var errDamage = errors.New("the log is damaged: stop the server and run simplechat log repair")

// Run checks the log.
func (c *logCheckCmd) Run(ctx context.Context, out *cli.Output) error {
	p := newProgress(out.Stderr, "check")
	checked, err := sqlitelog.Check(ctx, c.dir(), p.show)
	p.end()
	if err != nil {
		return err
	}
	printChecked(out.Stdout, checked)
	if checked.IsDamaged() {
		return errDamage
	}
	return nil
}

// maxRanges is how many ranges of damage are printed.
const maxRanges = 100

func printChecked(w io.Writer, c sqlitelog.Checked) {
	fmt.Fprintf(w, "epoch: %s\nmessages: %d of %s, %d bytes, %d redacted\n",
		c.State.Epoch, c.Messages, rangeText(sqlitelog.Range{From: c.State.First, To: c.State.Next}), c.Bytes, c.Redacted)
	if !c.HasEvidence {
		fmt.Fprintf(w, "note: the file that names the last acknowledged message is missing: a server that opens the database begins a new epoch\n")
	}
	if len(c.Damage) > 0 {
		fmt.Fprintf(w, "cannot be read: %s\n", rangesText(c.Damage))
	}
	for _, problem := range c.Problems {
		fmt.Fprintf(w, "problem: %s\n", problem)
	}
}

// rangesText returns ranges for humans.
func rangesText(ranges []sqlitelog.Range) string {
	texts := make([]string, 0, len(ranges))
	for i, r := range ranges {
		if i == maxRanges {
			texts = append(texts, fmt.Sprintf("and %d more ranges", len(ranges)-i))
			break
		}
		texts = append(texts, rangeText(r))
	}
	return strings.Join(texts, ", ")
}

func rangeText(r sqlitelog.Range) string {
	switch {
	case r.From >= r.To:
		return fmt.Sprintf("none (the next is %d)", r.To)
	case r.From+1 == r.To:
		return strconv.FormatUint(r.From, 10)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To-1)
}

type logBackupCmd struct {
	dataFlag

	File string `arg:"" type:"path" help:"File to write, which must not exist."`
}

// Run writes the backup.
func (c *logBackupCmd) Run(ctx context.Context, out *cli.Output) error {
	p := newProgress(out.Stderr, "backup")
	err := sqlitelog.Backup(ctx, c.dir(), c.File, p.show)
	p.end()
	return err
}

type logRepairCmd struct{ dataFlag }

// Run repairs the log.
func (c *logRepairCmd) Run(ctx context.Context, out *cli.Output) error {
	p := newProgress(out.Stderr, "repair")
	done, err := sqlitelog.Repair(ctx, c.dir(), p.show)
	p.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(out.Stdout, "messages: %d of %s\n", done.Messages, rangeText(sqlitelog.Range{From: done.First, To: done.Next}))
	if len(done.Missing) > 0 {
		fmt.Fprintf(out.Stdout, "missing: %s\n", rangesText(done.Missing))
	}
	if done.Unreadable > 0 {
		fmt.Fprintf(out.Stdout, "the disk could not read %d pages: replace it\n", done.Unreadable)
	}
	if done.Epoch != done.Was {
		fmt.Fprintf(out.Stdout, "new epoch: %s (was %s): clients read the history again\n", done.Epoch, done.Was)
	}
	fmt.Fprintf(out.Stdout, "the files from before the repair are in %s\n", done.Aside)
	return nil
}

type logNewEpochCmd struct{ dataFlag }

// Run begins an epoch.
func (c *logNewEpochCmd) Run(ctx context.Context, out *cli.Output) error {
	was, is, err := sqlitelog.NewEpoch(ctx, c.dir())
	if err != nil {
		return err
	}
	fmt.Fprintf(out.Stdout, "new epoch: %s (was %s)\n", is, was)
	return nil
}

type logRedactCmd struct {
	dataFlag

	Offset uint64 `arg:"" help:"The message's offset."`
}

// Run redacts the message.
func (c *logRedactCmd) Run(ctx context.Context, out *cli.Output) error {
	if err := sqlitelog.Redact(ctx, c.dir(), c.Offset); err != nil {
		return err
	}
	fmt.Fprintf(out.Stdout, "message %d is empty now; earlier backups and exports still contain it\n", c.Offset)
	return nil
}
