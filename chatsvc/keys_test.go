package chatsvc

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
)

// A log with as many keys as it may know refuses further ones without storing
// anything, still recognizes those that it knows, and takes new ones in the end.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keys = 100
		l := NewMemoryLog(Retention{})
		if l.maxKeys != MaxKeys {
			t.Errorf("it may know %d keys, %d are documented", l.maxKeys, MaxKeys)
		}
		l.maxKeys = keys
		put := func(key string) (Appended, error) { return l.Append(context.Background(), []byte("x"), key) }
		for n := range keys {
			if _, err := put(strconv.Itoa(n)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := put("one more")
		var coded *connect.Error
		if !errors.As(err, &coded) || coded.Code() != connect.CodeResourceExhausted {
			t.Fatalf("one key too many: %v", err)
		}
		if wait := coded.Meta().Get(HeaderRetryAfter); wait != strconv.Itoa(int(KeyWindow/time.Second)) {
			t.Errorf("come back after %q s", wait)
		}
		if state, _ := l.State(context.Background()); state.Next != keys+1 {
			t.Errorf("the next offset is %d", state.Next)
		}
		if got, err := put("7"); err != nil || !got.Duplicate || got.Offset != 8 {
			t.Errorf("a known key: %+v, %v", got, err)
		}
		if _, err := put(""); err != nil {
			t.Errorf("without a key: %v", err)
		}
		ordered := l.AppendOrdered(context.Background(), []NewRecord{{[]byte("x"), "8"}, {[]byte("x"), "one more"}, {[]byte("x"), ""}})
		if len(ordered) != 2 || !ordered[0].Appended.Duplicate || ordered[1].Err == nil {
			t.Errorf("in order: %+v", ordered)
		}
		if state, _ := l.State(context.Background()); state.Next != keys+2 {
			t.Errorf("the next offset is %d after records in order", state.Next)
		}
		time.Sleep(KeyWindow + time.Second) // of the bubble's clock
		if _, err := put("one more"); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}
