package main

import (
	"fmt"
	"time"

	"example.com/simplechat/chatsvc"
)

// defaultRetainBytes is how many bytes are retained on a disk, unless a flag sets it.
const defaultRetainBytes = 1 << 30

// historyFlags say how much history is retained, how much of it subscribers receive, and
// how much of it is in memory.
type historyFlags struct {
	RetainMessages *int           `placeholder:"N" help:"Messages to keep, 0 for any number (any number; with --memory 10000)."`
	RetainBytes    *byteSize      `placeholder:"SIZE" help:"Bytes of messages to keep, 0 for any (1GiB; with --memory 64MiB)."`
	RetainAge      *time.Duration `placeholder:"DURATION" help:"How long to keep a message, 0 for ever (for ever)."`

	ReplayMessages int      `default:"10000" placeholder:"N" help:"Largest number of messages for a subscriber without Chat-Offset, 0 for all (${default})."`
	ReplayBytes    byteSize `default:"64MiB" placeholder:"SIZE" help:"Largest number of bytes for a subscriber without Chat-Offset, 0 for all (${default})."`

	HotBytes  byteSize `default:"64MiB" placeholder:"SIZE" help:"Memory for the newest messages (${default})."`
	ColdBytes byteSize `default:"32MiB" placeholder:"SIZE" help:"Memory for older messages that are being read (${default})."`
}

// check names the flag that is out of range.
func (f *historyFlags) check() error {
	for _, flag := range []struct {
		name  string
		value int64
	}{
		{"retain-messages", int64(value(f.RetainMessages, 0))},
		{"retain-bytes", int64(value(f.RetainBytes, 0))},
		{"retain-age", int64(value(f.RetainAge, 0))},
		{"replay-messages", int64(f.ReplayMessages)},
		{"replay-bytes", int64(f.ReplayBytes)},
		{"hot-bytes", int64(f.HotBytes)},
		{"cold-bytes", int64(f.ColdBytes)},
	} {
		if flag.value < 0 {
			if flag.name == "retain-age" {
				return fmt.Errorf("--%s %v: it must not be negative", flag.name, time.Duration(flag.value))
			}
			return fmt.Errorf("--%s %d: it must not be negative", flag.name, flag.value)
		}
	}
	return nil
}

// retention returns the retention of a log in memory or of another one.
func (f *historyFlags) retention(inMemory bool) chatsvc.Retention {
	unset := chatsvc.Retention{Bytes: defaultRetainBytes}
	if inMemory {
		unset = chatsvc.DefaultRetention()
	}
	return chatsvc.Retention{
		Messages: value(f.RetainMessages, unset.Messages),
		Bytes:    int64(value(f.RetainBytes, byteSize(unset.Bytes))),
		Age:      value(f.RetainAge, unset.Age),
	}
}

// replay returns the history for subscribers that ask for no offset.
func (f *historyFlags) replay() chatsvc.Replay {
	return chatsvc.Replay{Messages: f.ReplayMessages, Bytes: int64(f.ReplayBytes)}
}

// value returns a flag's value, or unset if it was not given.
func value[T any](flag *T, unset T) T {
	if flag == nil {
		return unset
	}
	return *flag
}
