package jetlog

import (
	"testing"
	"time"
)

// When the server in this process cuts off the log's connection, as after a
// standstill, the log goes on by itself.
func TestDroppedConnectionIsRepaired(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), t.TempDir(), 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := l.Append(t.Context(), []byte("before"), ""); err != nil {
		t.Fatal(err)
	}
	clients, err := l.engine.srv.Connz(nil)
	if err != nil || len(clients.Conns) != 1 {
		t.Fatalf("%d connections, %v", len(clients.Conns), err)
	}
	if err := l.engine.srv.DisconnectClientByID(clients.Conns[0].Cid); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		got, err := l.Append(t.Context(), []byte("after"), "key")
		if err == nil {
			if got.Offset != 2 {
				t.Errorf("offset %d after 1", got.Offset)
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not go on: %v", err)
		}
	}
}
