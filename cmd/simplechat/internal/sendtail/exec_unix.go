//go:build unix

package sendtail

import (
	"os/exec"
	"syscall"
)

// setGroup keeps Ctrl+C, which the terminal sends to the whole group, from the command.
func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
