package h2

import "sync/atomic"

// maxIdleWorkers is how many goroutines may wait for the next call. Each holds a
// stack of about 8 KiB.
const maxIdleWorkers = 256

// workers run calls on goroutines that are reused: a stack that has grown for one call
// serves the next one.
type workers struct {
	calls chan *stream
	idle  atomic.Int32
}

// run runs call on a goroutine of its own.
func (w *workers) run(call *stream) {
	select {
	case w.calls <- call:
	default:
		go w.work(call)
	}
}

func (w *workers) work(call *stream) {
	for call != nil {
		call.run()
		if w.idle.Add(1) > maxIdleWorkers {
			w.idle.Add(-1)
			return
		}
		call = <-w.calls // nil when stopped
		w.idle.Add(-1)
	}
}

// stop ends the idle goroutines. Nothing may be run after it.
func (w *workers) stop() { close(w.calls) }
