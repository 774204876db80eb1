package nosecret

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// A password is found in each form in which it travels.
func TestFind(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"user1:qwerty", base64.StdEncoding.EncodeToString([]byte("qwerty")),
		base64.StdEncoding.EncodeToString([]byte("user1:qwerty")), base64.StdEncoding.EncodeToString([]byte("user10:qwerty")),
		base64.StdEncoding.EncodeToString([]byte("user100:qwerty")), "sct_ABC", "$argon2id$v=19",
	} {
		if found := find("level=INFO msg=" + text + " more"); !strings.Contains(found, "more") {
			t.Errorf("not found: %s (%q)", text, found)
		}
	}
	if found := find("level=INFO msg=subscribed user=user1"); found != "" {
		t.Errorf("found %q", found)
	}
}

// A logger hands its lines on, and remembers a secret.
func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &writer{}
	w.to = append(w.to, &out)
	if _, err := w.Write([]byte("clean\n")); err != nil || w.first() != "" || out.String() != "clean\n" {
		t.Errorf("%v, %q, %q", err, w.first(), out.String())
	}
	if _, err := w.Write([]byte("qwerty\n")); err != nil || w.first() != "qwerty\n" {
		t.Errorf("%v, %q", err, w.first())
	}
	w.to = append(w.to, failing{})
	if _, err := w.Write(nil); err == nil {
		t.Error("an error of a writer is lost")
	}
	Logger(t, &out).Debug("all levels")
	if !strings.Contains(out.String(), "all levels") {
		t.Errorf("%q", out.String())
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken") }
