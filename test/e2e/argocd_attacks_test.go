package e2e

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

func argoRevisions(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-revisions")
	vulnerable := a.push("web", map[string]string{"web.yaml": deployment(a.name, "web", 1, image)})
	a.Synced("root", vulnerable)
	if phase, said := a.Sync(a.name, vulnerable); phase != "Succeeded" {
		t.Fatalf("a sync by hand: %s: %s", phase, said)
	}
	fixed := a.push("a newer image", map[string]string{"web.yaml": deployment(a.name, "web", 1, newer)})
	if phase, said := a.Sync(a.name, "main"); phase != "Succeeded" || a.image("web") != newer {
		t.Fatalf("a sync of the branch by hand: %s, image %s: %s", phase, a.image("web"), said)
	}
	a.push("one more", map[string]string{"more.yaml": annotated(a.name, "more", "1")})
	if phase, said := a.Sync(a.name, "main"); phase != "Succeeded" {
		t.Fatalf("one more object: %s: %s", phase, said)
	}
	latest := a.push("one less", map[string]string{"more.yaml": ""})
	if phase, said := a.Sync(a.name, "main"); phase != "Succeeded" || a.Get("v1 ConfigMap", a.name, "more") != nil {
		t.Errorf("a sync by hand that prunes: %s: %s", phase, said)
	}
	phase, said := a.Sync(a.name, vulnerable)
	if phase == "Succeeded" || a.image("web") != newer {
		t.Errorf("an older revision came back: %s, image %s: %s", phase, a.image("web"), said)
	}
	wantAll(t, said, "gate.gitgate.dev", "an older state does not come back by itself", short(latest), "git revert")

	a.Repo.Git("checkout", "-q", "-b", "experiment")
	a.Repo.Commit("an experiment", map[string]string{"apps/argo-revisions/web.yaml": deployment(a.name, "web", 1, "registry.example.com/shop/web:experiment")})
	a.Repo.Git("checkout", "-q", "main")
	phase, said = a.Sync(a.name, "experiment")
	if phase == "Succeeded" || a.image("web") != newer {
		t.Errorf("a branch that nobody accepted came in: %s, image %s: %s", phase, a.image("web"), said)
	}
	wantAll(t, said, "gate.gitgate.dev", `"registry.example.com/shop/web:experiment" is not what Git declares`, newer, "apps/argo-revisions/web.yaml:16", short(fixed))
	if phase, said := a.Sync(a.name, "main"); phase != "Succeeded" {
		t.Errorf("the branch afterwards: %s: %s", phase, said)
	}
}

func argoStolen(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-stolen", world.Automated)
	commit := a.synced("web", map[string]string{"web.yaml": deployment(a.name, "web", 1, image), "data.yaml": annotated(a.name, "data", "1")})
	where := []string{"apps/argo-stolen/web.yaml", short(commit)}
	patch := func(p string) []string {
		return []string{"-n", a.name, "patch", "deployment/web", "--type=json", "-p", p}
	}
	a.refused(controller, patch(`[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"miner","image":"evil"}}]`), "containers[1]")
	a.refused(controller, patch(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil"}]`), append(where, `"evil" is not what Git declares`, image)...)
	a.refused(controller, patch(`[{"op":"add","path":"/spec/template/spec/hostPID","value":true}]`), "hostPID")
	a.refused(controller, patch(`[{"op":"add","path":"/spec/template/spec/serviceAccountName","value":"admin"}]`), "serviceAccount")
	a.refused(controller, []string{"-n", a.name, "delete", "deployment/web"}, append(where, "is still declared")...)
	a.refused(controller, []string{"-n", a.name, "scale", "deployment/web", "--replicas=9"}, "scale")
	a.refused(controller, []string{"-n", a.name, "create", "configmap", "evil"}, "is declared by no accepted commit")
	a.refused(controller, []string{"create", "clusterrolebinding", "evil", "--clusterrole=cluster-admin", "--user=mallory"}, "is declared by no accepted commit")
	a.refused(controller, []string{"-n", "kube-system", "create", "configmap", "evil"}, "is declared by no accepted commit")
	marked := annotated(a.name, "evil", "1", `argocd.argoproj.io/tracking-id: "argo-stolen:/ConfigMap:argo-stolen/evil"`)
	a.refused(controller, []string{"create", "-f", a.File("evil.yaml", marked)}, "is declared by no accepted commit")
	a.refused(controller, []string{"-n", "argocd", "patch", "application/argo-stolen", "--type=merge", "-p", `{"spec":{"source":{"targetRevision":"evil"}}}`}, "applications/argo-stolen.yaml")
	a.refused(controller, []string{"-n", a.name, "delete", "pods", "--all"}, "is not for system:serviceaccount:argocd:argocd-application-controller to delete")
	a.refused(controller, []string{"--as=ann", "--as-group=developers", "-n", a.name, "create", "configmap", "evil"}, "no accepted commit declares it")
	a.refused(controller, []string{"--as=system:admin", "--as-group=system:masters", "-n", a.name, "delete", "configmap", "data"}, "apps/argo-stolen/data.yaml")

	// What is asked of Argo CD is judged by what comes of it.
	in := a.As(controller, controlplane.ServiceAccountGroups(world.ArgoCDNamespace), "v1 ConfigMap", a.name)
	o := a.Get("v1 ConfigMap", a.name, "data")
	if _, err := in.Update(a.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Errorf("an update that changes nothing is refused: %v", err)
	}
}

func argoRogue(t *testing.T, w *world.World) {
	w = w.For(t)
	phase, said := w.Sync("rogue", "main")
	if phase == "Succeeded" || w.Get("apps/v1 Deployment", "default", "miner") != nil {
		t.Errorf("what an Application that Git does not declare brings in is admitted: %s: %s", phase, said)
	}
	wantAll(t, said, "gate.gitgate.dev", "Deployment default/miner is declared by no accepted commit", "rogue", "which Git does not declare")
	a := &application{World: w, t: t}
	text := a.File("rogue.yaml", strings.Replace(w.Application("mallory", "apps/mallory", world.Automated), "[resources-finalizer.argocd.argoproj.io]", "[]", 1))
	a.refused("mallory", []string{"create", "-f", text}, "Application argocd/mallory", "no accepted commit declares it")
	a.refused("system:serviceaccount:argocd:argocd-server", []string{"create", "-f", text}, "Application argocd/mallory")
	a.refused(controller, []string{"create", "-f", text}, "Application argocd/mallory is declared by no accepted commit")
}
