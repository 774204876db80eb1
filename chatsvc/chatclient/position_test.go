package chatclient_test

import (
	"encoding/json"
	"math"
	"testing"

	"example.com/simplechat/chatsvc/chatclient"
)

func TestPositionText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		position chatclient.Position
		text     string
	}{
		{chatclient.Position{}, "all"},
		{chatclient.All(), "all"},
		{chatclient.End(), "end"},
		{chatclient.Last(0), "end"},
		{chatclient.Last(10), "-10"},
		{chatclient.Last(math.MaxUint64), "-18446744073709551615"},
		{chatclient.At("", 0), "0"},
		{chatclient.At("", 17), "17"},
		{chatclient.At("EPOCH", 17), "17@EPOCH"},
		{chatclient.At("e@p-o:c/h", math.MaxUint64), "18446744073709551615@e@p-o:c/h"},
	}
	for _, test := range tests {
		if got := test.position.String(); got != test.text {
			t.Errorf("%#v is %q, %q was due", test.position, got, test.text)
		}
		stored, err := json.Marshal(map[string]chatclient.Position{"at": test.position})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]chatclient.Position{"at": chatclient.Last(99)}
		if err := json.Unmarshal(stored, &got); err != nil || got["at"] != test.position {
			t.Errorf("%s is %#v, %v", stored, got["at"], err)
		}
	}
	for _, text := range []string{"", "-", "@", "-0", "+1", "1.5", "x", "17@", "-17@EPOCH", "all@EPOCH", "end@EPOCH", "@EPOCH", " 1", "18446744073709551616"} {
		p := chatclient.Last(99)
		if err := p.UnmarshalText([]byte(text)); err == nil || p != chatclient.Last(99) {
			t.Errorf("%q is %v, %v", text, p, err)
		}
	}
	if epoch, offset, ok := chatclient.At("E", 17).Offset(); epoch != "E" || offset != 17 || !ok {
		t.Errorf("offset %d of epoch %q, %v", offset, epoch, ok)
	}
	if _, _, ok := chatclient.Last(17).Offset(); ok {
		t.Error("the last 17 have an offset")
	}
}
