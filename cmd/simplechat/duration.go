package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"
)

// parseDuration parses a duration in Go's form (1h30m, 1.5s), or with days, weeks and
// years (3d, 1d12h, 2w).
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	long, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write a number and a unit, such as 300ms, 90s, 1h30m or 3d", text)
	}
	return time.Duration(long), nil
}

// durationMapper makes kong read durations by [parseDuration].
func durationMapper() kong.Option {
	return kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
			return err
		}
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		target.SetInt(int64(d))
		return nil
	}))
}
