package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	_ "embed"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/controlplane/binaries"
)

//go:embed testdata/source-crds.yaml
var sourceCRDs string

// The objects that say what the fleet is, with a short time between attempts.
const fluxSync = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: flux-system}
spec:
  interval: 1m
  url: %s
  ref: {branch: main}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: fleet, namespace: flux-system}
spec:
  interval: 10m
  retryInterval: 2s
  path: ./clusters/prod
  prune: true
  sourceRef: {kind: GitRepository, name: fleet}
`

// fluxSync is what `flux bootstrap` puts into a repository. Where Flux is locked down for tenants, the root names the controller's own
// account, as Flux's documentation wants it.
func (w *World) fluxSync() string {
	text := fmt.Sprintf(fluxSync, w.Git.URL)
	if w.options.Tenants {
		text += "  serviceAccountName: kustomize-controller\n"
	}
	return text
}

const fluxAccounts = `apiVersion: v1
kind: ServiceAccount
metadata: {name: kustomize-controller, namespace: flux-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: source-controller, namespace: flux-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cluster-reconciler-flux-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
  - {kind: ServiceAccount, name: kustomize-controller, namespace: flux-system}
  - {kind: ServiceAccount, name: source-controller, namespace: flux-system}
  - {kind: ServiceAccount, name: notification-controller, namespace: flux-system}
`

const (
	kustomizationKind = "kustomize.toolkit.fluxcd.io/v1 Kustomization"
	repositoryKind    = "source.toolkit.fluxcd.io/v1 GitRepository"
	fluxProgram       = "kustomize-controller"
)

// startFlux installs Flux's kinds and what bootstrap declares, and starts kustomize-controller and the stand-in for source-controller.
func (w *World) startFlux() error {
	source, err := binaries.Source(w.ctx, fluxProgram)
	if err != nil {
		return err
	}
	crd, err := os.ReadFile(filepath.Join(source, "config", "crd", "bases", "kustomize.toolkit.fluxcd.io_kustomizations.yaml"))
	if err != nil {
		return err
	}
	for _, text := range []string{sourceCRDs, string(crd)} {
		if err := w.cluster.apply(w.ctx, text); err != nil {
			return err
		}
	}
	if err := w.cluster.apply(w.ctx, fluxAccounts); err != nil {
		return err
	}
	w.Eventually("the kinds of Flux are not served", func() error {
		return w.cluster.apply(w.ctx, w.fluxSync())
	})
	if w.Sources, err = w.newFakeSources(); err != nil {
		return err
	}
	if w.options.Helm {
		if err := w.startHelm(); err != nil {
			return err
		}
	}
	if err := w.StartFlux(); err != nil {
		return err
	}
	return w.Sources.Fetch(w.ctx)
}

// StartFlux starts kustomize-controller, as itself and without leader election. HaltFlux ends it.
func (w *World) StartFlux() error {
	programs, err := binaries.Find(w.ctx, w.t.Logf, fluxProgram)
	if err != nil {
		return err
	}
	cmd := exec.Command(programs[fluxProgram],
		"--metrics-addr=0", "--health-addr=0", "--log-level=info", "--watch-all-namespaces=true",
		"--requeue-dependency=1s", "--concurrent=8", "--http-retry=1", "--kube-api-qps=500", "--kube-api-burst=1000",
	)
	if w.options.Tenants {
		cmd.Args = append(cmd.Args, "--default-service-account="+TenantAccount, "--no-cross-namespace-refs=true")
	}
	cmd.Env = append(os.Environ(), "RUNTIME_NAMESPACE="+FluxNamespace,
		"KUBECONFIG="+w.Kubeconfig(FluxUser, controlplane.ServiceAccountGroups(FluxNamespace)...))
	w.Run(fluxProgram, cmd)
	return nil
}

// HaltFlux ends kustomize-controller.
func (w *World) HaltFlux() { w.HaltProgram(fluxProgram) }

// Unit declares a Flux Kustomization of a folder of the fleet. more are further lines of its spec, each indented by two spaces.
func Unit(name, path string, more ...string) string {
	return fmt.Sprintf(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %s, namespace: flux-system}
spec:
  interval: 1h
  retryInterval: 2s
  path: ./%s
  prune: true
  sourceRef: {kind: GitRepository, name: fleet}
%s`, name, path, strings.Join(more, ""))
}

// Push commits files as Commit does, and has Flux's source fetched. It returns the commit.
func (w *World) Push(message string, files map[string]string) string {
	w.t.Helper()
	commit := w.Commit(message, files)
	w.must("fetch", w.Sources.Fetch(w.ctx))
	return commit
}

// Applied returns when Flux has applied a commit to a unit, all of it. The unit is NAMESPACE/NAME, or the name of one in flux-system.
func (w *World) Applied(unit, commit string) {
	w.t.Helper()
	w.Eventually("unit "+unit+" at commit "+commit, func() error {
		status, message, attempted, err := w.unit(unit)
		if err != nil {
			return err
		}
		if attempted != commit || status != "True" {
			return fmt.Errorf("ready %s at %s: %s", status, attempted, message)
		}
		return nil
	})
}

// Refused returns what Flux says of a unit when the gate does not let it apply a commit. What fails for another reason, or could not be
// judged, Flux tries again.
func (w *World) Refused(unit, commit string) string {
	w.t.Helper()
	var said string
	w.Eventually("unit "+unit+" is not refused at commit "+commit, func() error {
		status, message, attempted, err := w.unit(unit)
		if err != nil {
			return err
		}
		if attempted != commit || status != "False" || !strings.Contains(message, "gitgate.dev") || strings.Contains(message, "could not judge") {
			return fmt.Errorf("ready %s at %s: %s", status, attempted, message)
		}
		said = message
		return nil
	})
	return said
}

// unitName splits NAMESPACE/NAME; without a namespace it is flux-system's.
func unitName(unit string) (namespace, name string) {
	if namespace, name, ok := strings.Cut(unit, "/"); ok {
		return namespace, name
	}
	return FluxNamespace, unit
}

// unit reads what Flux says of a unit: the status and message of its condition Ready, and the commit that it attempted last.
func (w *World) unit(name string) (status, message, attempted string, err error) {
	if err := w.ended(fluxProgram); err != nil {
		return "", "", "", err
	}
	namespace, name := unitName(name)
	o, err := w.cluster.get(w.ctx, kind(kustomizationKind), namespace, name)
	if err != nil {
		return "", "", "", err
	}
	if o == nil {
		return "", "", "", errors.New("it is not there")
	}
	revision, _, _ := unstructured.NestedString(o.Object, "status", "lastAttemptedRevision")
	_, attempted, _ = strings.Cut(revision, "sha1:")
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["type"] == "Ready" && m["observedGeneration"] == o.GetGeneration() {
			status, _ = m["status"].(string)
			message, _ = m["message"].(string)
		}
	}
	return status, message, attempted, nil
}

// Reconcile asks Flux to reconcile a unit now, as notification-controller does when a Receiver is called, and returns when it has
// tried to.
func (w *World) Reconcile(unit string) {
	w.t.Helper()
	namespace, name := unitName(unit)
	asked := time.Now().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":%q}}}`, asked)
	in := w.As("system:serviceaccount:"+FluxNamespace+":notification-controller", controlplane.ServiceAccountGroups(FluxNamespace), kustomizationKind, namespace)
	_, err := in.Patch(w.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	w.must("reconciliation of "+unit, err)
	w.Eventually("Flux does not reconcile "+unit, func() error {
		o, err := w.cluster.get(w.ctx, kind(kustomizationKind), namespace, name)
		if err != nil {
			return err
		}
		if handled, _, _ := unstructured.NestedString(o.Object, "status", "lastHandledReconcileAt"); handled != asked {
			return fmt.Errorf("the last request that was handled is %s", handled)
		}
		return nil
	})
}

// FetchLater has Flux's source fetched without a new commit: after a rewrite of the branch, or for a new GitRepository.
func (w *World) FetchLater() {
	w.t.Helper()
	w.must("fetch", w.Sources.Fetch(context.WithoutCancel(w.ctx)))
}
