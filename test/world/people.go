package world

import (
	"maps"
	"os"
	"path/filepath"
	"strings"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/gitserver"
)

// openGit makes the repository and its first commit.
func (w *World) openGit() {
	w.t.Helper()
	w.Repo = gitserver.NewRepo(w.t)
	w.Signer = gitserver.NewSigner(w.t, "author@example.com")
	w.Signer.Use(w.Repo)
	w.Git = gitserver.Serve(w.t, w.Repo)
	files := map[string]string{".gitgate/allowed_signers": w.Signer.Allowed, "gitgate.yaml": w.GateFile(w.options.Config)}
	if w.options.Flux {
		files["clusters/prod/flux-system/sync.yaml"] = w.fluxSync()
	} else {
		files["clusters/prod/README.md"] = "Everything below is declared.\n"
	}
	if w.options.ArgoCD {
		maps.Copy(files, w.argoCDFiles())
	}
	for name, text := range w.options.Files {
		files[name] = text
	}
	w.Commit("the fleet", files)
}

// GateFile is the gitgate.yaml of the world with more behind it.
func (w *World) GateFile(more string) string {
	trust := ", trust: {ssh: {allowedSigners: .gitgate/allowed_signers}}"
	if w.options.Unsigned {
		trust = ""
	}
	reconcilers := w.options.Reconcilers
	if reconcilers == "" {
		reconcilers = "[{flux: {namespace: " + FluxNamespace + "}}]"
		if w.options.Tenants {
			reconcilers = "[{flux: {namespace: " + FluxNamespace + ", defaultServiceAccount: " + TenantAccount + "}}]"
		}
		if w.options.ArgoCD {
			reconcilers = "[{argocd: {namespace: " + ArgoCDNamespace + "}}]"
		}
	}
	text := "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\nkubernetes: \"1.36\"\n" +
		"sources: [{name: fleet, url: \"" + w.Git.URL + "\", branch: main, path: clusters/prod" + trust + "}" + w.options.Sources + "]\n" +
		"reconcilers: " + reconcilers + "\n"
	if !strings.Contains("\n"+more, "\ntrace:") {
		text += "trace: {action: deny}\n"
	}
	return text + more
}

// Commit writes files, an empty one is deleted, and commits everything that has changed, signed. It returns the commit.
func (w *World) Commit(message string, files map[string]string) string {
	w.t.Helper()
	return w.Repo.Commit(message, files, "-S")
}

const people = `apiVersion: v1
kind: Namespace
metadata: {name: gitgate}
---
apiVersion: v1
kind: Namespace
metadata: {name: flux-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: developers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: Group, name: developers, apiGroup: rbac.authorization.k8s.io}]
`

// populate makes the namespaces and permissions that a cluster has before a gate comes.
func (w *World) populate() error { return w.cluster.apply(w.ctx, people) }

// Person is the path of a kubeconfig of a person, who is a developer.
func (w *World) Person(name string) string { return w.Kubeconfig(name, Developers) }

// kubeconfigOf is that of a person, or of a service account ("system:serviceaccount:NAMESPACE:NAME").
func (w *World) kubeconfigOf(user string) string {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		namespace, _, _ := strings.Cut(account, ":")
		return w.Kubeconfig(user, controlplane.ServiceAccountGroups(namespace)...)
	}
	return w.Person(user)
}

// Kubectl runs kubectl as a person, who is a developer, or as a service account, and returns what it wrote to both outputs.
func (w *World) Kubectl(user string, args ...string) (string, error) {
	return w.ControlPlane.Kubectl(w.ctx, w.kubeconfigOf(user), args...)
}

// File writes a file that is there as long as the world, for kubectl, and returns its path.
func (w *World) File(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	w.must(name, os.WriteFile(path, []byte(content), 0o600))
	return path
}
