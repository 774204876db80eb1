package sendtail

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		limit time.Duration
		once  bool
		steps string // f: failed, h: heard, a letter a second
		want  bool   // it ends
	}{
		{"no server", 3 * time.Second, true, "ffff", true},
		{"in time", 3 * time.Second, true, "ffh", false},
		{"later is no matter", 3 * time.Second, true, "fhffffff", false},
		{"later is a matter", 3 * time.Second, false, "fhffff", true},
		{"each time in time", 3 * time.Second, false, "ffhffhffh", false},
		{"no limit", 0, false, "ffff", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan struct{})
				p := newPatience(tt.limit, tt.once, func() { close(ended) })
				for _, step := range tt.steps {
					if step == 'f' {
						p.failed()
					} else {
						p.heard()
					}
					<-time.After(time.Second)
				}
				synctest.Wait()
				p.stop()
				select {
				case <-ended:
					if !tt.want {
						t.Error("it has ended")
					}
				default:
					if tt.want {
						t.Error("it has not ended")
					}
				}
			})
		})
	}
}
