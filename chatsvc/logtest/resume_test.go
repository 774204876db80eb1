package logtest_test

import (
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/logtest"
)

func TestMemoryLogResume(t *testing.T) {
	t.Parallel()
	logtest.Resume(t, func(_ testing.TB, r chatsvc.Retention) logtest.Opener {
		log := chatsvc.NewMemoryLog(r)
		return func(testing.TB) (chatsvc.Log, func()) { return log, func() {} }
	})
}
