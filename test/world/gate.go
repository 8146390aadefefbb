package world

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/test/controlplane"
)

// gate is the gitgate program beside the cluster. It keeps its ports, so that the webhook configuration finds it again.
type gate struct {
	args            []string // of the chart's container
	address, health string   // 127.0.0.1:PORT
}

const gateProgram = "gitgate"

// listen chooses the ports.
func (g *gate) listen() error {
	for _, address := range []*string{&g.address, &g.health} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // both are held until both are known
		*address = l.Addr().String()
	}
	return nil
}

// StartGate starts the gate with the arguments of the chart's container, under the identity of the chart's service account, and
// returns when it is ready. What it knew of Git when it ran before it knows again.
func (w *World) StartGate() {
	w.t.Helper()
	w.LaunchGate()
	w.Eventually("the gate does not become ready", w.GateReady)
}

// AddGateFlags gives the gate more flags from its next start on.
func (w *World) AddGateFlags(flags ...string) { w.options.Gate = append(w.options.Gate, flags...) }

// LaunchGate starts the gate and does not wait for it.
func (w *World) LaunchGate() {
	w.t.Helper()
	state := filepath.Join(w.dir, "state")
	args := slices.Concat(w.gate.args, []string{
		"--listen=" + w.gate.address, "--health-listen=" + w.gate.health, "--state=" + state,
		"--kubeconfig=" + w.Kubeconfig(GateUser, controlplane.ServiceAccountGroups(GateNamespace)...),
		"--drain-delay=0s",
	})
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--tls-secret=") }) {
		args = append(args, "--tls-name=127.0.0.1")
	}
	cmd := exec.Command(w.options.Program, append(args, w.options.Gate...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "KUBECONFIG=")
	w.Run(gateProgram, cmd)
}

// GateURL is where the API server finds the gate, GateCA the PEM of the authority that it has for that.
func (w *World) GateURL() string { return "https://" + w.gate.address + "/validate" }

func (w *World) GateCA() string {
	w.t.Helper()
	hooks, _, err := unstructured.NestedSlice(w.Get(webhookKind, "", WebhookName).Object, "webhooks")
	w.must("webhook configuration", err)
	for _, h := range hooks {
		text, _, _ := unstructured.NestedString(h.(map[string]any), "clientConfig", "caBundle")
		pem, err := base64.StdEncoding.DecodeString(text)
		w.must("caBundle", err)
		return string(pem)
	}
	return ""
}

// GateCertificate is what the gate serves with, by its Secret.
func (w *World) GateCertificate() tls.Certificate {
	w.t.Helper()
	data, _, err := unstructured.NestedStringMap(w.Get("v1 Secret", GateNamespace, "gitgate-tls").Object, "data")
	w.must("secret of the gate", err)
	part := func(key string) []byte {
		text, err := base64.StdEncoding.DecodeString(data[key])
		w.must("secret of the gate", err)
		return text
	}
	pair, err := tls.X509KeyPair(part("tls.crt"), part("tls.key"))
	w.must("secret of the gate", err)
	return pair
}

// GateReady says why the gate is not ready; nil when it is.
func (w *World) GateReady() error {
	code, text, err := w.askGate("/readyz")
	switch {
	case err != nil:
		return errors.Join(err, w.ended(gateProgram))
	case code != http.StatusOK:
		return fmt.Errorf("HTTP %d: %s", code, text)
	}
	return nil
}

// StopGate ends the gate as a rollout does, which drains it; KillGate as a node that dies does.
func (w *World) StopGate() {
	if p := w.program(gateProgram); p != nil {
		p.Signal(syscall.SIGTERM)
		<-p.Ended
		w.HaltProgram(gateProgram)
	}
}

// KillGate ends the gate at once.
func (w *World) KillGate() {
	if p := w.program(gateProgram); p != nil {
		p.Kill()
		w.HaltProgram(gateProgram)
	}
}

// HurryGate makes the gate look for new commits and configuration at once.
func (w *World) HurryGate() {
	if p := w.program(gateProgram); p != nil {
		p.Signal(syscall.SIGHUP)
	}
}

// GatePID is the process number of the gate that runs.
func (w *World) GatePID() int {
	w.t.Helper()
	p := w.program(gateProgram)
	if p == nil {
		w.t.Fatal("the gate does not run")
	}
	return p.PID()
}

func (w *World) askGate(path string) (int, string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + w.gate.health + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// ProfileGate writes to a file where the gate spends its time while work is done. The gate needs the flag --pprof.
func (w *World) ProfileGate(file string, work func()) {
	w.t.Helper()
	done := make(chan error, 1)
	go func() {
		answer, err := http.Get("http://" + w.gate.health + "/debug/pprof/profile?seconds=4")
		if err != nil {
			done <- err
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		done <- errors.Join(err, os.WriteFile(file, text, 0o644))
	}()
	work()
	w.must("profile of the gate", <-done)
}

// Metric is the sum of the values of a metric's series whose labels contain each of the given texts (`class="derived"`); 0 when there
// are none.
func (w *World) Metric(name string, labels ...string) float64 {
	w.t.Helper()
	code, text, err := w.askGate("/metrics")
	if err != nil || code != http.StatusOK {
		w.t.Fatalf("metrics: HTTP %d: %v", code, err)
	}
	sum := 0.0
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		bare, with, _ := strings.Cut(series, "{")
		if !ok || bare != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(with, l) }) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		w.must(name, err)
		sum += v
	}
	return sum
}

// GateLog is every line that the gate has written, in every run.
func (w *World) GateLog() []string {
	w.t.Helper()
	text, err := os.ReadFile(w.logFile(gateProgram))
	w.must("log of the gate", err)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// refuses says why a change that nobody declares is not refused by the gate: the API server has not heard of it, or it does not run.
func (w *World) refuses() error {
	err := w.Probe()
	switch {
	case err == nil:
		return errors.New("a change that nobody declares is admitted")
	case !strings.Contains(err.Error(), "gate.gitgate.dev") || !strings.Contains(err.Error(), "declare"):
		return err
	}
	return nil
}

// Probe asks for a change that nobody declares, without making it.
func (w *World) Probe() error {
	in, err := w.cluster.resource(kind("v1 ConfigMap"), "default")
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"generateName": "probe-", "namespace": "default"}}}
	_, err = in.Create(w.ctx, o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// Guarded returns when the API server asks the gate. In modes that refuse nothing it cannot be seen, and it returns at once.
func (w *World) Guarded() {
	w.t.Helper()
	if slices.ContainsFunc(w.gate.args, func(a string) bool { return a == "--mode=audit" || a == "--mode=warn" }) {
		return
	}
	w.Eventually("the gate does not guard the cluster", w.refuses)
}

// Unguarded does something while the API server does not ask the gate: what happened while there was none.
func (w *World) Unguarded(do func()) {
	w.t.Helper()
	w.guardedBy([]any{}, do)
}

// GuardedBy does something while the API server asks another webhook for all that it asks the gate for: one that admits everything,
// and serves with the gate's certificate.
func (w *World) GuardedBy(url string, do func()) {
	w.t.Helper()
	hooks, _, err := unstructured.NestedSlice(w.Get(webhookKind, "", WebhookName).Object, "webhooks")
	w.must("webhook configuration", err)
	for _, h := range hooks {
		w.must("webhook configuration", unstructured.SetNestedField(h.(map[string]any), url, "clientConfig", "url"))
	}
	w.guardedBy(hooks, do)
}

func (w *World) guardedBy(hooks []any, do func()) {
	w.t.Helper()
	in, err := w.cluster.resource(kind(webhookKind), "")
	w.must("webhook configuration", err)
	set := func(hooks any) any {
		o, err := in.Get(w.ctx, WebhookName, metav1.GetOptions{})
		w.must("webhook configuration", err)
		before := o.Object["webhooks"]
		o.Object["webhooks"] = hooks
		_, err = in.Update(w.ctx, o, metav1.UpdateOptions{FieldManager: "world"})
		w.must("webhook configuration", err)
		return before
	}
	before := set(hooks)
	w.Eventually("the API server still asks the gate", w.Probe)
	defer func() {
		set(before)
		w.Guarded()
	}()
	do()
}

// Gitgate runs a command of gitgate against the cluster as a person or a service account, and returns what it wrote to both outputs.
func (w *World) Gitgate(user string, args ...string) (string, error) {
	cmd := exec.CommandContext(w.ctx, w.options.Program, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfigOf(user), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
