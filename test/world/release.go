package world

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/controlplane/binaries"
)

// Release is the name of the chart's release.
const Release = "gitgate"

const deploymentKind = "apps/v1 Deployment"

// installByHelm installs the chart by the helm program, as a person does.
func (w *World) installByHelm() error {
	chart, err := w.chartByURL()
	if err != nil {
		return err
	}
	w.gate.chart = chart
	if w.gate.notes, err = w.RunHelm("ann", "install", w.options.Values); err != nil {
		return fmt.Errorf("%w: %s", err, w.gate.notes)
	}
	return w.readGateArgs()
}

// InstallNotes is what helm said when the chart was installed.
func (w *World) InstallNotes() string { return w.gate.notes }

// RunHelm runs helm as a person, who is a developer, or as a service account, and returns what it wrote to both outputs. The verb (install,
// upgrade, uninstall, test, ...) is of the release of the chart; install and upgrade get the chart, the repository and YAML of
// values.
func (w *World) RunHelm(user, verb, values string, args ...string) (string, error) {
	programs, err := binaries.Find(w.ctx, w.t.Logf, "helm")
	if err != nil {
		return "", err
	}
	all := []string{verb, Release}
	if verb == "install" || verb == "upgrade" {
		given, err := yaml.Marshal(map[string]any{"webhook": patient()})
		if err != nil {
			return "", err
		}
		all = append(all, w.gate.chart, "--set-string=git.repository="+w.Git.URL)
		for name, text := range map[string]string{"1-given.yaml": string(given), "2-values.yaml": values} {
			if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
				return "", err
			}
		}
		all = append(all, "--values=1-given.yaml", "--values=2-values.yaml")
	}
	cmd := exec.CommandContext(w.ctx, programs["helm"], append(append(all, "--namespace="+GateNamespace), args...)...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfigOf(user), "HELM_CACHE_HOME="+w.dir+"/helm", "HELM_CONFIG_HOME="+w.dir+"/helm", "HELM_DATA_HOME="+w.dir+"/helm")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// chartByURL is a copy of the chart of which only how the gate is reached is another: by its URL, as it runs outside.
func (w *World) chartByURL() (string, error) {
	root, err := moduleRoot(w.ctx)
	if err != nil {
		return "", err
	}
	chart := filepath.Join(w.dir, "chart")
	if err := os.CopyFS(chart, os.DirFS(filepath.Join(root, "charts", "gitgate"))); err != nil {
		return "", err
	}
	file := filepath.Join(chart, "templates", "webhook.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	const service = `service: {name: {{ include "gitgate.name" . }}, namespace: {{ .Release.Namespace }}, path: /validate, port: 443}`
	if strings.Count(string(text), service) != 1 {
		return "", errors.New("templates/webhook.yaml: where the API server finds the gate is written otherwise than expected")
	}
	return chart, os.WriteFile(file, []byte(strings.Replace(string(text), service, "url: "+w.GateURL(), 1)), 0o600)
}

// readGateArgs takes the arguments of the gate from its Deployment in the cluster.
func (w *World) readGateArgs() error {
	o, err := w.cluster.get(w.ctx, kind(deploymentKind), GateNamespace, Release)
	if err != nil {
		return err
	}
	if o == nil {
		return errors.New("the gate's Deployment is not there")
	}
	if n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); int(n) != len(w.gate.replicas) {
		return fmt.Errorf("the gate's Deployment has %d replicas, expected %d", n, len(w.gate.replicas))
	}
	w.gate.args, err = gateArgs(o)
	return err
}

// Rollout does what the Deployment's controller and kubelets do after an upgrade: one replica after the other is drained, and starts
// with the arguments that the Deployment has now.
func (w *World) Rollout() {
	w.t.Helper()
	w.must("rollout", w.readGateArgs())
	for _, r := range w.Replicas() {
		r.Stop()
		r.Launch()
		w.Eventually(r.name+" does not become ready", r.Ready)
	}
	w.Guarded()
}
