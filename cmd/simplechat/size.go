package main

import (
	"fmt"
	"strconv"

	"github.com/alecthomas/units"
)

// byteSize is a flag for a number of bytes, with or without a unit.
type byteSize int64

// String returns the size in the largest unit that suits it.
func (s byteSize) String() string {
	if s == 0 {
		return "0"
	}
	return units.Base2Bytes(s).String()
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *byteSize) UnmarshalText(text []byte) error {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		*s = byteSize(n)
		return nil
	}
	n, err := units.ParseBase2Bytes(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a size: write a number of bytes, such as 1048576, or use a unit, such as 512KiB or 64MiB", text)
	}
	*s = byteSize(n)
	return nil
}
