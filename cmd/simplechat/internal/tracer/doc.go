// Package tracer runs a program under ptrace(2) and notes what it does to the files of a
// directory, so that a test can cut the power after any event, or make syncs fail. It runs on
// Linux only, and not with the race detector.
package tracer
