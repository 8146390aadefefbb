package process

import "syscall"

// endWithParent has a program killed when the test's process dies without its clean-up, as it does after a timeout.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
