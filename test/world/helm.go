package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	_ "embed"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/controlplane/binaries"
)

//go:embed testdata/helm-crds.yaml
var helmCRDs string

// HelmUser is who Flux's helm-controller is to the API server.
const HelmUser = "system:serviceaccount:" + FluxNamespace + ":helm-controller"

const helmAccounts = `apiVersion: v1
kind: ServiceAccount
metadata: {name: helm-controller, namespace: flux-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: helm-controller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: helm-controller, namespace: flux-system}]
`

const (
	helmReleaseKind = "helm.toolkit.fluxcd.io/v2 HelmRelease"
	helmChartKind   = "source.toolkit.fluxcd.io/v1 HelmChart"
	helmController  = "helm-controller"
	helmFinalizer   = "finalizers.fluxcd.io"
)

// FakeHelmController is a stand-in for Flux's helm-controller, whose module does not resolve. Under its identity it
// does what the gate can see of it: it guards the deletion of a HelmRelease by a finalizer, makes the HelmChart that the release asks for,
// has Helm itself install, upgrade and uninstall it by server-side apply with its origin labels (through kustomize, as the controller does),
// corrects drift, and writes the status. Helm keeps the records of releases. What a HelmRelease with a service account asks for it does as
// that account, the records too. It does so when told to (Reconcile) and not by itself, so that tests know when. It reads no valuesFrom,
// applies no crds/, runs no tests, and neither rolls back nor tries again.
// Records are where the release is, and Helm's own writes are managed by "helm".
type FakeHelmController struct {
	// Charts are folders of charts by name, for HelmReleases whose chart is in no Git repository: what a registry would have.
	Charts map[string]string

	w         *World
	dir, helm string // helm is the program
	client    *client
}

func (w *World) startHelm() error {
	if err := w.cluster.apply(w.ctx, helmCRDs+"---\n"+helmAccounts); err != nil {
		return err
	}
	programs, err := binaries.Find(w.ctx, w.t.Logf, "helm", "kustomize")
	if err != nil {
		return err
	}
	c, err := w.cluster.as(w.Config(HelmUser, controlplane.ServiceAccountGroups(FluxNamespace)...))
	if err != nil {
		return err
	}
	w.Helm = &FakeHelmController{Charts: map[string]string{}, w: w, dir: w.t.TempDir(), helm: programs["helm"], client: c}
	return w.Helm.installPostRenderer(programs["kustomize"])
}

// postRenderer is the name of the plugin of Helm's that changes what a chart rendered by a kustomization.
const postRenderer = "origin"

// installPostRenderer makes the plugin: its argument is the kustomization.
func (h *FakeHelmController) installPostRenderer(kustomize string) error {
	folder := filepath.Join(h.dir, "plugins", postRenderer)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	manifest := fmt.Sprintf("apiVersion: v1\nname: %s\nversion: 1.0.0\ntype: postrenderer/v1\nruntime: subprocess\nruntimeConfig:\n  platformCommand: [{command: \"${HELM_PLUGIN_DIR}/render.sh\"}]\n", postRenderer)
	script := fmt.Sprintf("#!/bin/sh\nset -e\nd=$(mktemp -d)\ntrap 'rm -rf \"$d\"' EXIT\ncat >\"$d/all.yaml\"\ncp \"$1\" \"$d/kustomization.yaml\"\n%q build \"$d\"\n", kustomize)
	if err := os.WriteFile(filepath.Join(folder, "plugin.yaml"), []byte(manifest), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "render.sh"), []byte(script), 0o700)
}

// Reconcile does once what helm-controller does for a HelmRelease. The error is what its status says then; a HelmRelease that is not
// there is none.
func (h *FakeHelmController) Reconcile(ctx context.Context, namespace, name string) error {
	o, err := h.client.get(ctx, kind(helmReleaseKind), namespace, name)
	if err != nil || o == nil {
		return err
	}
	if o.GetDeletionTimestamp() != nil {
		return h.uninstall(ctx, o)
	}
	if !slices.Contains(o.GetFinalizers(), helmFinalizer) {
		if err := h.patch(ctx, o, map[string]any{"metadata": map[string]any{"finalizers": append(o.GetFinalizers(), helmFinalizer)}}); err != nil {
			return err
		}
	}
	err = h.install(ctx, o)
	if err != nil {
		return errors.Join(err, h.status(ctx, o, map[string]any{}, "False", "InstallFailed", err.Error()))
	}
	return nil
}

func (h *FakeHelmController) install(ctx context.Context, o *unstructured.Unstructured) error {
	chart, version, err := h.chart(ctx, o)
	if err != nil {
		return err
	}
	release, namespace, storage := releaseOf(o)
	attempt := map[string]any{
		"lastAttemptedRevision": version, "lastAttemptedGeneration": o.GetGeneration(), "lastAttemptedReleaseAction": "upgrade",
		"helmChart": FluxNamespace + "/" + chartName(o), "storageNamespace": storage,
	}
	if err := h.status(ctx, o, attempt, "Unknown", "Progressing", "Running 'upgrade' action"); err != nil {
		return err
	}
	values, _, err := unstructured.NestedMap(o.Object, "spec", "values")
	if err != nil {
		return err
	}
	files := map[string]any{"values.json": values, "kustomization.json": kustomization(o)}
	for name, content := range files {
		text, err := json.Marshal(content)
		if err == nil {
			err = os.WriteFile(filepath.Join(h.dir, name), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	args := []string{
		"upgrade", "--install", release, chart, "--namespace=" + namespace, "--values=" + filepath.Join(h.dir, "values.json"), "--reset-values",
		"--server-side=true", "--force-conflicts", "--skip-crds", "--history-max=5", "--output=json",
		"--post-renderer=" + postRenderer, "--post-renderer-args=" + filepath.Join(h.dir, "kustomization.json"),
	}
	said, err := h.run(ctx, o, args...)
	if err != nil {
		return err
	}
	var done struct {
		Version int `json:"version"`
		Info    struct {
			Status        string `json:"status"`
			FirstDeployed string `json:"first_deployed"`
			LastDeployed  string `json:"last_deployed"`
		} `json:"info"`
	}
	if err := json.Unmarshal(said, &done); err != nil {
		return fmt.Errorf("helm upgrade: %w: %s", err, said)
	}
	if err := h.correct(ctx, o); err != nil {
		return err
	}
	past, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
	snapshot := map[string]any{
		"name": release, "namespace": namespace, "version": done.Version, "status": done.Info.Status, "chartName": filepath.Base(chart), "chartVersion": version,
		"configDigest": "sha256:0", "digest": "sha256:0", "firstDeployed": done.Info.FirstDeployed, "lastDeployed": done.Info.LastDeployed,
	}
	attempt["history"] = append([]any{snapshot}, past...)
	return h.status(ctx, o, attempt, "True", "UpgradeSucceeded", "Helm upgrade succeeded for release "+namespace+"/"+release+".v"+strconv.Itoa(done.Version))
}

// correct applies what drift has changed: a dry run tells, and a patch of the fields that differ puts them back.
func (h *FakeHelmController) correct(ctx context.Context, o *unstructured.Unstructured) error {
	release, namespace, _ := releaseOf(o)
	said, err := h.run(ctx, o, "get", "manifest", release, "--namespace="+namespace)
	if err != nil {
		return err
	}
	all, err := objects(string(said))
	if err != nil {
		return err
	}
	as := h.client
	if account, _, _ := unstructured.NestedString(o.Object, "spec", "serviceAccountName"); account != "" {
		user := "system:serviceaccount:" + o.GetNamespace() + ":" + account
		if as, err = h.client.as(h.w.Config(user, controlplane.ServiceAccountGroups(o.GetNamespace())...)); err != nil {
			return err
		}
	}
	for _, object := range all {
		if object.GetNamespace() == "" {
			object.SetNamespace(namespace) // ignored for a cluster-scoped kind
		}
		setMap(object, "labels", "app.kubernetes.io/managed-by", "Helm")
		setMap(object, "annotations", "meta.helm.sh/release-name", release)
		setMap(object, "annotations", "meta.helm.sh/release-namespace", namespace)
		if err := correctObject(ctx, as, object); err != nil {
			return fmt.Errorf("%s/%s/%s patch failure: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
	}
	return nil
}

func setMap(o *unstructured.Unstructured, field, key, value string) {
	m, _, _ := unstructured.NestedStringMap(o.Object, "metadata", field)
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	_ = unstructured.SetNestedStringMap(o.Object, m, "metadata", field) // metadata is a map
}

func correctObject(ctx context.Context, c *client, o *unstructured.Unstructured) error {
	in, err := c.resource(o.GroupVersionKind(), o.GetNamespace())
	if err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	live, err := in.Get(ctx, o.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	want, err := in.Patch(ctx, o.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: helmController, Force: ptr.To(true), DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	if live == nil {
		_, err := in.Create(ctx, o, metav1.CreateOptions{FieldManager: helmController})
		return err
	}
	patch := differences(live.Object, want.Object)
	delete(patch, "metadata")
	delete(patch, "status")
	if len(patch) == 0 {
		return nil
	}
	text, err := json.Marshal(patch)
	if err == nil {
		_, err = in.Patch(ctx, o.GetName(), types.MergePatchType, text, metav1.PatchOptions{FieldManager: helmController})
	}
	return err
}

// differences is the merge patch from one object to another.
func differences(from, to map[string]any) map[string]any {
	out := map[string]any{}
	for key := range from {
		if _, stays := to[key]; !stays {
			out[key] = nil
		}
	}
	for key, value := range to {
		a, isMap := from[key].(map[string]any)
		b, both := value.(map[string]any)
		if isMap && both {
			if deeper := differences(a, b); len(deeper) > 0 {
				out[key] = deeper
			}
		} else if !equality.Semantic.DeepEqual(from[key], value) {
			out[key] = value
		}
	}
	return out
}

// uninstall has Helm delete the release, deletes the HelmChart, and lets the HelmRelease go.
func (h *FakeHelmController) uninstall(ctx context.Context, o *unstructured.Unstructured) error {
	release, namespace, _ := releaseOf(o)
	if _, err := h.run(ctx, o, "uninstall", release, "--namespace="+namespace, "--ignore-not-found"); err != nil {
		return errors.Join(err, h.status(ctx, o, map[string]any{}, "False", "UninstallFailed", err.Error()))
	}
	in, err := h.client.resource(kind(helmChartKind), FluxNamespace)
	if err != nil {
		return err
	}
	if err := in.Delete(ctx, chartName(o), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	rest := slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == helmFinalizer })
	return h.patch(ctx, o, map[string]any{"metadata": map[string]any{"finalizers": rest}})
}

// chart makes the HelmChart of a HelmRelease, and returns the folder that source-controller would have packed, and its version.
func (h *FakeHelmController) chart(ctx context.Context, o *unstructured.Unstructured) (folder, version string, err error) {
	spec, _, err := unstructured.NestedMap(o.Object, "spec", "chart", "spec")
	if err != nil {
		return "", "", err
	}
	chart := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	chart.SetGroupVersionKind(kind(helmChartKind))
	chart.SetName(chartName(o))
	chart.SetLabels(map[string]string{"helm.toolkit.fluxcd.io/name": o.GetName(), "helm.toolkit.fluxcd.io/namespace": o.GetNamespace()})
	in, err := h.client.resource(kind(helmChartKind), FluxNamespace)
	if err != nil {
		return "", "", err
	}
	if _, err := in.Create(ctx, chart, metav1.CreateOptions{FieldManager: helmController}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", "", err
	}
	path, _, _ := unstructured.NestedString(spec, "chart")
	if source, _, _ := unstructured.NestedString(spec, "sourceRef", "kind"); source == "GitRepository" {
		name, _, _ := unstructured.NestedString(spec, "sourceRef", "name")
		namespace, _, _ := unstructured.NestedString(spec, "sourceRef", "namespace")
		if namespace == "" {
			namespace = o.GetNamespace()
		}
		files, err := h.w.Sources.checkout(ctx, namespace, name)
		if err != nil {
			return "", "", err
		}
		folder = filepath.Join(files, filepath.FromSlash(path))
	} else if folder = h.Charts[path]; folder == "" {
		return "", "", fmt.Errorf("chart %s is nowhere", path)
	}
	text, err := os.ReadFile(filepath.Join(folder, "Chart.yaml"))
	if err != nil {
		return "", "", err
	}
	described, err := objects(string(text))
	if err != nil || len(described) != 1 {
		return "", "", fmt.Errorf("chart %s cannot be read: %w", path, err)
	}
	version, _, _ = unstructured.NestedString(described[0].Object, "version")
	return folder, version, nil
}

// run runs Helm as who the controller writes as: itself, or the service account of the HelmRelease.
func (h *FakeHelmController) run(ctx context.Context, o *unstructured.Unstructured, args ...string) ([]byte, error) {
	groups := controlplane.ServiceAccountGroups(FluxNamespace)
	args = append(args, "--kubeconfig="+h.w.Kubeconfig(HelmUser, groups...))
	if account, _, _ := unstructured.NestedString(o.Object, "spec", "serviceAccountName"); account != "" {
		args = append(args, "--kube-as-user=system:serviceaccount:"+o.GetNamespace()+":"+account)
		for _, g := range controlplane.ServiceAccountGroups(o.GetNamespace()) {
			args = append(args, "--kube-as-group="+g)
		}
	}
	cmd := exec.CommandContext(ctx, h.helm, args...)
	cmd.Env = append(os.Environ(), "HELM_PLUGINS="+filepath.Join(h.dir, "plugins"), "HELM_CACHE_HOME="+h.dir, "HELM_CONFIG_HOME="+h.dir, "HELM_DATA_HOME="+h.dir, "KUBECONFIG=")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("helm %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return out, nil
}

// status writes what the controller says of a HelmRelease.
func (h *FakeHelmController) status(ctx context.Context, o *unstructured.Unstructured, fields map[string]any, ready, reason, message string) error {
	const longest = 20000
	status := map[string]any{"observedGeneration": o.GetGeneration(), "conditions": []any{map[string]any{
		"type": "Ready", "status": ready, "reason": reason, "message": message[:min(len(message), longest)], "observedGeneration": o.GetGeneration(), "lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}}}
	for key, value := range fields {
		status[key] = value
	}
	return h.patch(ctx, o, map[string]any{"status": status}, "status")
}

func (h *FakeHelmController) patch(ctx context.Context, o *unstructured.Unstructured, patch map[string]any, subresource ...string) error {
	in, err := h.client.resource(kind(helmReleaseKind), o.GetNamespace())
	if err != nil {
		return err
	}
	text, err := json.Marshal(patch)
	if err == nil {
		_, err = in.Patch(ctx, o.GetName(), types.MergePatchType, text, metav1.PatchOptions{FieldManager: helmController}, subresource...)
	}
	return err
}

// kustomization is what the controller does to what a chart renders: the post-renderers of a HelmRelease, and its origin labels.
func kustomization(o *unstructured.Unstructured) map[string]any {
	k := map[string]any{
		"resources": []any{"all.yaml"},
		"labels":    []any{map[string]any{"pairs": map[string]any{"helm.toolkit.fluxcd.io/name": o.GetName(), "helm.toolkit.fluxcd.io/namespace": o.GetNamespace()}}},
	}
	renderers, _, _ := unstructured.NestedSlice(o.Object, "spec", "postRenderers")
	for _, r := range renderers {
		of, _ := r.(map[string]any)
		for _, field := range []string{"patches", "images"} {
			more, _, _ := unstructured.NestedSlice(of, "kustomize", field)
			if list, _ := k[field].([]any); len(more) > 0 {
				k[field] = append(list, more...)
			}
		}
	}
	return k
}

// chartName is the name of the HelmChart of a HelmRelease.
func chartName(o *unstructured.Unstructured) string { return o.GetNamespace() + "-" + o.GetName() }

// releaseOf is the release of a HelmRelease, where it is installed, and where its records are.
func releaseOf(o *unstructured.Unstructured) (name, namespace, storage string) {
	field := func(name string) string {
		v, _, _ := unstructured.NestedString(o.Object, "spec", name)
		return v
	}
	name, namespace = o.GetName(), o.GetNamespace()
	if target := field("targetNamespace"); target != "" {
		name, namespace = target+"-"+name, target
	}
	if named := field("releaseName"); named != "" {
		name = named
	}
	return name, namespace, namespace
}
