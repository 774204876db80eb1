//go:build !race

package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/disk"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/proxy"
	"example.com/simplechat/cmd/simplechat/internal/tracer"
)

// cuts is how many times the power-cut test cuts the power.
const cuts = 100

// With --sync always, a cut of the power at any moment leaves all that was acknowledged
// until then, at its place, and what subscribers had seen: also if a part of the data
// that was not synced has reached the disk.
func TestPowerCutLosesNothing(t *testing.T) {
	t.Parallel()
	ledger.Report(t, powerCuts(t, cuts, "--sync", "always"))
}

// The model does throw away data that was not synced: with a long interval the same test
// finds that acknowledged messages are lost.
func TestPowerCutTestFindsLoss(t *testing.T) {
	t.Parallel()
	problems := strings.Join(powerCuts(t, 5, "--sync", "1h"), "\n")
	if want := "lost: "; !strings.Contains(problems, want) {
		t.Errorf("no problem with %q was found, but:\n%.2000s", want, problems)
	}
}

// powerCuts runs a server with further arguments under load, cuts the power
// again and again, and returns what is wrong with what a server finds then.
func powerCuts(t *testing.T, n int, args ...string) (problems []string) {
	chance := testkit.NewChance(t)
	args = slices.Concat([]string{"serve", "--listen", "127.0.0.1:0", "--users", load.UsersFile(t)}, load.Unlimited(), args)
	tr := tracer.New(t.TempDir())
	ledger := traceLoad(t, tr, chance, args)
	t.Logf("%d events, %d messages acknowledged", len(tr.Events), ledger.Count())

	moments := make([]int, n)
	for i := range moments {
		moments[i] = chance.IntN(len(tr.Events) + 1)
	}
	slices.Sort(moments)
	d, applied := disk.New(), 0
	for i, moment := range moments {
		for ; applied < moment; applied++ {
			d.Apply(tr.Events[applied])
		}
		// Every other time a part of the data that was not synced remains, too.
		var some *rand.Rand
		if i%2 == 1 {
			some = rand.New(rand.NewPCG(chance.Uint64(), 0))
		}
		if found := startAfterCut(t, d, some, ledger.Until(moment), args); len(found) > 0 {
			problems = append(problems, fmt.Sprintf("power cut after event %d of %d, with unsynced data left: %v: %d problems:\n%s",
				moment, len(tr.Events), some != nil, len(found), strings.Join(found[:min(len(found), 5)], "\n")))
		}
	}
	return problems
}

// traceLoad traces a server under load, which ends and is started again both in
// good order and not.
func traceLoad(t *testing.T, tr *tracer.Tracer, chance *rand.Rand, args []string) *ledger.Ledger {
	const loads, messages = 4, 150 // of up to 50 KiB: more than a file of the store holds
	ledger := ledger.New()
	ledger.Position = tr.Position
	l := load.New(t, ledger)
	front := proxy.New(t, "")
	l.StartCrowd(front.URL(), func() int { return 50 << rand.IntN(11) })
	l.StartWatcher("watcher", front.URL)
	l.StartProber(front.URL())
	for i := range loads {
		cmd := exec.Command(simplechat(t), append(args, "--data", filepath.Join(tr.Root, "data"))...)
		var ended <-chan error
		p := startProcess(t, cmd, func() (err error) {
			ended, err = tr.Start(cmd)
			return err
		})
		p.awaitListening()
		front.To(p.addr)
		l.AwaitMore(messages/2 + chance.IntN(messages))
		if i == loads-1 {
			l.End()
		}
		front.Refuse()
		if i%2 == 0 {
			tr.Kill(cmd.Process.Pid)
		} else {
			p.signal(syscall.SIGTERM)
		}
		p.wait(patience)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if differences := tr.Disk.Compare(tr.Root); len(differences) > 0 {
			t.Fatalf("the model is not what it stands for:\n%s", strings.Join(differences, "\n"))
		}
	}
	return ledger
}

// startAfterCut starts a server on what is left on a disk, and returns what is
// wrong with what it tells: as if clients came back to it after the cut.
func startAfterCut(t *testing.T, d *disk.Disk, chance *rand.Rand, ledger *ledger.Ledger, args []string) []string {
	root := t.TempDir()
	if err := d.Restore(root, chance); err != nil {
		t.Fatal(err)
	}
	bootAnew(t, filepath.Join(root, "data", "acknowledged"))
	cmd := exec.Command(simplechat(t), append(args, "--data", filepath.Join(root, "data"))...)
	p := startProcess(t, cmd, cmd.Start)
	if !p.listens() {
		return []string{"the server does not start: " + p.logText()}
	}
	l := load.New(t, ledger)
	for _, watcher := range ledger.Watchers() {
		l.StartWatcher(watcher, func() string { return p.url("") })
	}
	problems := l.Finish(p.url(""))
	p.signal(syscall.SIGKILL)
	p.wait(patience)
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	return problems
}

// bootAnew makes what a log has noted that of another run of the operating system: a
// power cut has ended that. The file has slots of JSON, its checksum and spaces, of
// which those that are not whole stay as they are.
func bootAnew(t *testing.T, path string) {
	t.Helper()
	const slotSize = 512
	data, err := os.ReadFile(path)
	if err != nil {
		return // it was not there yet
	}
	boots := 0
	for slot := range slices.Chunk(data, slotSize) {
		content, sum, ok := bytes.Cut(slot, []byte("} "))
		content = slot[:min(len(content)+1, len(slot))]
		if !ok || len(sum) < 8 || string(sum[:8]) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(content)) {
			continue
		}
		at := bytes.Index(content, []byte(`"boot":"`))
		if at < 0 || content[at+8] == '"' {
			t.Fatalf("no boot in %s", content)
		}
		content[at+8] ^= 1
		copy(sum, fmt.Sprintf("%08x", crc32.ChecksumIEEE(content)))
		boots++
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
