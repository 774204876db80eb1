package logtest_test

import (
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/logtest"
)

func newMemoryLog(_ testing.TB, r chatsvc.Retention) logtest.Opener {
	log := chatsvc.NewMemoryLog(r)
	return func(testing.TB) (chatsvc.Log, func()) { return log, func() {} }
}

func TestMemoryLog(t *testing.T) {
	t.Parallel()
	logtest.Log(t, newMemoryLog)
}
