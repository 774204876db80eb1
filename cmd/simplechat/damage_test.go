//go:build !race

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// smallFiles makes the NATS server begin another file after 4 MB, so that tests
// see more than one.
var smallFiles = []string{"--retain-bytes", "12MiB"}

// Whatever is damaged, the server starts, or says what is damaged and how to go
// on. It never serves a wrong message, and never another one where a client has
// seen one, without a new epoch.
func TestDamageIsNeverServed(t *testing.T) {
	t.Parallel()
	seed := newChance(t).Uint64()
	for name, sig := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			original := fillDirectory(t, dir, sig)
			for _, d := range damages(t, dir, rand.New(rand.NewPCG(seed, 0))) {
				t.Run(d.name, func(t *testing.T) {
					t.Parallel()
					damaged := filepath.Join(t.TempDir(), "data")
					if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					d.do(t, filepath.Join(damaged, d.file))
					checkDamaged(t, damaged, d.file, original)
				})
			}
		})
	}
}

// fillDirectory lets a server store messages in more than one file, and returns
// them. The server ends by a signal.
func fillDirectory(t *testing.T, dir string, sig syscall.Signal) []placed {
	p := startServer(t, append(smallFiles, "--data", dir)...)
	l := newLoad(t, newLedger())
	for _, user := range []string{"user1", "user2"} {
		l.startSender(user, p.url(""), true, func() int { return 10 << rand.IntN(14) })
	}
	l.awaitMore(500)
	l.stopSenders()
	original := readHistory(t, p.url(""), l.sendLast(p.url("")))
	p.signal(sig)
	p.wait(patience)
	return original
}

// damage is something that happens to a file.
type damage struct {
	name string
	file string // below the data directory
	do   func(tb testing.TB, path string)
}

// damages returns many: the newest message file cut at lengths of all kinds, and
// every file emptied, gone and with single bits turned over.
func damages(tb testing.TB, dir string, chance *rand.Rand) (all []damage) {
	tb.Helper()
	newest, size := newestMessages(tb, dir)
	lengths := []int64{0, 1, 21, 22, 30, size - 1, size - 8, size - 9}
	for range 14 {
		lengths = append(lengths, chance.Int64N(size))
	}
	for _, length := range lengths {
		all = append(all, damage{fmt.Sprintf("%s cut to %d", filepath.Base(newest), length), newest, func(tb testing.TB, path string) {
			if err := os.Truncate(path, length); err != nil {
				tb.Fatal(err)
			}
		}})
	}
	err := fs.WalkDir(os.DirFS(dir), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		all = append(all, damage{file + " gone", file, func(tb testing.TB, path string) {
			if err := os.Remove(path); err != nil {
				tb.Fatal(err)
			}
		}})
		flips := 4
		if strings.HasSuffix(file, ".blk") {
			flips = 10
		}
		for range flips {
			at, bit := chance.Int64N(info.Size()), chance.IntN(8)
			all = append(all, damage{fmt.Sprintf("%s bit %d of byte %d", file, bit, at), file, func(tb testing.TB, path string) {
				flip(tb, path, at, bit)
			}})
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// newestMessages returns the file with the newest messages, and its size.
func newestMessages(tb testing.TB, dir string) (file string, size int64) {
	tb.Helper()
	last := -1
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		var n int
		if _, scan := fmt.Sscanf(entry.Name(), "%d.blk", &n); err == nil && scan == nil && n > last {
			info, err := entry.Info()
			file, size, last = path, info.Size(), n
			return err
		}
		return err
	})
	if err != nil || last < 2 || size < 100 {
		tb.Fatalf("newest message file %d with %d bytes: more were due: %v", last, size, err)
	}
	return file, size
}

// flip turns a bit of a file over.
func flip(tb testing.TB, path string, at int64, bit int) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	b[0] ^= 1 << bit
	_, err2 := f.WriteAt(b[:], at)
	if err := errors.Join(err, err2, f.Close()); err != nil {
		tb.Fatal(err)
	}
}

// checkDamaged starts a server on a damaged directory, and checks what it tells
// those who come back: one who has read everything, one who reads all, and one
// who goes on sending.
func checkDamaged(t *testing.T, dir, file string, original []placed) {
	cmd := exec.Command(simplechat(t), slices.Concat([]string{"serve", "--listen", "127.0.0.1:0", "--data", dir}, smallFiles)...)
	p := startProcess(t, cmd, cmd.Start)
	if !p.listens() {
		checkRefusal(t, p.logText(), dir, file, original)
		return
	}
	end := original[len(original)-1].place
	resumed := resumeAt(t, p, place{end.epoch, end.offset + 1})
	if resumed.epoch == end.epoch && resumed.offset > end.offset+1 {
		t.Errorf("who has read to %v is sent to %v: what is between was never sent", end, resumed)
	}
	said := said{"user3", "after the damage", chatpb.ChatMessage_Text, 1}
	client := p.client("user3")
	ctx, call := connect.NewClientContext(testContext(t))
	if _, err := client.SendMessage(ctx, said.message()); err != nil {
		if connect.CodeOf(err) != connect.CodeUnavailable && connect.CodeOf(err) != connect.CodeInternal {
			t.Errorf("a send: %v", err)
		}
		t.Logf("sends fail: %v", err)
		return
	}
	last, err := placeOf(call.ResponseHeader())
	if err != nil {
		t.Fatal(err)
	}
	history := readHistory(t, p.url(""), last)
	outcome := checkRemains(t, original, history, placed{last, said})
	// Where the oldest file has nothing left, it looks like what the retention
	// does: only the offset of the first message tells.
	if log := p.logText(); outcome != intact && filepath.Base(file) != "1.blk" && !strings.Contains(log, "level=ERROR") {
		t.Errorf("%s, and the log does not say so:\n%s", outcome, log)
	}
	// What was put right stays so: the next start finds the same log.
	p.stop()
	again := startServer(t, append(smallFiles, "--data", dir)...)
	if after, want := resumeAt(t, again, place{last.epoch, last.offset + 1}), (place{last.epoch, last.offset + 1}); after != want {
		t.Errorf("after another start, who was at %v is sent to %v", want, after)
	}
	t.Logf("%s: %d of %d messages from %v on", outcome, len(history)-1, len(original), history[0].place)
}

// checkRefusal checks that a server that does not start says which file is
// damaged and what to do, and that doing it helps.
func checkRefusal(t *testing.T, text, dir, file string, original []placed) {
	t.Helper()
	t.Logf("refused: %s", text)
	advice := regexp.MustCompile(`write (\{.*\}) to (\S+) to go on`).FindStringSubmatch(text)
	switch {
	case advice == nil && strings.Contains(text, "use the newer version"): // a bit of the format's number
		return
	case advice == nil || advice[2] != file:
		t.Fatal("the server does not say what is damaged and how to go on")
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(advice[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, append(smallFiles, "--data", dir)...)
	if history := readHistory(t, p.url(""), original[len(original)-1].place); !slices.Equal(history, original) {
		t.Errorf("%d messages are there after all, %d were due", len(history), len(original))
	}
}

// intact is an outcome in which nothing is missing.
const intact = "intact"

// checkRemains checks that a history that ends with a new message has nothing
// that was not there before, in the same order, and that who knows the old
// places cannot take it for what it is not.
func checkRemains(t *testing.T, original, history []placed, sent placed) string {
	was := map[said]uint64{}
	for _, m := range original {
		was[m.said] = m.offset
	}
	epoch, end := original[0].epoch, original[len(original)-1].offset
	if got := history[len(history)-1]; got != sent {
		t.Errorf("the new message is %v, %v was due", got, sent)
	}
	before := uint64(0)
	for _, m := range history[:len(history)-1] {
		offset, ok := was[m.said]
		switch {
		case !ok:
			t.Errorf("wrong: %v at %v was never sent", m.said, m.place)
		case offset <= before:
			t.Errorf("wrong order: %v, which was at %d, came after what was at %d", m.said, offset, before)
		case m.epoch == epoch && m.offset != offset:
			t.Errorf("wrong place: %v is at %v and was at %d", m.said, m.place, offset)
		}
		before = offset
	}
	switch {
	case sent.epoch != epoch:
		return "new epoch"
	case sent.offset <= end:
		t.Errorf("the new message has the place %v, which another one had", sent.place)
		return "place used again"
	case len(history)-1 == len(original):
		return intact
	default:
		return "same epoch, some lost"
	}
}
