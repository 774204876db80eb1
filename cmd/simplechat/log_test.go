package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// logOf returns a directory with the log of an export.
func logOf(tb testing.TB, lines string) string {
	tb.Helper()
	dir := tb.TempDir()
	got := runHere(tb, "log", "import", "--data", dir, tempFile(tb, "export", lines))
	if got.code != 0 {
		tb.Fatalf("%+v", got)
	}
	return dir
}

// exampleExport has each kind of message and a gap.
const exampleExport = `{"offset":5,"epoch":"E","stored":"2026-01-02T03:04:05.678Z","message":{"timestamp":"18446744073709551615","content":"aGVsbG8=","type":"Text","from":"user1"}}
{"offset":6,"epoch":"E","stored":"2026-01-02T03:04:05.678Z","message":{}}
{"offset":8,"epoch":"E","stored":"2026-01-02T03:04:06Z","message":{"content":"/wD+","type":"Image","from":"ü<\"\\"}}
{"epoch":"E","next":9,"messages":3}
`

// An export after an import is the same as the imported one, on one machine and by way of
// a NATS server. Missing messages become empty ones.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	dir := logOf(t, exampleExport)
	filled := strings.Replace(exampleExport, `{"offset":8`, `{"offset":7,"epoch":"E","stored":"2026-01-02T03:04:05.678Z","message":{}}`+"\n"+`{"offset":8`, 1)
	filled = strings.Replace(filled, `"messages":3`, `"messages":4`, 1)
	if got := runHere(t, "log", "export", "--data", dir); got.code != 0 || got.stdout != filled || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	nats := startNATS(t, "")
	flags := []string{"--nats", nats.url(), "--nats-replicas", "1"}
	file := filepath.Join(t.TempDir(), "export")
	for _, args := range [][]string{
		append([]string{"log", "export"}, append([]string{"--data", dir}, file)...),
		append([]string{"log", "import"}, append(flags, file)...),
		append([]string{"log", "export"}, append(flags, file)...),
	} {
		if got := runHere(t, args...); got.code != 0 {
			t.Fatalf("%v: %+v", args, got)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stored := regexp.MustCompile(`"stored":"[^"]*"`)
	want := stored.ReplaceAllString(filled, "")
	if got := stored.ReplaceAllString(string(data), ""); got != want {
		t.Errorf("from NATS:\n%s\nwant\n%s", got, want)
	}
	if got := runHere(t, append([]string{"log", "import"}, append(flags, file)...)...); got.code != 1 || !strings.Contains(got.stderr, "the stream simplechat exists already") {
		t.Errorf("again: %+v", got)
	}
	if got := runHere(t, "log", "export", "--nats", nats.url(), "--nats-stream", "other"); got.code != 1 || !strings.Contains(got.stderr, "not found") {
		t.Errorf("of no stream: %+v", got)
	}
}

// Each mistake in an export is named with its line, and leaves no log.
func TestImportRefusesMistakes(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(exampleExport, "\n")
	for name, tt := range map[string]struct{ export, says string }{
		"nothing":         {"", `line 1: the export is cut`},
		"cut":             {strings.Join(lines[:3], ""), `line 4: the export is cut`},
		"cut in a line":   {exampleExport[:100], `line 1: unexpected EOF`},
		"empty line":      {lines[0] + " \n" + lines[3], "line 2: the line is empty"},
		"line missing":    {lines[0] + lines[2] + lines[3], "line 3: there are 2 messages before it, but it says 3"},
		"order":           {lines[1] + lines[0] + lines[3], "line 2: offset 5: it must be at least 7"},
		"other epoch":     {lines[0] + strings.Replace(lines[1], `"E"`, `"F"`, 1), "line 2: epoch F follows epoch E"},
		"no epoch":        {strings.Replace(lines[0], `"E"`, `""`, 1), `epoch ""`},
		"unknown field":   {strings.Replace(lines[0], `"epoch"`, `"other":1,"epoch"`, 1), `unknown field "other"`},
		"unknown type":    {strings.Replace(lines[0], `"Text"`, `"Video"`, 1), "line 1: message:"},
		"number as type":  {strings.Replace(lines[0], `"Text"`, `7`, 1) + lines[3], "type 7 is not of the scheme"},
		"no base64":       {strings.Replace(lines[0], `aGVsbG8=`, `a`, 1), "line 1: message:"},
		"no time":         {`{"offset":5,"epoch":"E","message":{}}`, `a message has "offset"`},
		"end is low":      {lines[0] + `{"epoch":"E","next":5,"messages":1}`, "next is 5: it must be at least 6"},
		"behind the end":  {exampleExport + lines[3], "a line follows the last one"},
		"two values":      {`{"epoch":"E","next":5} {}`, "more than one JSON value"},
		"offset is large": {strings.Replace(lines[0], `:5,`, `:9223372036854775807,`, 1), "below 2^63"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "new")
			got := runHere(t, "log", "import", "--data", dir, tempFile(t, "export", tt.export))
			if got.code != 1 || !strings.Contains(got.stderr, tt.says) {
				t.Errorf("%+v, want %q", got, tt.says)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) && runtime.GOOS != "windows" { // Windows keeps a locked file
				t.Errorf("the directory is left: %v", err)
			}
		})
	}
}

// Any export is refused, or an export after its import stays the same when it is imported
// again.
func FuzzImport(f *testing.F) {
	f.Add(exampleExport)
	for line := range strings.Lines(exampleExport) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := importText(text)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := export(t.Context(), first, &again, newProgress(io.Discard, ""), io.Discard); err != nil {
			t.Fatal(err)
		}
		second, err := importText(again.String())
		if err != nil {
			t.Fatalf("%v\n%s", err, &again)
		}
		if fmt.Sprint(first) != fmt.Sprint(second) {
			t.Errorf("first\n%v\nthen\n%v", first, second)
		}
	})
}

// importedText is a log in memory that was imported.
type importedText struct {
	epoch   string
	entries []chatsvc.Entry
	next    uint64
}

func importText(text string) (*importedText, error) {
	log := &importedText{}
	err := importLines(context.Background(), newExportReader(strings.NewReader(text)), func(epoch string, _ uint64) (importer, error) {
		log.epoch = epoch
		return log, nil
	})
	return log, err
}

func (l *importedText) Add(_ context.Context, e chatsvc.Entry) error {
	l.entries = append(l.entries, e)
	return nil
}

func (l *importedText) Finish(_ context.Context, next uint64) error {
	l.next = next
	return nil
}

func (l *importedText) Abort(context.Context) error { return nil }

func (l *importedText) Close() error { return nil }

func (l *importedText) State(context.Context) (chatsvc.State, error) {
	return chatsvc.State{Epoch: l.epoch, First: 1, Next: l.next}, nil
}

func (l *importedText) Read(_ context.Context, _ string, from, to uint64, _ int) (chatsvc.Chunk, error) {
	return chatsvc.Chunk{From: from, Next: to, Entries: l.entries, First: 1}, nil
}

// lose takes a message out of a directory's database.
func lose(tb testing.TB, dir string, offset int64) {
	tb.Helper()
	conn, err := sqlite.OpenConn(filepath.Join(dir, sqlitelog.DatabaseFile), sqlite.OpenReadWrite)
	if err != nil {
		tb.Fatal(err)
	}
	err = sqlitex.Execute(conn, `DELETE FROM messages WHERE "offset" = ?`, &sqlitex.ExecOptions{Args: []any{offset}})
	if err := errors.Join(err, conn.Close()); err != nil {
		tb.Fatal(err)
	}
}

// check prints the content of a log, and its exit code says whether the log is damaged.
func TestCheckRepairAndOthers(t *testing.T) {
	t.Parallel()
	dir := logOf(t, exampleExport)
	lose(t, dir, 7)
	if got := runHere(t, "log", "export", "--data", dir); got.code != 0 || got.stdout != exampleExport || !strings.Contains(got.stderr, "1 messages cannot be read") {
		t.Errorf("export: %+v", got)
	}
	if got := runHere(t, "log", "check", "--data", dir); got.code != 1 || !strings.Contains(got.stderr, "the log is damaged") ||
		got.stdout != "epoch: E\nmessages: 3 of 5-8, 12 bytes, 0 redacted\ncannot be read: 7\n" && !strings.Contains(got.stdout, "cannot be read: 7\n") {
		t.Errorf("a gap: %+v", got)
	}
	if got := runHere(t, "log", "repair", "--data", dir); got.code != 0 || !strings.Contains(got.stdout, "messages: 3 of 5-8\nmissing: 7\nnew epoch: ") {
		t.Errorf("repair: %+v", got)
	}
	if got := runHere(t, "log", "redact", "--data", dir, "8"); got.code != 0 || !strings.Contains(got.stdout, "message 8 is empty now") {
		t.Errorf("redact: %+v", got)
	}
	if got := runHere(t, "log", "new-epoch", "--data", dir); got.code != 0 || !strings.Contains(got.stdout, "new epoch: ") {
		t.Errorf("new-epoch: %+v", got)
	}
	if got := runHere(t, "log", "check", "--data", dir); got.code != 0 || !strings.Contains(got.stdout, "messages: 4 of 5-8") || !strings.Contains(got.stdout, "1 redacted") {
		t.Errorf("after the repair: %+v", got)
	}
	file := filepath.Join(t.TempDir(), "backup")
	if got := runHere(t, "log", "backup", "--data", dir, file); got.code != 0 {
		t.Errorf("backup: %+v", got)
	}
	if got := runHere(t, "log", "backup", "--data", dir, file); got.code != 1 {
		t.Errorf("backup over a file: %+v", got)
	}
	if err := os.Remove(filepath.Join(dir, "acknowledged")); err != nil {
		t.Fatal(err)
	}
	if got := runHere(t, "log", "check", "--data", dir); got.code != 0 || !strings.Contains(got.stdout, "note: the file that names the last") {
		t.Errorf("a copy: %+v", got)
	}
	for _, command := range []string{"check", "repair", "new-epoch", "export"} {
		if got := runHere(t, "log", command, "--data", t.TempDir()); got.code != 1 || !strings.Contains(got.stderr, "there is no chat.db") {
			t.Errorf("%s of nothing: %+v", command, got)
		}
	}
}

// Commands that need the directory for themselves are refused while a server has it.
func TestLogOfARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := sqlitelog.Open(t.Context(), dir, sqlitelog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, command := range []string{"repair", "new-epoch", "import"} {
		if got := runHere(t, "log", command, "--data", dir); got.code != 1 || !strings.Contains(got.stderr, "another process uses it") && command != "import" {
			t.Errorf("%s: %+v", command, got)
		}
	}
	if got := runHere(t, "log", "check", "--data", dir); got.code != 0 || !strings.Contains(got.stdout, "messages: 0 of none (the next is 1)") {
		t.Errorf("check: %+v", got)
	}
	if got := runHere(t, "log", "export", "--data", dir, "--nats", "nats://127.0.0.1:1"); got.code == 0 || !strings.Contains(got.stderr, "contradict") {
		t.Errorf("two places: %+v", got)
	}
}

// A file that cannot be written whole is not there.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	broken := errors.New("broken")
	if err := writeFile(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Errorf("left is %v", entries)
	}
	if err := writeFile(path, func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
