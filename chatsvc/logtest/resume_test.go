package logtest_test

import (
	"testing"

	"example.com/simplechat/chatsvc/logtest"
)

func TestMemoryLogResume(t *testing.T) {
	t.Parallel()
	logtest.Resume(t, newMemoryLog)
}
