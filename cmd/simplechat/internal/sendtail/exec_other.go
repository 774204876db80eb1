//go:build !unix

package sendtail

import "os/exec"

// setGroup does nothing where there are no process groups.
func setGroup(*exec.Cmd) {}
