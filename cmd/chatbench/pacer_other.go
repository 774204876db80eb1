//go:build !linux

package main

import "time"

func pinPacer() func() { return func() {} }

func pause(d time.Duration) { time.Sleep(d) }
