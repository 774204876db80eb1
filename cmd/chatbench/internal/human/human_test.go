package human

import (
	"testing"
	"time"
)

// Numbers are written with about three digits, and with the right unit at each end of
// its range.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		Count(0): "0", Count(9999): "9999", Count(10_000): "10.0 k", Count(1e6): "1.00 M",
		Bytes(1023): "1023.0 B", Bytes(1024): "1.0 KiB", Bytes(23.44 * 1024): "23.4 KiB", Bytes(3 << 40): "3072.0 GiB",
		Micros(183): "0.18 µs", Time(54_612_345): "54.6ms", Time(float64(7 * time.Second)): "7s",
		Ratio(0.10349): "0.103", Ratio(54.19): "54.2", Ratio(1234.5): "1234",
		Thousands(999): "999", Thousands(1000): "1,000", Thousands(2_000_007): "2,000,007",
	} {
		if got != want {
			t.Errorf("%q, %q was expected", got, want)
		}
	}
}
