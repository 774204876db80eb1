package jetlog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc"
)

// A key is known for its window, counted from when its record was stored, and is
// then forgotten.
func TestRecentKeysAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var k recentKeys
		known := func(want string) {
			t.Helper()
			var got []uint64
			for key := range 9 {
				if offset, ok := k.find(messageID(fmt.Sprint(key))); ok {
					got = append(got, offset)
				}
			}
			if fmt.Sprint(got) != want {
				t.Errorf("%v are known, %s was due", got, want)
			}
		}
		note := func(offset uint64, at time.Time) {
			k.note(messageID(fmt.Sprint(offset)), keyUse{offset, at})
		}
		const half = chatsvc.KeyWindow * 3 / 5
		known("[]")
		note(1, time.Now().Add(-chatsvc.KeyWindow-1)) // as of a history
		note(2, time.Now().Add(-half))
		note(3, time.Now())
		note(4, time.Now().Add(time.Hour)) // of a clock that is ahead
		k.note("another program's", keyUse{5, time.Now()})
		known("[2 3 4]")
		time.Sleep(half)
		known("[3 4]")
		note(6, time.Now())
		time.Sleep(half)
		known("[6]")
		note(7, time.Now())
		known("[6 7]")
		time.Sleep(half)
		known("[7]")
		time.Sleep(half)
		known("[]")
		k.forget(time.Now())
		time.Sleep(2 * half)
		k.forget(time.Now())
		if len(k.young)+len(k.old) > 0 {
			t.Errorf("in memory are still %v and %v", k.young, k.old)
		}
	})
}
