package jetlog

import (
	"errors"
	"testing"

	"example.com/simplechat/chatsvc"
)

// A log that took its stream for another one goes on when it finds out.
func TestTurnThatWasNone(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), t.TempDir(), 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.turn(l.turned)
	if _, err := l.Append(t.Context(), []byte("x"), ""); !errors.Is(err, errReplaced) {
		t.Errorf("append: %v", err)
	}
	if err := l.Follow(t.Context(), 1, func(chatsvc.Entry) error { return nil }); !errors.Is(err, errReplaced) {
		t.Errorf("follow: %v", err)
	}
	if _, err := l.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []byte("x"), ""); err != nil {
		t.Errorf("append when the state is known: %v", err)
	}
}
