package logtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.com/simplechat/chatsvc"
)

// Resume tests the service's promises about offsets, epochs and idempotency keys, over
// HTTP, with replicas and restarts of the service. Each call of newLog returns the opener
// of another, empty log that retains at least what r says.
func Resume(t *testing.T, newLog func(tb testing.TB, r chatsvc.Retention) Opener) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *conversation){
		"every record once":     testEveryRecordOnce,
		"answers":               testAnswers,
		"a key again":           testKeyAgain,
		"a key of what is gone": testKeyOfGone,
		"one key from everyone": testKeyRace,
		"cold meets hot":        testColdMeetsHot,
		"until":                 testUntil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			retention := chatsvc.DefaultRetention()
			if name == "answers" || name == "a key of what is gone" {
				retention.Messages = 5
			}
			c := &conversation{open: newLog(t, retention)}
			if name == "cold meets hot" {
				c.options = []chatsvc.Option{chatsvc.WithHotBytes(0), chatsvc.WithColdBytes(256 << 10)}
			}
			t.Cleanup(c.stop)
			c.start(t)
			test(t, c)
		})
	}
}

// A subscriber that comes back with its epoch and next offset, to whichever
// replica, gets every record once.
func testEveryRecordOnce(t *testing.T, c *conversation) {
	const senders, each = 3, 100
	random := rand.New(rand.NewPCG(4, 3))
	at := c.replicas[0].subscribe(t)
	at.leave()
	for round := 1; round <= 2; round++ {
		var stored sync.Map // offset to content
		var sending sync.WaitGroup
		for s := range senders {
			sending.Go(func() {
				for i := range each {
					content := fmt.Sprint(round, " ", s, " ", i)
					stored.Store(c.replicas[(s+i)%2].send(t, content, "").offset, content)
				}
			})
		}
		seen := make(map[uint64]string)
		last := uint64(round * senders * each)
		for at.next <= last {
			sub := c.replicas[random.IntN(2)].resume(at)
			if sub.epoch != at.epoch || sub.next != at.next {
				t.Fatalf("round %d: asked for record %d of %s, answered %d of %s", round, at.next, at.epoch, sub.next, sub.epoch)
			}
			for n := 1 + random.IntN(30); n > 0 && sub.next <= last; n-- {
				offset := sub.next
				seen[offset] = sub.record()
			}
			sub.leave()
			at = sub
		}
		sending.Wait()
		for offset, content := range seen {
			if want, _ := stored.Load(offset); want != content {
				t.Errorf("record %d is %q, the sender was told so of %v", offset, content, want)
			}
		}
		c.restart(t)
	}
}

// Of ten messages the last five are retained. The answer tells a subscriber which ones
// are gone, also on a replica that was started later.
func testAnswers(t *testing.T, c *conversation) {
	const first, next = 6, 11
	early := c.replicas[0].subscribe(t)
	for n := 1; n < next; n++ {
		c.replicas[n%2].send(t, fmt.Sprint(n), "")
	}
	for n := 1; n <= 3; n++ {
		if got := early.record(); got != fmt.Sprint(n) {
			t.Errorf("record %d is %q", n, got)
		}
	}
	early.leave()
	tests := []struct {
		name, offset, epoch string
		first               uint64
	}{
		{"two are gone", "4", early.epoch, first},
		{"the last one", "10", early.epoch, 10},
		{"the next one", "11", early.epoch, next},
		{"one that nobody has stored", "12", early.epoch, first},
		{"another epoch", "10", "ANOTHER", first},
		{"the last two", "-2", early.epoch, 9},
		{"more than there are", "-99", early.epoch, first},
		{"only new ones", "end", early.epoch, next},
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			c.restart(t)
		}
		for i, r := range c.replicas {
			for _, test := range tests {
				sub := r.subscribe(t, chatsvc.HeaderOffset, test.offset, chatsvc.HeaderEpoch, test.epoch)
				if sub.next != test.first || sub.epoch != early.epoch {
					t.Errorf("%s, replica %d, restarted %v: answered %d of %s, %d of %s was due", test.name, i, restarted, sub.next, sub.epoch, test.first, early.epoch)
				}
				for n := sub.next; n < next; n++ {
					if got := sub.record(); got != fmt.Sprint(n) {
						t.Errorf("%s, replica %d, restarted %v: record %d is %q", test.name, i, restarted, n, got)
					}
				}
				sub.leave()
			}
		}
	}
}

// A repeated send gets the offset of the first one: at once, through another replica, and
// after a restart.
func testKeyAgain(t *testing.T, c *conversation) {
	c.replicas[0].send(t, "something else", "")
	first := c.replicas[0].send(t, "once", "key")
	if first.duplicate || first.offset != 2 {
		t.Fatalf("the first send: %+v", first)
	}
	again := func(when string, r replica) {
		t.Helper()
		if got, want := r.send(t, "once", "key"), (sent{first.offset, true}); got != want {
			t.Errorf("%s: %+v, %+v was due", when, got, want)
		}
	}
	again("at once", c.replicas[0])
	again("through another replica", c.replicas[1])
	c.replicas[1].send(t, "in between", "")
	again("behind another message", c.replicas[0])
	c.restart(t)
	again("after a restart", c.replicas[0])
	again("after a restart, through another replica", c.replicas[1])
	if got := c.replicas[0].send(t, "the end", "another key"); got.duplicate {
		t.Errorf("another key: %+v", got)
	}
	sub := c.replicas[1].subscribe(t)
	defer sub.leave()
	for _, want := range []string{"something else", "once", "in between", "the end"} {
		if got := sub.record(); got != want {
			t.Errorf("%q is stored where %q was due", got, want)
		}
	}
}

// A key is known for the whole window, even if its message is no longer retained.
func testKeyOfGone(t *testing.T, c *conversation) {
	first := c.replicas[0].send(t, "gone", "key")
	for n := range 10 {
		c.replicas[1].send(t, fmt.Sprint(n), "")
	}
	c.replicas[0].send(t, "the last", "") // a subscriber that gets it has read all earlier ones
	sub := c.replicas[0].subscribe(t)
	sub.leave()
	if sub.next <= first.offset {
		t.Fatalf("record %d is still there", first.offset)
	}
	for _, when := range []string{"at once", "after a restart"} {
		for i, r := range c.replicas {
			if got, want := r.send(t, "gone", "key"), (sent{first.offset, true}); got != want {
				t.Errorf("%s, replica %d: %+v, %+v was due", when, i, got, want)
			}
		}
		c.restart(t)
	}
}

// Of sends with one key that race, through both replicas, one is stored.
func testKeyRace(t *testing.T, c *conversation) {
	const rounds, racers = 20, 8
	for round := range uint64(rounds) {
		var answers [racers]sent
		var racing sync.WaitGroup
		for i := range answers {
			racing.Go(func() { answers[i] = c.replicas[i%2].send(t, fmt.Sprint(round), fmt.Sprint("key ", round)) })
		}
		racing.Wait()
		stored := 0
		for _, got := range answers {
			if got.offset != round+1 {
				t.Errorf("round %d: offset %d", round, got.offset)
			}
			if !got.duplicate {
				stored++
			}
		}
		if stored != 1 {
			t.Errorf("round %d: %d sends are no duplicates", round, stored)
		}
	}
	sub := c.replicas[1].subscribe(t)
	defer sub.leave()
	for round := range rounds {
		if got := sub.record(); got != fmt.Sprint(round) {
			t.Errorf("%q is stored where %d was due", got, round)
		}
	}
}

// Records from the log are followed by those in memory without a gap, a duplicate or a
// change of order, wherever and whenever a subscriber begins.
func testColdMeetsHot(t *testing.T, c *conversation) {
	const senders, each, subscribers = 3, 300, 8
	content := func(sender, n int) string {
		return strings.Repeat(string(rune('a'+sender)), 100+(sender+1)*n*7%2000) + fmt.Sprint(" ", n)
	}
	for n := range 300 { // history
		c.replicas[n%2].send(t, content(3, n), "")
	}
	c.restart(t) // none of it is in memory
	const last = 300 + senders*each
	var sending, reading sync.WaitGroup
	var said sync.Map // offset to content
	for s := range senders {
		sending.Go(func() {
			for n := range each {
				text := content(s, n)
				said.Store(c.replicas[(s+n)%2].send(t, text, "").offset, text)
			}
		})
	}
	seen := make([]map[uint64]string, subscribers)
	for i := range seen {
		seen[i] = make(map[uint64]string)
		reading.Go(func() {
			for next := uint64(1 + 40*i); next <= last; {
				sub := c.replicas[i%2].subscribe(t, chatsvc.HeaderOffset, strconv.FormatUint(next, 10))
				if sub.next != next {
					t.Errorf("subscriber %d: asked for %d, got %d", i, next, sub.next)
				}
				for n := 0; n < 150*(i+1) && sub.next <= last; n++ {
					at := sub.next
					seen[i][at] = sub.record()
				}
				next = sub.next
				sub.leave()
			}
		})
	}
	sending.Wait()
	reading.Wait()
	for i := range seen {
		if want := last - 40*i; len(seen[i]) != want {
			t.Errorf("subscriber %d saw %d records, %d were due", i, len(seen[i]), want)
		}
		for offset, got := range seen[i] {
			want, _ := said.Load(offset)
			if offset <= 300 {
				want = content(3, int(offset-1))
			}
			if got != want {
				t.Fatalf("subscriber %d: record %d is %.20q, %.20q was due", i, offset, got, want)
			}
		}
	}
}

// A stream ends before the record that the request names, and the response names that
// record.
func testUntil(t *testing.T, c *conversation) {
	for n := 1; n <= 10; n++ {
		c.replicas[n%2].send(t, fmt.Sprint(n), "")
	}
	at := c.replicas[0].subscribe(t)
	at.leave()
	for i, r := range c.replicas { // a replica learns a moment later what was sent to another one
		sub := r.subscribe(t, chatsvc.HeaderOffset, "10")
		if got := sub.record(); got != "10" {
			t.Errorf("replica %d: record %q, 10 was due", i, got)
		}
		sub.leave()
	}
	for _, test := range []struct {
		name, offset, epoch, until string
		echo                       string
		contents                   []string
	}{
		{"a range", "3", at.epoch, "6", "6", []string{"3", "4", "5"}},
		{"to the end", "-2", "", "end", "11", []string{"9", "10"}},
		{"nothing", "5", at.epoch, "5", "5", nil},
		{"before the start", "5", at.epoch, "2", "2", nil},
		{"nothing at the end", "end", "", "end", "11", nil},
		{"another epoch", "3", "ANOTHER", "6", "6", nil},
	} {
		for i, r := range c.replicas {
			sub := r.subscribe(t, append([]string{chatsvc.HeaderUntil, test.until, chatsvc.HeaderOffset, test.offset}, optional(chatsvc.HeaderEpoch, test.epoch)...)...)
			if got := sub.stream.ResponseHeader().Get(chatsvc.HeaderUntil); got != test.echo {
				t.Errorf("%s, replica %d: %s: %q, %q was due", test.name, i, chatsvc.HeaderUntil, got, test.echo)
			}
			var got []string
			for sub.stream.Receive() {
				for _, m := range sub.stream.Msg().GetMessages() {
					got = append(got, string(m.GetContent()))
				}
			}
			if err := sub.stream.Err(); err != nil || !slices.Equal(got, test.contents) {
				t.Errorf("%s, replica %d: %q, %v; %q was due", test.name, i, got, err, test.contents)
			}
			sub.leave()
		}
	}
	sub := c.replicas[0].subscribe(t, chatsvc.HeaderOffset, "10", chatsvc.HeaderUntil, "13")
	defer sub.leave()
	for n := 10; n < 13; n++ {
		if got := sub.record(); got != fmt.Sprint(n) {
			t.Errorf("record %q, %d was due", got, n)
		}
		c.replicas[1].send(t, fmt.Sprint(n+1), "")
	}
	if sub.stream.Receive() || sub.stream.Err() != nil {
		t.Errorf("at its end: %v, %v", sub.stream.Msg(), sub.stream.Err())
	}
}
