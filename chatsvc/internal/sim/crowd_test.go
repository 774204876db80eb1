package sim

import (
	"fmt"

	"example.com/simplechat/chatsvc"
)

// maxCrowds bounds the crowds of a run, which cost much time.
const maxCrowds = 2

// crowd begins subscribers in the process of a server: enough of them that records are
// held until most have read.
func (w *world) crowd(s step) {
	srv, ok := w.up(s.A)
	if !ok || w.crowds == maxCrowds {
		return
	}
	w.crowds++
	for n := range s.B {
		t := newTrack(w, fmt.Sprintf("member %d of crowd %d", n, w.crowds))
		service := srv.service
		w.watchers.Go(func() { t.read(service) })
	}
}

// read reads the records of a service until it ends.
func (t *track) read(service *chatsvc.Service) {
	for m, err := range service.Messages(t.w.ctx, "-3") {
		if err != nil {
			t.w.reached.add("crowd: ends")
			return
		}
		if t.epoch == "" {
			t.begin(m.Epoch, m.Offset, true)
		}
		t.record(m.Epoch, m.Offset, m.ChatMessage)
	}
}
