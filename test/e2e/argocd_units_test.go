package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/world"
)

func argoNamespace(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-created", world.Automated+`    syncOptions: [CreateNamespace=true]
    managedNamespaceMetadata: {labels: {pod-security.kubernetes.io/enforce: baseline}}
`)
	files := map[string]string{"_namespace.yaml": annotated(a.name, "data", "1")} // in place of the manifest of the namespace
	a.synced("data", files)
	ns := a.Get("v1 Namespace", "", a.name)
	if got := ns.GetLabels()["pod-security.kubernetes.io/enforce"]; got != "baseline" {
		t.Errorf("level of the namespace is %q, want baseline", got)
	}
	a.refused(controller, []string{"label", "namespace", a.name, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"}, "privileged", "baseline", "applications/argo-created.yaml")
	a.spec[0] = strings.Replace(a.spec[0], "baseline", "restricted", 1)
	a.synced("restricted", files)
	a.Eventually("the namespace keeps its level", func() error {
		if got := a.Get("v1 Namespace", "", a.name).GetLabels()["pod-security.kubernetes.io/enforce"]; got != "restricted" {
			return errors.New("it is " + got)
		}
		return nil
	})
}

// gone waits until an object is.
func (a *application) gone(of, namespace, name string) {
	a.t.Helper()
	a.Eventually(of+" "+name+" stays", func() error {
		if o := a.Get(of, namespace, name); o != nil {
			return fmt.Errorf("deletion of %v, finalizers %v", o.GetDeletionTimestamp(), o.GetFinalizers())
		}
		return nil
	})
}

const applicationKind = "argoproj.io/v1alpha1 Application"

func argoCascade(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-cascade", world.Automated)
	a.synced("web", map[string]string{"web.yaml": deployment(a.name, "web", 1, image), "data.yaml": annotated(a.name, "data", "1")})
	commit := a.Commit("without it", map[string]string{"applications/argo-cascade.yaml": ""})
	a.Synced("root", commit)
	a.gone(applicationKind, "argocd", a.name)
	a.gone("apps/v1 Deployment", a.name, "web")
	a.gone("v1 ConfigMap", a.name, "data")
	a.gone("v1 Namespace", "", a.name)
}

func argoNested(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-nested", world.Automated)
	// The inner Application's namespace is that of the outer one.
	inner := strings.Replace(a.Application("argo-inner", "apps/argo-nested-inner", world.Automated), "namespace: argo-inner", "namespace: argo-nested", 1)
	a.Repo.Write(map[string]string{"apps/argo-nested-inner/data.yaml": annotated(a.name, "data", "1")})
	commit := a.synced("an inner one", map[string]string{"inner.yaml": inner})
	a.Synced("argo-inner", commit)
	commit = a.Commit("another value", map[string]string{"apps/argo-nested-inner/data.yaml": annotated(a.name, "data", "2")})
	a.Synced("argo-inner", commit)
	if got := a.value("v1 ConfigMap", "data", "data", "value"); got != "2" {
		t.Errorf("value is %q, want 2", got)
	}
	commit = a.Commit("without the inner one", map[string]string{"apps/argo-nested/inner.yaml": ""})
	a.Synced(a.name, commit)
	a.gone(applicationKind, "argocd", "argo-inner")
	a.gone("v1 ConfigMap", a.name, "data")
}

func argoSet(t *testing.T, w *world.World) {
	w = w.For(t)
	a := &application{World: w, t: t, name: "argo-set"}
	t.Cleanup(func() { a.Repo.Git("rm", "-rq", "--ignore-unmatch", "--", "applications/argo-set.yaml", "teams") }) // it looks at Git every three seconds
	set := fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: teams, namespace: argocd}
spec:
  goTemplate: true
  generators:
    - git: {repoURL: %q, revision: main, requeueAfterSeconds: 3, directories: [{path: teams/*}]}
  template:
    metadata: {name: "team-{{ .path.basename }}", finalizers: [resources-finalizer.argocd.argoproj.io]}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: main, path: "{{ .path.path }}"}
      destination: {server: https://kubernetes.default.svc, namespace: "argo-team-{{ .path.basename }}"}
      syncPolicy: {automated: {prune: true}, syncOptions: [CreateNamespace=true]}
`, w.Git.URL, w.Git.URL)
	commit := a.Commit("teams", map[string]string{"applications/argo-set.yaml": set, "teams/red/data.yaml": annotated("argo-team-red", "data", "1")})
	a.Synced("root", commit)
	a.Synced("team-red", commit)
	a.refused(world.ArgoCDSetUser, []string{"-n", "argocd", "patch", "application/team-red", "--type=merge", "-p", `{"spec":{"source":{"path":"evil"}}}`}, "teams/red", "evil")
	commit = a.Commit("another team", map[string]string{"teams/blue/data.yaml": annotated("argo-team-blue", "data", "1")})
	a.Synced("team-blue", commit)
	commit = a.Commit("without the first team", map[string]string{"teams/red/data.yaml": ""})
	a.gone(applicationKind, "argocd", "team-red")
	a.gone("v1 ConfigMap", "argo-team-red", "data")
	a.Synced("root", commit)
}

func argoTenant(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-tenant", world.Automated)
	project := `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: tenants, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{namespace: "argo-*", server: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
  destinationServiceAccounts: [{server: "https://kubernetes.default.svc", namespace: argo-tenant, defaultServiceAccount: deployer}]
`
	a.Repo.Write(map[string]string{"applications/tenants.yaml": project}) // it stays: an Application cannot be deleted without its project
	const deployer = "system:serviceaccount:argo-tenant:deployer"
	a.project = "tenants"
	a.synced("a tenant", map[string]string{"data.yaml": annotated(a.name, "data", "1"), "gone.yaml": annotated(a.name, "gone", "1")})
	a.synced("another value", map[string]string{"data.yaml": annotated(a.name, "data", "2"), "gone.yaml": ""})
	if got := a.value("v1 ConfigMap", "data", "data", "value"); got != "2" || a.Get("v1 ConfigMap", a.name, "gone") != nil {
		t.Errorf("value is %q, want 2, and the other one gone", got)
	}
	admitted := func(line string) bool {
		return strings.Contains(line, `"user":"`+deployer+`"`) && strings.Contains(line, `"allowed":true`)
	}
	if !slices.ContainsFunc(a.GateLog(), admitted) {
		t.Error("the gate saw no request of the service account: Argo CD did not impersonate it")
	}
	a.refused(deployer, []string{"-n", a.name, "create", "configmap", "evil"}, "is declared by no accepted commit")
	a.refused(deployer, []string{"-n", a.name, "patch", "configmap/data", "--type=merge", "-p", `{"data":{"value":"evil"}}`}, "evil", "apps/argo-tenant/data.yaml:8")
}

func argoChart(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-chart")
	declared := fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: argo-chart, namespace: argocd}
spec:
  project: default
  sources:
    - repoURL: %q
      targetRevision: main
      path: charts/web
      helm: {releaseName: web, valueFiles: [$values/environments/prod.yaml], parameters: [{name: replicas, value: "2"}]}
    - {repoURL: %q, targetRevision: main, ref: values}
  destination: {server: https://kubernetes.default.svc, namespace: argo-chart}
  syncPolicy: {automated: {prune: true, selfHeal: true}, syncOptions: [CreateNamespace=true]}
`, w.Git.URL, w.Git.URL)
	chart := strings.NewReplacer(image, "{{ .Values.image }}", "replicas: 1", "replicas: {{ .Values.replicas }}", "name: web\n  namespace: argo-chart", "name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}").
		Replace(deployment(a.name, "web", 1, image))
	commit := a.Commit("a chart", map[string]string{
		"applications/argo-chart.yaml": declared, "charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "charts/web/values.yaml": "image: none\nreplicas: 1\n",
		"charts/web/templates/web.yaml": chart, "environments/prod.yaml": "image: " + image + "\n",
	})
	a.Synced("root", commit)
	a.Synced(a.name, commit)
	commit = a.Commit("another image", map[string]string{"environments/prod.yaml": "image: " + newer + "\n"})
	a.Synced(a.name, commit)
	if got := a.image("web"); got != newer {
		t.Errorf("image is %q, want %q", got, newer)
	}
	a.refused("ann", []string{"-n", a.name, "set", "image", "deployment/web", "web=" + image}, "environments/prod.yaml:1", short(commit))
}
