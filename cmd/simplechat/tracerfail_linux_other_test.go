//go:build linux && !race && !amd64

package main

// failSync and failedSync need the names of a processor's registers.
func (t *tracer) failSync(int)   { t.failf("no sync can be made to fail on this processor") }
func (t *tracer) failedSync(int) {}
