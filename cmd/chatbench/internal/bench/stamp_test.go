package bench

import (
	"encoding/base64"
	"testing"
)

func TestStamp(t *testing.T) {
	t.Parallel()
	want := stamp{run: 1<<28 - 1, slot: maxSlots - 1, seq: 1<<42 - 1, due: 1<<63 - 1}
	content := NewContent(StampBytes)
	want.put(content)
	if got, err := parseStamp(content); err != nil || got != want {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
	for _, b := range content {
		if b >= 0x80 {
			t.Errorf("%q is not ASCII", content)
		}
	}
	if _, err := base64.StdEncoding.DecodeString(base64.StdEncoding.EncodeToString(content)[:base64.StdEncoding.EncodedLen(StampBytes)]); err != nil {
		t.Error(err)
	}
	for _, content := range []string{"", "hello", "# this is longer than a stamp, and is none"} {
		if got, err := parseStamp([]byte(content)); err == nil {
			t.Errorf("%q is %+v", content, got)
		}
	}
}
