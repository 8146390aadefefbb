// Package process runs the programs that tests need beside them: each writes to a log file, and is ended by the value that started
// it, or with the test's own process where the system can do that. It knows nothing of what it runs.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Process is one program that runs.
type Process struct {
	Ended chan struct{} // closed when it has ended; Err is set then
	Err   error
	cmd   *exec.Cmd
}

// Start starts cmd, whose outputs are appended to the file log.
func Start(cmd *exec.Cmd, log string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &Process{cmd: cmd, Ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = endWithParent()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		p.Err = p.cmd.Wait()
		close(p.Ended)
	}()
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process if it still runs.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Stop asks the process to end, and ends it when it has not done so in five seconds.
func (p *Process) Stop() {
	p.Signal(os.Interrupt)
	select {
	case <-p.Ended:
	case <-time.After(5 * time.Second):
		p.Kill()
	}
}

// Kill ends the process without asking.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.Ended
}

// Tail is the last lines of a log file; "" when there is none.
func Tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
