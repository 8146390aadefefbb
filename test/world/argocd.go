package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/controlplane/binaries"
)

// ArgoCDNamespace is where Argo CD is.
const ArgoCDNamespace = "argocd"

// The components of Argo CD that run, and who each of them is to the API server. Its own API server does not run: what its users
// ask of it, Refresh and Sync do under its identity.
const (
	ArgoCDController     = "argocd-application-controller"
	ArgoCDApplicationSet = "argocd-applicationset-controller"
	argoCDServer         = "argocd-server"
	argoCDRepoServer     = "argocd-repo-server"
	argoCDRedis          = "redis-server"

	ArgoCDUser       = "system:serviceaccount:" + ArgoCDNamespace + ":" + ArgoCDController
	ArgoCDSetUser    = "system:serviceaccount:" + ArgoCDNamespace + ":" + ArgoCDApplicationSet
	argoCDServerUser = "system:serviceaccount:" + ArgoCDNamespace + ":" + argoCDServer
)

const applicationKind = "argoproj.io/v1alpha1 Application"

// Application declares an Application of a folder of the fleet, in the namespace of its name. more are further lines of its spec, each
// indented by two spaces.
func (w *World) Application(name, path string, more ...string) string {
	return fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: %s
  namespace: argocd
  finalizers: [resources-finalizer.argocd.argoproj.io]
spec:
  project: default
  source: {repoURL: %q, targetRevision: main, path: %s}
  destination: {server: https://kubernetes.default.svc, namespace: %s}
%s`, name, w.Git.URL, path, name, strings.Join(more, ""))
}

// Automated is the part of an Application's spec that lets Argo CD synchronise by itself. Lines that are indented by four spaces go on
// with its syncPolicy.
const Automated = "  syncPolicy:\n    automated: {prune: true, selfHeal: true}\n"

// argoCDRoot is the one Application that is applied by hand: of the folder that declares all others.
const argoCDRoot = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: root, namespace: argocd}
spec:
  project: default
  source: {repoURL: %q, targetRevision: main, path: applications}
  destination: {server: https://kubernetes.default.svc, namespace: argocd}
  syncPolicy: {automated: {prune: true, selfHeal: true}}
`

const argoCDProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{namespace: "*", server: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
`

// The core installation has no API server of Argo CD's; this is what the full one lets it do with Applications.
const argoCDServerRights = `apiVersion: v1
kind: ServiceAccount
metadata: {name: argocd-server, namespace: argocd}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: argocd-server, namespace: argocd}
rules:
  - {apiGroups: [argoproj.io], resources: [applications, applicationsets, appprojects], verbs: [create, get, list, watch, update, delete, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: argocd-server, namespace: argocd}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: argocd-server}
subjects: [{kind: ServiceAccount, name: argocd-server, namespace: argocd}]
`

// argoCDFiles is what a fleet of Argo CD declares from its first commit on.
func (w *World) argoCDFiles() map[string]string {
	return map[string]string{
		"clusters/prod/root.yaml":   fmt.Sprintf(argoCDRoot, w.Git.URL),
		"applications/project.yaml": argoCDProject,
	}
}

// startArgoCD installs the definitions, accounts, rights and settings of Argo CD as the manifests of its release have them, without its
// workloads, and the root, and starts Redis, the repository server and the controllers, each under its own service account.
func (w *World) startArgoCD() error {
	source, err := binaries.Source(w.ctx, "argocd")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(source, "manifests", "core-install.yaml"))
	if err != nil {
		return err
	}
	all, err := objects(string(text))
	if err != nil {
		return err
	}
	if err := w.cluster.apply(w.ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+ArgoCDNamespace+"}\n"); err != nil {
		return err
	}
	for _, o := range all {
		switch o.GetKind() {
		case "Deployment", "StatefulSet", "NetworkPolicy":
			continue // there is no kubelet: the programs run beside the cluster
		}
		if o.GetKind() == "ConfigMap" && o.GetName() == "argocd-cm" {
			for key, value := range w.options.ArgoCDSettings {
				if err := unstructured.SetNestedField(o.Object, value, "data", key); err != nil {
					return err
				}
			}
		}
		o.SetNamespace(ArgoCDNamespace)
		if err := w.cluster.applyObject(w.ctx, o); err != nil {
			return err
		}
	}
	if err := w.cluster.apply(w.ctx, argoCDServerRights); err != nil {
		return err
	}
	w.Eventually("the kinds of Argo CD are not served", func() error { return w.cluster.apply(w.ctx, argoCDProject) })
	if err := w.cluster.apply(w.ctx, fmt.Sprintf(argoCDRoot, w.Git.URL)); err != nil {
		return err
	}
	if err := w.prepareArgoCD(); err != nil {
		return err
	}
	for _, name := range []string{argoCDRedis, argoCDRepoServer, ArgoCDController, ArgoCDApplicationSet} {
		w.StartArgoCD(name)
	}
	return nil
}

// argoCD is where the components of Argo CD lie and listen.
type argoCD struct {
	dir   string
	ports map[string]int
}

// prepareArgoCD lays out a folder with the programs that Argo CD looks for on its PATH and its home, and finds a port for each component.
func (w *World) prepareArgoCD() error {
	redis, err := exec.LookPath(argoCDRedis)
	if err != nil {
		return fmt.Errorf("%w: install the package redis-server", err)
	}
	programs, err := binaries.Find(w.ctx, w.t.Logf, "argocd", "helm", "kustomize")
	if err != nil {
		return err
	}
	programs[argoCDRedis] = redis
	a := &argoCD{dir: w.t.TempDir(), ports: map[string]int{}}
	for _, name := range []string{"bin", "home", "tmp", "keys"} {
		if err := os.Mkdir(filepath.Join(a.dir, name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for name, path := range programs {
		if err := os.Symlink(path, filepath.Join(a.dir, "bin", name)); err != nil {
			return err
		}
	}
	// It says of a commit whether it is signed, and nothing here asks Argo CD to look: that is what the gate does.
	if err := os.WriteFile(filepath.Join(a.dir, "bin", "git-verify-wrapper.sh"), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{argoCDRedis, argoCDRepoServer, argoCDRepoServer + " metrics", ArgoCDController, ArgoCDApplicationSet, ArgoCDApplicationSet + " metrics", ArgoCDApplicationSet + " webhook"} {
		if a.ports[name], err = w.options.ControlPlane.Ports.Free(); err != nil {
			return err
		}
	}
	w.argoCD = a
	return nil
}

// StartArgoCD starts a component of Argo CD and returns when it is ready. HaltProgram ends it.
func (w *World) StartArgoCD(name string) {
	w.t.Helper()
	cmd, healthy := w.argoCD.command(name)
	user := "system:serviceaccount:" + ArgoCDNamespace + ":" + name
	cmd.Env = append(cmd.Env, "KUBECONFIG="+w.Kubeconfig(user, controlplane.ServiceAccountGroups(ArgoCDNamespace)...))
	p := w.Run(name, cmd)
	w.Eventually(name+" does not become ready", func() error {
		select {
		case <-p.Ended:
			return fmt.Errorf("it has ended: %w", p.Err)
		default:
			return healthy(w.ctx)
		}
	})
}

// command is how a component is called, and the question that finds it ready.
func (a *argoCD) command(name string) (cmd *exec.Cmd, healthy func(context.Context) error) {
	at := func(name string) string { return fmt.Sprintf("127.0.0.1:%d", a.ports[name]) }
	port := func(name string) string { return fmt.Sprint(a.ports[name]) }
	in := func(name string) string { return filepath.Join(a.dir, name) }
	program, well := "argocd", "http://"+at(name)+"/healthz"
	var args []string
	switch name {
	case argoCDRedis:
		program, well = argoCDRedis, ""
		args = []string{"--port", port(name), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", in("tmp")}
	case argoCDRepoServer:
		well = "http://" + at(name+" metrics") + "/healthz?full=true"
		args = []string{
			"--address", "127.0.0.1", "--port", port(name), "--metrics-address", "127.0.0.1", "--metrics-port", port(name + " metrics"),
			"--disable-tls", "--client-ca-path=", "--redis", at(argoCDRedis),
			"--revision-cache-expiration", "1s", // generators of an ApplicationSet look no more often
		}
	case ArgoCDController:
		args = []string{
			"--namespace", ArgoCDNamespace, "--metrics-port", port(name), "--redis", at(argoCDRedis), "--repo-server", at(argoCDRepoServer), "--repo-server-plaintext", "--repo-server-timeout-seconds", "300",
			"--self-heal-backoff-timeout-seconds", "1", "--self-heal-backoff-factor", "1",
		}
	case ArgoCDApplicationSet:
		well = "http://" + at(name+" metrics") + "/metrics" // it has a port for probes, and answers none
		args = []string{
			"--namespace", ArgoCDNamespace, "--argocd-repo-server", at(argoCDRepoServer), "--repo-server-plaintext", "--repo-server-timeout-seconds", "300",
			"--metrics-addr", at(name + " metrics"), "--probe-addr", at(name), "--webhook-addr", at(name + " webhook"),
		}
	}
	cmd = exec.Command(in(filepath.Join("bin", program)), args...)
	cmd.Dir = a.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ARGOCD_") || strings.HasPrefix(v, "GIT_") || strings.HasPrefix(v, "KUBE") || strings.HasPrefix(v, "REDIS")
	}),
		"ARGOCD_BINARY_NAME="+name, "ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false",
		"ARGOCD_TLS_DATA_PATH="+in("keys"), "ARGOCD_SSH_DATA_PATH="+in("keys"), "ARGOCD_GNUPGHOME="+in("keys"), "ARGOCD_PLUGINSOCKFILEPATH="+in("keys"),
		"ARGOCD_ASK_PASS_SOCK="+in("askpass"), "HOME="+in("home"), "TMPDIR="+in("tmp"), "GIT_CONFIG_NOSYSTEM=1", "POD_NAME="+name+"-0", "HOSTNAME="+name+"-0",
		"ARGOCD_EXEC_TIMEOUT=5m", "ARGOCD_GIT_REQUEST_TIMEOUT=5m",
		"ARGOCD_SYNC_WAVE_DELAY=0", // nothing here reacts to a wave before the next
		"PATH="+in("bin")+string(filepath.ListSeparator)+os.Getenv("PATH"),
	)
	if well == "" {
		return cmd, func(ctx context.Context) error {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at(name))
			if err != nil {
				return err
			}
			return c.Close()
		}
	}
	return cmd, func(ctx context.Context) error { return wellAt(ctx, well) }
}

// wellAt asks a health endpoint and wants 200.
func wellAt(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return nil
}

// patchApplication changes an Application as Argo CD's API server does for its users.
func (w *World) patchApplication(name, patch string) {
	w.t.Helper()
	in := w.As(argoCDServerUser, controlplane.ServiceAccountGroups(ArgoCDNamespace), applicationKind, ArgoCDNamespace)
	_, err := in.Patch(w.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: argoCDServer})
	w.must("Application "+name, err)
}

// Refresh has Argo CD look for a newer commit of an Application's branch, as its users and the webhooks of Git hosts do.
func (w *World) Refresh(application string) {
	w.t.Helper()
	w.patchApplication(application, `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`)
}

// Sync has Argo CD apply an Application at a revision, as a user of its interface does, and returns what became of it: the phase of the
// operation and everything that was said, of the operation and of each object.
func (w *World) Sync(application, revision string) (phase, said string) {
	w.t.Helper()
	w.patchApplication(application, fmt.Sprintf(`{"operation":{"initiatedBy":{"username":"ann"},"sync":{"revision":%q,"prune":true}}}`, revision))
	w.Eventually("Application "+application+" does not finish its sync to "+revision, func() error {
		a := w.Get(applicationKind, ArgoCDNamespace, application)
		if a == nil {
			return errors.New("there is none")
		}
		_, pending := a.Object["operation"]
		asked, _, _ := unstructured.NestedString(a.Object, "status", "operationState", "operation", "sync", "revision")
		phase, said = Operation(a)
		if pending || asked != revision || phase == "" || phase == "Running" {
			return fmt.Errorf("phase %q of revision %q: %s", phase, asked, said)
		}
		return nil
	})
	return phase, said
}

// Operation is the phase of an Application's last operation and everything that was said of it.
func Operation(a *unstructured.Unstructured) (phase, said string) {
	phase, _, _ = unstructured.NestedString(a.Object, "status", "operationState", "phase")
	said, _, _ = unstructured.NestedString(a.Object, "status", "operationState", "message")
	of, _, _ := unstructured.NestedSlice(a.Object, "status", "operationState", "syncResult", "resources")
	for _, r := range of {
		m, _ := r.(map[string]any)
		said += fmt.Sprintf("\n%v %v/%v %v %v: %v", m["kind"], m["namespace"], m["name"], m["hookPhase"], m["status"], m["message"])
	}
	conditions, _, _ := unstructured.NestedSlice(a.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		said += fmt.Sprintf("\n%v: %v", m["type"], m["message"])
	}
	return phase, said
}

// Synced refreshes an Application and returns when it has applied a commit and finds nothing that differs.
func (w *World) Synced(application, commit string) {
	w.t.Helper()
	asked := time.Time{}
	w.Eventually("Application "+application+" is not synchronised to "+commit, func() error {
		a := w.Get(applicationKind, ArgoCDNamespace, application)
		if a == nil {
			return errors.New("there is none")
		}
		phase, said := Operation(a)
		status, _, _ := unstructured.NestedString(a.Object, "status", "sync", "status")
		revision, _, _ := unstructured.NestedString(a.Object, "status", "sync", "revision")
		if revisions, _, _ := unstructured.NestedStringSlice(a.Object, "status", "sync", "revisions"); len(revisions) > 0 {
			revision = revisions[0]
		}
		if _, pending := a.Object["operation"]; !pending && phase == "Succeeded" && status == "Synced" && revision == commit {
			return nil
		}
		if revision != commit && time.Since(asked) > 2*time.Second {
			asked = time.Now()
			w.Refresh(application)
		}
		return fmt.Errorf("sync status %q at %q, operation %q: %s", status, revision, phase, said)
	})
}
