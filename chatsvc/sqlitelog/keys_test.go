package sqlitelog

import (
	"errors"
	"strconv"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// A log with as many keys as it may know refuses further ones without storing anything,
// still recognizes those that it knows, and takes new ones in the end.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	const keys = 20
	machine := newMachine()
	log := newLog(t.TempDir(), Options{system: machine.system()})
	log.maxKeys = keys
	if err := log.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLog(t, log) })
	for n := range keys {
		add(t, log, "x", strconv.Itoa(n))
	}
	machine.mono.Add(20_000)
	_, err := log.Append(t.Context(), newRecord("x"), "one more")
	coded, ok := errors.AsType[*connect.Error](err)
	if !ok || coded.Code() != connect.CodeResourceExhausted || coded.Meta().Get(chatsvc.HeaderRetryAfter) != "100" {
		t.Fatalf("one key too many: %v", err)
	}
	if got := stateOf(t, log); got.Next != keys+1 {
		t.Errorf("state %+v", got)
	}
	if got := add(t, log, "x", "7"); !got.Duplicate || got.Offset != 8 {
		t.Errorf("a known key: %+v", got)
	}
	if got := add(t, log, "x", ""); got.Offset != keys+1 {
		t.Errorf("without a key: %+v", got)
	}
	ordered := log.AppendOrdered(t.Context(), []chatsvc.NewRecord{{Record: newRecord("x"), Key: "8"}, {Record: newRecord("x"), Key: "one more"}, {Record: newRecord("x")}})
	if len(ordered) != 2 || !ordered[0].Appended.Duplicate || ordered[1].Err == nil {
		t.Errorf("in order: %+v", ordered)
	}
	invalid := log.AppendOrdered(t.Context(), []chatsvc.NewRecord{{Record: []byte("no record")}, {Record: newRecord("x")}})
	if len(invalid) != 1 || connect.CodeOf(invalid[0].Err) != connect.CodeInvalidArgument {
		t.Errorf("after bytes that are no record: %+v", invalid)
	}
	if got := stateOf(t, log); got.Next != keys+2 {
		t.Errorf("state %+v after records in order", got)
	}
	machine.mono.Add(100_001)
	add(t, log, "x", "") // forgets the keys
	if got := add(t, log, "x", "one more"); got.Offset != keys+3 {
		t.Errorf("later: %+v", got)
	}
}
