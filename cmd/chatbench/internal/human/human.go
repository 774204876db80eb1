// Package human writes numbers for people, with about three digits.
package human

import (
	"fmt"
	"strconv"
	"time"
)

// Count is a number such as 4.00 M.
func Count(n float64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', 2, 64) + " M"
	case n >= 1e4:
		return strconv.FormatFloat(n/1e3, 'f', 1, 64) + " k"
	default:
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
}

// Bytes is a size such as 23.4 KiB.
func Bytes(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return strconv.FormatFloat(n, 'f', 1, 64) + " " + unit
		}
		n /= 1024
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + " GiB"
}

// Micros is a time in ns as µs.
func Micros(ns float64) string { return strconv.FormatFloat(ns/1000, 'f', 2, 64) + " µs" }

// Time is a time in ns such as 54.6ms.
func Time(ns float64) string { return Round(time.Duration(ns)).String() }

// Round leaves three digits of a time.
func Round(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// Ratio is a factor such as 0.103.
func Ratio(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Thousands is a number with commas.
func Thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", Thousands(n/1000), n%1000)
}
