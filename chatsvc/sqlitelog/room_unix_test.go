//go:build unix

package sqlitelog

import (
	"fmt"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"zombiezen.com/go/sqlite"
)

// A write that a quota refuses is answered as a full disk is: the message was not
// stored. Another one that fails is not taken for that.
func TestQuota(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		room error
		err  error
		code connect.Code
	}{
		"quota":          {syscall.EDQUOT, sqlite.ResultIOErrWrite.ToError(), connect.CodeResourceExhausted},
		"full":           {syscall.ENOSPC, fmt.Errorf("commit: %w", sqlite.ResultIOErrWrite.ToError()), connect.CodeResourceExhausted},
		"larger limit":   {nil, sqlite.ResultIOErrWrite.ToError(), connect.CodeUnavailable},
		"another reason": {syscall.EDQUOT, sqlite.ResultIOErrRead.ToError(), connect.CodeUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sys := newMachine().system()
			sys.room = func(string) error { return test.room }
			w := newWriter(newLog(t.TempDir(), Options{system: sys}))
			if code := connect.CodeOf(refusal(w.explain(test.err))); code != test.code {
				t.Errorf("code %v, not %v", code, test.code)
			}
		})
	}
}
