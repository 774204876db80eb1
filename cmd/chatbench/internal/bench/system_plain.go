//go:build !unix || freebsd || dragonfly

package bench

import (
	"time"
)

// raiseFiles leaves the limit as the system has it.
func raiseFiles(int) error { return nil }

// ownCPU is not known.
func ownCPU() time.Duration { return 0 }
