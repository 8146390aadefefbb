package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

// charts has one chart. Its Deployment has its image in line 14 of the template.
var charts = map[string]string{
	"charts/web/Chart.yaml":  "apiVersion: v2\nname: web\nversion: 1.0.0\n",
	"charts/web/values.yaml": "replicas: 1\nimage: " + image + "\ncolour: blue\n",
	"charts/web/templates/deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: {{ .Values.image }}
`,
	"charts/web/templates/settings.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-settings}\ndata: {colour: {{ .Values.colour }}, namespace: {{ .Release.Namespace }}}\n",
}

// release is a HelmRelease of that chart. more are lines of its spec.
func release(namespace, name string, more ...string) string {
	return fmt.Sprintf(`apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: %s, namespace: %s}
spec:
  interval: 1h
  chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: fleet, namespace: flux-system}}}
%s`, name, namespace, strings.Join(more, ""))
}

const helmReleases = "helm.toolkit.fluxcd.io/v2 HelmRelease"

// TestHelm plays the scenes of HelmReleases.
func TestHelm(t *testing.T) {
	w := start(t, world.Options{Flux: true, Helm: true, Files: charts})
	for _, scene := range []struct {
		name string
		play func(*testing.T, *world.World)
	}{
		{"a release is installed, upgraded, and taken away with its HelmRelease", releaseLives},
		{"values that were changed in the cluster are not installed", editedValues},
		{"a drift of a release is corrected", releaseDrift},
		{"a stolen token of helm-controller writes only what Git declares", stolenHelm},
		{"a release of a service account is that account's", releaseOfAccount},
		{"a chart of a registry is not known, by name", registryChart},
	} {
		if !t.Run(scene.name, func(t *testing.T) { scene.play(t, w) }) && t.Context().Err() != nil {
			break
		}
	}
}

// helm does what helm-controller does for the HelmRelease web of the scene.
func (s *scene) helm() error { return s.World.Helm.Reconcile(s.t.Context(), s.name, "web") }

func (s *scene) installed() {
	s.t.Helper()
	if err := s.helm(); err != nil {
		s.t.Fatal(err)
	}
}

// records are the names of the records of releases in the scene's namespace.
func (s *scene) records() []string {
	var out []string
	for _, o := range s.List("v1 Secret", s.name) {
		if strings.HasPrefix(o.GetName(), "sh.helm.release.v1.") {
			out = append(out, o.GetName())
		}
	}
	slices.Sort(out)
	return out
}

func releaseLives(t *testing.T, w *world.World) {
	s := newScene(t, w, "release")
	s.applied("a release", map[string]string{"web.yaml": release("release", "web", "  values: {replicas: 2}\n", "  postRenderers: [{kustomize: {images: [{name: registry.example.com/shop/web, newTag: 1.0.1}]}}]\n")})
	s.installed()
	s.has("apps/v1 Deployment", "web", int64(2), "spec", "replicas")
	web := s.Get("apps/v1 Deployment", "release", "web")
	for key, want := range map[string]string{"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "release", "app.kubernetes.io/managed-by": "Helm"} {
		if web.GetLabels()[key] != want {
			t.Errorf("label %s is %q: this is not what helm-controller writes", key, web.GetLabels()[key])
		}
	}
	if got := s.records(); !slices.Equal(got, []string{"sh.helm.release.v1.web.v1"}) {
		t.Errorf("records: %v", got)
	}
	s.applied("three", map[string]string{"web.yaml": release("release", "web", "  values: {replicas: 3, colour: green}\n")})
	s.installed()
	s.has("apps/v1 Deployment", "web", int64(3), "spec", "replicas")
	s.has("v1 ConfigMap", "web-settings", "green", "data", "colour")
	if got := s.records(); !slices.Equal(got, []string{"sh.helm.release.v1.web.v1", "sh.helm.release.v1.web.v2"}) {
		t.Errorf("records: %v", got)
	}
	// The chart itself changes: the HelmRelease stays as it is.
	s.Push("a chart without settings", map[string]string{"charts/web/templates/settings.yaml": ""})
	t.Cleanup(func() {
		s.Push("settings again", map[string]string{"charts/web/templates/settings.yaml": charts["charts/web/templates/settings.yaml"]})
	})
	s.installed()
	s.gone("v1 ConfigMap", "release", "web-settings")
	// The HelmRelease leaves Git: Flux deletes it, and helm-controller what it had installed.
	s.applied("no release", map[string]string{"web.yaml": ""})
	s.installed()
	s.gone(helmReleases, "release", "web")
	s.gone("apps/v1 Deployment", "release", "web")
	if got := s.records(); len(got) > 0 {
		t.Errorf("records stay: %v", got)
	}
}

func editedValues(t *testing.T, w *world.World) {
	s := newScene(t, w, "values")
	s.applied("a release", map[string]string{"web.yaml": release("values", "web")})
	s.installed()
	patch := []string{"-n", "values", "patch", "helmrelease/web", "--type=merge", "-p", `{"spec":{"values":{"image":"registry.example.com/evil:1"}}}`}
	said, err := s.Kubectl("ann", patch...)
	if err == nil {
		t.Fatalf("admitted: %s", said)
	}
	wantAll(t, said, "HelmRelease values/web", "apps/values/web.yaml", "spec.values")
	s.Unguarded(func() {
		if said, err := s.Kubectl("ann", patch...); err != nil {
			t.Fatal(said)
		}
	})
	err = s.helm()
	if err == nil {
		t.Fatal("what the cluster's HelmRelease says is installed")
	}
	wantAll(t, err.Error(), "Deployment values/web", "spec.template.spec.containers[0].image", "evil:1", image, "charts/web/values.yaml:2")
	s.Reconcile("values")
	s.installed()
	containers, _ := dig(s.Get("apps/v1 Deployment", "values", "web"), "spec", "template", "spec", "containers").([]any)
	if got := containers[0].(map[string]any)["image"]; got != image {
		t.Errorf("image: %v", got)
	}
}

func releaseDrift(t *testing.T, w *world.World) {
	s := newScene(t, w, "drifting")
	s.applied("a release", map[string]string{"web.yaml": release("drifting", "web")})
	s.installed()
	s.Unguarded(func() {
		for _, args := range [][]string{
			{"scale", "deployment/web", "--replicas=5"},
			{"patch", "configmap/web-settings", "--type=merge", "-p", `{"data":{"colour":"red"}}`},
		} {
			if said, err := s.Kubectl("ann", append([]string{"-n", "drifting"}, args...)...); err != nil {
				t.Fatal(said)
			}
		}
	})
	s.installed()
	s.has("apps/v1 Deployment", "web", int64(1), "spec", "replicas")
	s.has("v1 ConfigMap", "web-settings", "blue", "data", "colour")
}

// stolenHelm is an attacker with the token of helm-controller, which is cluster-admin.
func stolenHelm(t *testing.T, w *world.World) {
	s := newScene(t, w, "stolenhelm")
	s.applied("a release", map[string]string{"web.yaml": release("stolenhelm", "web"), "plain.yaml": configMap("stolenhelm", "plain", "n", "one")})
	s.installed()
	as := func(of string) writer {
		return writer{s.As(world.HelmUser, controlplane.ServiceAccountGroups(world.FluxNamespace), of, "stolenhelm"), t}
	}
	const container = `{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`
	secret := func(name, kind string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: stolenhelm}\ntype: " + kind + "\ndata: {release: eA==}\n"
	}
	for _, tc := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"adds a sidecar", func() error {
			return as("apps/v1 Deployment").patch("web", fmt.Sprintf(container, "miner", "registry.example.com/miner:1"))
		},
			[]string{"Deployment stolenhelm/web", "miner", "not declared", "charts/web/templates/deployment.yaml"}},
		{"changes the image", func() error {
			return as("apps/v1 Deployment").patch("web", fmt.Sprintf(container, "web", "registry.example.com/evil:1"))
		},
			[]string{"spec.template.spec.containers[0].image", "evil:1", "charts/web/values.yaml:2"}},
		{"adds an object", func() error { return as("v1 ConfigMap").create(configMap("stolenhelm", "mine", "n", "x")) },
			[]string{"ConfigMap stolenhelm/mine is declared by no accepted commit"}},
		{"writes what a Kustomization declares", func() error {
			return as("v1 ConfigMap").merge("plain", `{"data":{"n":"one"},"metadata":{"annotations":{"a":"b"}}}`)
		},
			[]string{"ConfigMap stolenhelm/plain is declared by Kustomization flux-system/stolenhelm", "Flux's kustomize-controller does"}},
		{"changes the values of a HelmRelease", func() error {
			return as(helmReleases).merge("web", `{"spec":{"values":{"image":"registry.example.com/evil:1"}}}`)
		},
			[]string{"HelmRelease stolenhelm/web"}},
		{"makes a HelmRelease", func() error { return as(helmReleases).create(release("stolenhelm", "mine")) },
			[]string{"HelmRelease stolenhelm/mine is declared by no accepted commit"}},
		{"makes a Secret", func() error { return as("v1 Secret").create(secret("mine", "Opaque")) }, []string{"Secret stolenhelm/mine is declared by no accepted commit"}},
		{"makes a Secret under the name of a record", func() error { return as("v1 Secret").create(secret("sh.helm.release.v1.web.v9", "Opaque")) },
			[]string{"Secret stolenhelm/sh.helm.release.v1.web.v9", "is no record of a release"}},
		{"makes the record of a release that nothing declares", func() error {
			return as("v1 Secret").create(secret("sh.helm.release.v1.mine.v1", "helm.sh/release.v1"))
		},
			[]string{"Secret stolenhelm/sh.helm.release.v1.mine.v1", "records the release of no declared HelmRelease"}},
		{"deletes what is declared", func() error { return as("apps/v1 Deployment").delete("web") }, []string{"Deployment stolenhelm/web is still declared"}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantDenied(t, tc.do(), tc.want...) })
	}
	if err := as("apps/v1 Deployment").patch("web", fmt.Sprintf(container, "web", image)); err != nil {
		t.Errorf("what is declared is refused: %v", err)
	}
}

func releaseOfAccount(t *testing.T, w *world.World) {
	s := newScene(t, w, "helmtenant")
	account := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: helmtenant}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: helmtenant}\n" +
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: deployer, namespace: helmtenant}]\n"
	s.applied("a release", map[string]string{"account.yaml": account, "web.yaml": release("helmtenant", "web", "  serviceAccountName: deployer\n")})
	s.installed()
	s.has("apps/v1 Deployment", "web", int64(1), "spec", "replicas")
	if len(s.records()) != 1 {
		t.Errorf("records: %v", s.records())
	}
	controller := writer{s.As(world.HelmUser, controlplane.ServiceAccountGroups(world.FluxNamespace), "apps/v1 Deployment", "helmtenant"), t}
	wantDenied(t, controller.merge("web", `{"spec":{"replicas":1},"metadata":{"annotations":{"a":"b"}}}`), "is declared by HelmRelease helmtenant/web", "system:serviceaccount:helmtenant:deployer does")
	tenant := func(of string) writer {
		return writer{s.As("system:serviceaccount:helmtenant:deployer", controlplane.ServiceAccountGroups("helmtenant"), of, "helmtenant"), t}
	}
	wantDenied(t, tenant("apps/v1 Deployment").merge("web", `{"spec":{"template":{"spec":{"hostPID":true}}}}`), "spec.template.spec.hostPID", "not declared")
	wantDenied(t, tenant("v1 Secret").create("apiVersion: v1\nkind: Secret\nmetadata: {name: mine, namespace: helmtenant}\n"), "Secret helmtenant/mine is declared by no accepted commit")
	s.applied("no release", map[string]string{"web.yaml": ""})
	s.installed()
	s.gone(helmReleases, "helmtenant", "web")
	if got := s.records(); len(got) > 0 {
		t.Errorf("records stay: %v", got)
	}
}

// registryChart is a chart that the gate cannot render: it says so, by name, and lets nothing in.
func registryChart(t *testing.T, w *world.World) {
	s := newScene(t, w, "registry")
	folder := t.TempDir()
	for name, text := range charts {
		file := filepath.Join(folder, filepath.Base(filepath.Dir(name)), filepath.Base(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.Helm.Charts["podinfo"] = filepath.Join(folder, "web")
	if err := os.Rename(filepath.Join(folder, "templates"), filepath.Join(folder, "web", "templates")); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(release("registry", "web"), "chart: ./charts/web, sourceRef: {kind: GitRepository, name: fleet, namespace: flux-system}", "chart: podinfo, version: 6.7.0, sourceRef: {kind: HelmRepository, name: podinfo}", 1)
	s.applied("a chart of a registry", map[string]string{
		"web.yaml":        text,
		"repository.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: podinfo, namespace: registry}\nspec: {interval: 1h, url: \"https://charts.example.com\"}\n",
	})
	err := s.helm()
	if err == nil {
		t.Fatal("what nobody can know is let in")
	}
	wantAll(t, err.Error(), "gitgate could not judge this change", "HelmRelease registry/web", "chart podinfo of HelmRepository podinfo", "it comes from a chart repository, not from Git")
	if strings.Contains(err.Error(), "is declared by no accepted commit") {
		t.Errorf("it is called undeclared: %v", err)
	}
	if s.Get("apps/v1 Deployment", "registry", "web") != nil {
		t.Error("it is installed")
	}
}
