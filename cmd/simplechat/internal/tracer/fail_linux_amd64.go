//go:build !race

package tracer

import "golang.org/x/sys/unix"

// failSync makes the sync that a thread is about to begin fail. The caller holds mu.
func (t *Tracer) failSync(thread int) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
	regs.Orig_rax = ^uint64(0) // no system call
	if err := unix.PtraceSetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
	t.failed[thread] = true
}

// failedSync makes EIO the result of a sync that was to fail.
func (t *Tracer) failedSync(thread int) {
	delete(t.failed, thread)
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
	result := -int64(unix.EIO)
	regs.Rax = uint64(result)
	if err := unix.PtraceSetRegs(thread, &regs); err != nil {
		t.failf("registers: %w", err)
	}
}
