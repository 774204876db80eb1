//go:build !race

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// With any damage, the server starts or says what is wrong. It never serves a wrong
// message, and never another one where a client has seen one, without a new epoch.
// Messages that cannot be read are empty ones at their places.
func TestDamageIsNeverServed(t *testing.T) {
	t.Parallel()
	seed := testkit.NewChance(t).Uint64()
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
					checkDamaged(t, damaged, original)
				})
			}
		})
	}
}

// fillDirectory lets a server store messages of all sizes, and returns them. The
// server ends by a signal.
func fillDirectory(t *testing.T, dir string, sig syscall.Signal) []ledger.Placed {
	p := startServer(t, append(load.Unlimited(), "--data", dir)...)
	l := load.New(t, ledger.New())
	for _, user := range []string{"user1", "user2"} {
		l.StartSender(user, p.url(""), true, func() int { return 10 << rand.IntN(14) })
	}
	l.AwaitMore(500)
	l.StopSenders()
	original := load.ReadHistory(t, p.url(""), l.SendLast(p.url("")))
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

// damages returns many: every file cut at lengths of all kinds, emptied, gone, with a
// page of zeros and with single bits turned over, at random places and where each kind
// of page begins.
func damages(tb testing.TB, dir string, chance *rand.Rand) (all []damage) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			tb.Fatal(err)
		}
		if info.Size() > 0 {
			all = append(all, fileDamages(tb, entry.Name(), info.Size(), chance)...)
		}
	}
	return all
}

// fileDamages returns those of one file.
func fileDamages(tb testing.TB, file string, size int64, chance *rand.Rand) (all []damage) {
	tb.Helper()
	add := func(name string, do func(tb testing.TB, path string)) {
		all = append(all, damage{file + " " + name, file, do})
	}
	add("gone", func(tb testing.TB, path string) {
		if err := os.Remove(path); err != nil {
			tb.Fatal(err)
		}
	})
	lengths := []int64{0, 1, size - 1}
	// The header of the database, of its first page, of the write-ahead log and of its
	// first frame, and in each of them something that matters.
	places := []int64{0, 16, 18, 28, 33, 56, 63, 70, 100, 105}
	for range 8 {
		lengths = append(lengths, chance.Int64N(size), chance.Int64N(size/pageSize+1)*pageSize)
		places = append(places, chance.Int64N(size), chance.Int64N(size/pageSize+1)*pageSize+chance.Int64N(16))
	}
	for _, length := range lengths {
		if length >= size {
			continue
		}
		add(fmt.Sprintf("cut to %d", length), func(tb testing.TB, path string) {
			if err := os.Truncate(path, length); err != nil {
				tb.Fatal(err)
			}
		})
	}
	for _, at := range places {
		if at >= size {
			continue
		}
		bit := chance.IntN(8)
		add(fmt.Sprintf("bit %d of byte %d", bit, at), func(tb testing.TB, path string) { flip(tb, path, at, bit) })
	}
	for _, page := range []int64{0, chance.Int64N(size/pageSize + 1), chance.Int64N(size/pageSize + 1)} {
		add(fmt.Sprintf("page %d zeroed", page), func(tb testing.TB, path string) { zero(tb, path, page*pageSize, min(pageSize, size-page*pageSize)) })
	}
	return all
}

// zero makes bytes of a file zero.
func zero(tb testing.TB, path string, at, length int64) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, length), at)
	if err := errors.Join(err, f.Close()); err != nil {
		tb.Fatal(err)
	}
}

// checkDamaged starts a server on a damaged directory, and checks what it tells
// clients that come back: one that has read everything, one that reads all, and one
// that continues to send.
func checkDamaged(t *testing.T, dir string, original []ledger.Placed) {
	cmd := exec.Command(simplechat(t), "serve", "--listen", "127.0.0.1:0", "--data", dir)
	p := startProcess(t, cmd, cmd.Start)
	if !p.listens() { // only files of another version or program may be refused
		if log := p.logText(); !strings.Contains(log, "use that version") && !strings.Contains(log, "of another program") {
			t.Errorf("the server does not start: %s", log)
		}
		return
	}
	end := original[len(original)-1].Place
	said := ledger.Message{From: "user3", Content: "after the damage", Kind: chatpb.ChatMessage_Text, Timestamp: 1}
	client := p.client("user3")
	ctx, call := connect.NewClientContext(chattest.Context(t, patience))
	resumed := resumeAt(t, p, ledger.Place{Epoch: end.Epoch, Offset: end.Offset + 1})
	if resumed.Epoch == end.Epoch && resumed.Offset > end.Offset+1 {
		t.Errorf("a client that has read to %v is sent to %v: what is between was never sent", end, resumed)
	}
	if _, err := client.SendMessage(ctx, said.Proto()); err != nil {
		checkReadable(t, p, original, err)
		return
	}
	last, err := load.PlaceOf(call.ResponseHeader())
	if err != nil {
		t.Fatal(err)
	}
	history := load.ReadHistory(t, p.url(""), last)
	outcome, read := checkRemains(t, original, history, ledger.Placed{Place: last, Message: said})
	if outcome != intact {
		p.waitLog(regexp.MustCompile("level=ERROR"))
	}
	// The next start finds the same log.
	p.stop()
	again := startServer(t, "--data", dir)
	if after, want := resumeAt(t, again, ledger.Place{Epoch: last.Epoch, Offset: last.Offset + 1}), (ledger.Place{Epoch: last.Epoch, Offset: last.Offset + 1}); after != want {
		t.Errorf("after another start, a client that was at %v is sent to %v", want, after)
	}
	t.Logf("%s: %d of %d messages from %v on", outcome, read, len(original), history[0].Place)
}

// checkReadable checks a server that refuses sends because of the damage: it says what
// to do, and serves what can be read.
func checkReadable(t *testing.T, p *process, original []ledger.Placed, refusal error) {
	t.Helper()
	if connect.CodeOf(refusal) != connect.CodeUnavailable {
		t.Errorf("a send: %v", refusal)
	}
	end := original[len(original)-1].Place
	if resumed := resumeAt(t, p, ledger.Place{Epoch: end.Epoch, Offset: end.Offset + 1}); resumed != (ledger.Place{Epoch: end.Epoch, Offset: end.Offset + 1}) {
		t.Errorf("a client that has read to %v is sent to %v", end, resumed)
	}
	read := 0
	for i, m := range load.ReadHistory(t, p.url(""), end) {
		switch {
		case m == original[i]:
			read++
		case m.Message != (ledger.Message{}) || m.Place != original[i].Place:
			t.Errorf("wrong: %v at %v, %v was stored", m.Message, m.Place, original[i])
		}
	}
	log := p.logText()
	if !strings.Contains(log, "messages cannot be stored now") || strings.Contains(log, "malformed") && !strings.Contains(log, "run simplechat log repair") {
		t.Errorf("sends fail (%v), and the log does not say what to do:\n%s", refusal, log)
	}
	t.Logf("sends fail, %d of %d messages are read", read, len(original))
}

// intact is an outcome in which nothing is missing.
const intact = "intact"

// checkRemains checks that a history that ends with a new message has nothing that was
// not there before, in the same order, and that a client that knows the old places
// cannot take it for what it is not. It returns the outcome, and how many messages were
// read.
func checkRemains(t *testing.T, original, history []ledger.Placed, sent ledger.Placed) (outcome string, read int) {
	was := map[ledger.Message]uint64{}
	for _, m := range original {
		was[m.Message] = m.Offset
	}
	epoch, end := original[0].Epoch, original[len(original)-1].Offset
	if got := history[len(history)-1]; got != sent {
		t.Errorf("the new message is %v, %v was due", got, sent)
	}
	before := uint64(0)
	for _, m := range history[:len(history)-1] {
		if m.Message == (ledger.Message{}) { // cannot be read
			continue
		}
		read++
		offset, ok := was[m.Message]
		switch {
		case !ok:
			t.Errorf("wrong: %v at %v was never sent", m.Message, m.Place)
		case offset <= before:
			t.Errorf("wrong order: %v, which was at %d, came after what was at %d", m.Message, offset, before)
		case m.Epoch == epoch && m.Offset != offset:
			t.Errorf("wrong place: %v is at %v and was at %d", m.Message, m.Place, offset)
		}
		before = offset
	}
	switch {
	case sent.Epoch != epoch:
		return "new epoch", read
	case sent.Offset <= end:
		t.Errorf("the new message has the place %v, which another one had", sent.Place)
		return "place used again", read
	case history[0].Offset != original[0].Offset || len(history)-1 != len(original):
		t.Errorf("the history has %d places from %v on, in the same epoch: there were %d", len(history)-1, history[0].Place, len(original))
		return "same epoch, places lost", read
	case read == len(original):
		return intact, read
	default:
		return "same epoch, some cannot be read", read
	}
}
