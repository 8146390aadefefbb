package main

import (
	"bytes"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/gitserver"
)

// runCached is runIn with a folder for what is kept between runs.
func runCached(t *testing.T, dir, cache string, args ...string) (code int, all string) {
	t.Helper()
	var out bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &out, dir: dir, env: func(name string) string {
		if name == "XDG_CACHE_HOME" {
			return cache
		}
		return ""
	}}
	code = p.run(t.Context(), args)
	return code, out.String()
}

func TestASourceInAnotherRepositoryIsRead(t *testing.T) {
	charts := gitserver.NewRepo(t)
	brought := charts.Commit("the chart", map[string]string{
		"web/Chart.yaml":            "apiVersion: v2\nname: web\nversion: 0.1.0\n",
		"web/values.yaml":           "replicas: 2\nmode: slow\n",
		"web/templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  replicas: {{ .Values.replicas | quote }}\n  mode: {{ .Values.mode }}\n",
	})
	server := gitserver.Serve(t, charts)
	r := gitserver.NewRepo(t)
	application := func(mode string) string {
		return "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: argocd}\nspec:\n  project: default\n  source:\n    repoURL: " + server.URL +
			"\n    targetRevision: main\n    path: web\n    helm:\n      valuesObject:\n        mode: " + mode + "\n  destination: {server: https://kubernetes.default.svc, namespace: shop}\n  syncPolicy: {automated: {prune: true}}\n"
	}
	config := "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\nsources:\n  - {name: fleet, url: \"https://git.example.com/fleet.git\", branch: main, path: apps}\n"
	listed := config + "  - {name: charts, url: \"" + server.URL + "\", branch: main}\nreconcilers: [{argocd: {namespace: argocd}}]\n"
	r.Commit("before", map[string]string{"gitgate.yaml": config + "reconcilers: [{argocd: {namespace: argocd}}]\n", "apps/web.yaml": application("fast")})
	r.Git("checkout", "-q", "-b", "topic")
	r.Commit("lists another address", map[string]string{"gitgate.yaml": listed})

	cache := t.TempDir()
	code, all := runCached(t, r.Dir, cache, "diff", "--base", "main")
	if code != 0 {
		t.Errorf("an address that the change brings: exit code %d", code)
	}
	wantAll(t, all, "source charts: is new", "is opaque", "0 to create, 0 to update")

	r.Git("checkout", "-q", "main")
	r.Git("merge", "-q", "topic")
	r.Git("checkout", "-q", "topic")
	r.Commit("a value", map[string]string{"apps/web.yaml": application("safe")})

	if code, all = runCached(t, r.Dir, cache, "diff", "--base", "main", "--offline"); code != 0 {
		t.Errorf("never fetched: exit code %d", code)
	}
	wantAll(t, all, "source charts: lies in another repository and was never fetched")
	if code, all = runCached(t, r.Dir, cache, "diff", "--base", "main"); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantAll(t, all, "~ ConfigMap shop/web  (Application argocd/web)", "    data.mode: \"fast\" -> \"safe\"  apps/web.yaml:12", "0 to create, 2 to update")
	if code, all = runCached(t, r.Dir, cache, "trace", "ConfigMap/web"); code != 0 {
		t.Errorf("trace: exit code %d", code)
	}
	wantAll(t, all, "ConfigMap shop/web is declared in charts//web/templates/config.yaml:1", "of source charts",
		"data.replicas", "charts//web/values.yaml:1  "+brought[:10], "  apps/web.yaml:12  ")

	server.Down.Store(true)
	if code, all = runCached(t, r.Dir, cache, "diff", "--base", "main"); code != exitUnjudged {
		t.Errorf("unreachable: exit code %d", code)
	}
	wantAll(t, all, "source charts lies in another repository", "could not be reached", "--offline does without it")
	if code, all = runCached(t, r.Dir, cache, "check", "--base", "main", "--offline"); code != 0 {
		t.Errorf("offline: exit code %d\n%s", code, all)
	}
	if strings.Contains(all, "opaque") {
		t.Errorf("what an earlier run fetched is not read:\n%s", all)
	}
}
