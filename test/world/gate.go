package world

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// gate is the gitgate program beside the cluster: one process, or as many as the chart has replicas.
type gate struct {
	args     []string // of the chart's container
	replicas []*replica
	front    string       // 127.0.0.1:PORT where the API server finds it, so that the webhook configuration keeps it
	service  *FakeService // that is there; nil for one replica, which is there itself

	chart, notes string // with Options.ByHelm: the chart's folder, and what helm said when it was installed
}

const gateProgram = "gitgate"

// planGate chooses where the gate will be.
func (w *World) planGate() error {
	for n := range max(1, w.options.Replicas) {
		r, err := newReplica(w.dir, n, w.options.ControlPlane.Ports)
		if err != nil {
			return err
		}
		w.gate.replicas = append(w.gate.replicas, r)
	}
	w.gate.front = w.gate.replicas[0].address
	if len(w.gate.replicas) == 1 {
		return nil
	}
	service, err := newFakeService()
	if err != nil {
		return err
	}
	w.t.Cleanup(service.close)
	w.gate.service, w.gate.front = service, service.address()
	w.Route()
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

// LaunchGate starts the gate, all its replicas at once, and does not wait for it.
func (w *World) LaunchGate() {
	w.t.Helper()
	for _, r := range w.Replicas() {
		r.Launch()
	}
}

// GateURL is where the API server finds the gate, GateCA the PEM of the authority that it has for that.
func (w *World) GateURL() string { return "https://" + w.gate.front + "/validate" }

func (w *World) GateCA() string {
	w.t.Helper()
	for _, h := range w.hooks() {
		text, _, _ := unstructured.NestedString(h.(map[string]any), "clientConfig", "caBundle")
		pem, err := base64.StdEncoding.DecodeString(text)
		w.must("caBundle", err)
		return string(pem)
	}
	return ""
}

// GateTLS is what the gate serves with: tls.crt or tls.key of its Secret.
func (w *World) GateTLS(key string) []byte {
	w.t.Helper()
	data, _, err := unstructured.NestedStringMap(w.Get("v1 Secret", GateNamespace, "gitgate-tls").Object, "data")
	w.must("secret of the gate", err)
	text, err := base64.StdEncoding.DecodeString(data[key])
	w.must("secret of the gate", err)
	return text
}

// GateReady says why a replica of the gate is not ready; nil when all are.
func (w *World) GateReady() error {
	for _, r := range w.Replicas() {
		if err := r.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// StopGate ends the gate as a rollout does, which drains it; KillGate as a node that dies does.
func (w *World) StopGate() {
	for _, r := range w.Replicas() {
		r.Stop()
	}
}

// KillGate ends the gate at once.
func (w *World) KillGate() {
	for _, r := range w.Replicas() {
		r.Kill()
	}
}

// ForgetGate empties the state folders of a gate that does not run: it is new Pods without a volume.
func (w *World) ForgetGate() {
	w.t.Helper()
	for _, r := range w.Replicas() {
		w.must("state of the gate", os.RemoveAll(r.state))
	}
}

// HurryGate makes the gate look for new commits, configuration and certificates at once.
func (w *World) HurryGate() {
	for _, r := range w.Replicas() {
		r.Hurry()
	}
}

// GatePID is the process number of the gate that runs, of its first replica.
func (w *World) GatePID() int {
	w.t.Helper()
	p := w.program(gateProgram)
	if p == nil {
		w.t.Fatal("the gate does not run")
	}
	return p.PID()
}

// ProfileGate writes to a file where the gate, its first replica, spends its time while work is done, again and again for some seconds. The
// gate needs the flag --pprof.
func (w *World) ProfileGate(file string, work func()) {
	w.t.Helper()
	done := make(chan error, 1)
	go func() {
		answer, err := http.Get("http://" + w.Replica(0).health + "/debug/pprof/profile?seconds=20")
		if err != nil {
			done <- err
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		done <- errors.Join(err, os.WriteFile(file, text, 0o644))
	}()
	for {
		work()
		select {
		case err := <-done:
			w.must("profile of the gate", err)
			return
		default:
		}
	}
}

// Metric is the sum over the replicas of what Replica.Metric says.
func (w *World) Metric(name string, labels ...string) float64 {
	w.t.Helper()
	sum := 0.0
	for _, r := range w.Replicas() {
		sum += r.Metric(name, labels...)
	}
	return sum
}

// GateLog is every line that the gate has written, in every run, one replica after the other.
func (w *World) GateLog() []string {
	w.t.Helper()
	var all []string
	for _, r := range w.Replicas() {
		all = append(all, r.Log()...)
	}
	return all
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
func (w *World) Probe() error { return w.probe(w.cluster) }

func (w *World) probe(as *client) error {
	in, err := as.resource(kind("v1 ConfigMap"), "default")
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
	w.guardedBy([]any{}, w.Probe, do)
}

// UnguardedFor does something while the API server does not ask the gate for what a person does, and asks it for all else: what a
// reconciler makes of it at once is judged.
func (w *World) UnguardedFor(person string, do func()) {
	w.t.Helper()
	hooks := w.hooks()
	for _, h := range hooks {
		hook := h.(map[string]any)
		conditions, _ := hook["matchConditions"].([]any)
		hook["matchConditions"] = append(conditions, map[string]any{"name": "somebody-else", "expression": fmt.Sprintf("request.userInfo.username != %q", person)})
	}
	as, err := w.cluster.as(w.Config(person, Developers))
	w.must(person, err)
	w.guardedBy(hooks, func() error { return w.probe(as) }, do)
}

// GuardedBy does something while the API server asks another webhook for all that it asks the gate for: one that admits everything,
// and serves with the gate's certificate.
func (w *World) GuardedBy(url string, do func()) {
	w.t.Helper()
	hooks := w.hooks()
	for _, h := range hooks {
		w.must("webhook configuration", unstructured.SetNestedField(h.(map[string]any), url, "clientConfig", "url"))
	}
	w.guardedBy(hooks, w.Probe, do)
}

// hooks are a copy of the webhooks of the gate's configuration.
func (w *World) hooks() []any {
	w.t.Helper()
	hooks, _, err := unstructured.NestedSlice(w.Get(webhookKind, "", WebhookName).Object, "webhooks")
	w.must("webhook configuration", err)
	return hooks
}

func (w *World) guardedBy(hooks []any, admitted func() error, do func()) {
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
	w.Eventually("the API server still asks the gate", admitted)
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
