package world

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/process"
)

// Replica is one process of the gate, in the hands of one test. It keeps its ports, and what it knows of Git, over its starts.
type Replica struct {
	*replica
	w *World
}

type replica struct {
	name            string // of its program and its log
	address, health string // 127.0.0.1:PORT
	state           string // folder
}

// newReplica chooses the ports of a replica.
func newReplica(dir string, n int, ports *process.Ports) (*replica, error) {
	r := &replica{name: gateProgram, state: filepath.Join(dir, "state")}
	if n > 0 {
		r.name, r.state = fmt.Sprint(r.name, "-", n), fmt.Sprint(r.state, "-", n)
	}
	for _, address := range []*string{&r.address, &r.health} {
		port, err := ports.Free()
		if err != nil {
			return nil, err
		}
		*address = fmt.Sprint("127.0.0.1:", port)
	}
	return r, nil
}

// Replica is the replica of a number, from 0 on.
func (w *World) Replica(n int) Replica { return Replica{w.gate.replicas[n], w} }

// Replicas are all of them.
func (w *World) Replicas() []Replica {
	var all []Replica
	for n := range w.gate.replicas {
		all = append(all, w.Replica(n))
	}
	return all
}

// Address is where the replica serves, 127.0.0.1:PORT.
func (r Replica) Address() string { return r.address }

// Launch starts the replica with the arguments of the chart's container, under the identity of the chart's service account, and does
// not wait for it. What it knew of Git when it ran before it knows again.
func (r Replica) Launch() {
	r.w.t.Helper()
	args := slices.Concat(r.w.gate.args, []string{
		"--listen=" + r.address, "--health-listen=" + r.health, "--state=" + r.state,
		"--kubeconfig=" + r.w.Kubeconfig(GateUser, controlplane.ServiceAccountGroups(GateNamespace)...),
		"--drain-delay=0s",
	})
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--tls-secret=") }) {
		args = append(args, "--tls-name=127.0.0.1")
	}
	cmd := exec.Command(r.w.options.Program, append(args, r.w.options.Gate...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "KUBECONFIG=")
	r.w.Run(r.name, cmd)
}

// Ready says why the replica is not ready; nil when it is.
func (r Replica) Ready() error {
	code, text, err := r.ask("/readyz")
	switch {
	case err != nil:
		return errors.Join(err, r.w.ended(r.name))
	case code != http.StatusOK:
		return fmt.Errorf("HTTP %d: %s", code, text)
	}
	return nil
}

// Stop ends the replica as a rollout does, which drains it; Kill as a node that dies does.
func (r Replica) Stop() {
	if p := r.w.program(r.name); p != nil {
		p.Signal(syscall.SIGTERM)
		<-p.Ended
		r.w.HaltProgram(r.name)
	}
}

// Kill ends the replica at once.
func (r Replica) Kill() {
	if p := r.w.program(r.name); p != nil {
		p.Kill()
		r.w.HaltProgram(r.name)
	}
}

// Hurry makes the replica look for new commits, configuration and certificates at once.
func (r Replica) Hurry() {
	if p := r.w.program(r.name); p != nil {
		p.Signal(syscall.SIGHUP)
	}
}

func (r Replica) ask(path string) (int, string, error) {
	client := http.Client{Timeout: time.Minute}
	answer, err := client.Get("http://" + r.health + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// Metric is the sum of the values of a metric's series whose labels contain each of the given texts (`class="derived"`); 0 when there
// are none.
func (r Replica) Metric(name string, labels ...string) float64 {
	r.w.t.Helper()
	code, text, err := r.ask("/metrics")
	if err != nil || code != http.StatusOK {
		r.w.t.Fatalf("metrics: HTTP %d: %v", code, err)
	}
	sum := 0.0
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		bare, with, _ := strings.Cut(series, "{")
		if !ok || bare != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(with, l) }) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		r.w.must(name, err)
		sum += v
	}
	return sum
}

// Log is every line that the replica has written, in every run.
func (r Replica) Log() []string {
	r.w.t.Helper()
	text, err := os.ReadFile(r.w.logFile(r.name))
	r.w.must("log of the gate", err)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
