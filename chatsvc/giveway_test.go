package chatsvc

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A cold read waits until the crowd has read the released records, for at most coldPause;
// a small crowd does not make it wait.
func TestColdReadsGiveWayToTheCrowd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		crowd, parks int
		want         time.Duration
	}{
		"the crowd parks":        {smallCrowd, smallCrowd, 0},
		"it does not":            {smallCrowd, smallCrowd / 2, coldPause},
		"it is small":            {smallCrowd - 1, 0, 0},
		"most of the crowd does": {smallCrowd, smallCrowd*crowdShare/100 + 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCrowdTest(t, test.crowd)
				c.publish()
				began := time.Now()
				var waited time.Duration
				var done atomic.Bool
				go func() {
					c.broker.giveWay(t.Context())
					waited = time.Since(began)
					done.Store(true)
				}()
				synctest.Wait()
				if isWaiting := test.crowd >= smallCrowd; done.Load() == isWaiting {
					t.Errorf("it waits: %v, %v was due", !done.Load(), isWaiting)
				}
				for i := range test.parks {
					c.park(i)
				}
				time.Sleep(time.Second) // of the bubble's clock
				if !done.Load() || waited != test.want {
					t.Errorf("it waited for %v (ended: %v), %v was due", waited, done.Load(), test.want)
				}
				c.broker.hold.Stop()
			})
		})
	}
}

// A reader of old records does not go before goroutines that can run already: while
// they run, it gets no more than the scheduler's rare turns.
//
//nolint:paralleltest // it has the processor for itself
func TestColdReadsYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const live, blocks = 200, 200
	c := newColdTest(t, blocks*coldBlock, 10, 64<<20)
	released := make(chan struct{})
	var woken sync.WaitGroup
	var left atomic.Int32
	left.Store(live)
	for range live {
		woken.Go(func() {
			<-released
			left.Add(-1)
		})
	}
	runtime.Gosched() // all of them wait
	reads, before := 0, 0
	c.log.before = func() {
		switch reads++; {
		case reads == 10:
			close(released)
		case reads > 10 && left.Load() > 0:
			before++
		}
	}
	c.readAll("reader")
	woken.Wait()
	if before > 1+live/50 {
		t.Errorf("%d cold reads began before %d goroutines had run that could run before", before, live)
	}
}
