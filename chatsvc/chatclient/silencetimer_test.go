package chatclient

import (
	"net/http"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
)

func TestSilenceOfHeartbeat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, header string
		config       config
		want         time.Duration
	}{
		{"none announced", "", config{silence: DefaultSilence}, DefaultSilence},
		{"default", "25", config{silence: DefaultSilence}, time.Minute},
		{"fraction", "0.5", config{silence: DefaultSilence}, 11 * time.Second},
		{"never", "0", config{silence: DefaultSilence}, 0},
		{"not a number", "NaN", config{silence: DefaultSilence}, DefaultSilence},
		{"negative", "-1", config{silence: DefaultSilence}, DefaultSilence},
		{"too long", "1e300", config{silence: DefaultSilence}, DefaultSilence},
		{"set by the caller", "0", config{silence: time.Second, hasSilence: true}, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			h.Set(chatsvc.HeaderHeartbeat, test.header)
			if got := test.config.silenceOf(h); got != test.want {
				t.Errorf("%v, %v is due", got, test.want)
			}
		})
	}
}
