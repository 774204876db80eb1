//go:build linux && !race && !amd64

package tracer

// failSync and failedSync need the names of a processor's registers.
func (t *Tracer) failSync(int)   { t.failf("no sync can be made to fail on this processor") }
func (t *Tracer) failedSync(int) {}
