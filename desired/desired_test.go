package desired_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

const address = "https://git.example.com/platform/fleet.git"

// fleet is a repository as `flux bootstrap` leaves it, with two apps.
func fleet() map[string]string {
	return map[string]string{
		"clusters/prod/flux-system/gotk-sync.yaml": `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 1m
  ref: {branch: main}
  url: ssh://git@git.example.com/platform/fleet
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 10m
  path: ./clusters/prod
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system}
`,
		"clusters/prod/flux-system/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [gotk-sync.yaml]\n",
		"clusters/prod/shop.yaml":                      kustomization("shop", "./apps/shop", "  targetNamespace: shop\n"),
		"clusters/prod/ledger.yaml":                    kustomization("ledger", "apps/ledger", "  dependsOn: [{name: shop}]\n"),
		"apps/shop/kustomization.yaml":                 "resources: [deployment.yaml, namespace.yaml]\nimages:\n  - name: nginx\n    newTag: \"1.1\"\npatches:\n  - path: patch.yaml\n",
		"apps/shop/deployment.yaml":                    deployment("web", "nginx:1.0"),
		"apps/shop/namespace.yaml":                     "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n",
		"apps/shop/patch.yaml":                         "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 3\n",
		"apps/ledger/config.yaml":                      "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: books\n  namespace: ledger\ndata:\n  mode: \"fast\"\n",
	}
}

func kustomization(name, path, more string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: " + name + "\n  namespace: flux-system\nspec:\n  interval: 10m\n  path: " + path +
		"\n  prune: true\n  sourceRef:\n    kind: GitRepository\n    name: flux-system\n" + more
}

func deployment(name, image string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: " + name + "\nspec:\n  replicas: 1\n  selector:\n    matchLabels: {app: " + name + "}\n  template:\n    metadata:\n      labels: {app: " + name +
		"}\n    spec:\n      containers:\n        - name: web\n          image: " + image + "\n"
}

func rules(t testing.TB) *apiserver.Rules {
	t.Helper()
	r, err := apiserver.New("")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func options(t testing.TB, r *gitserver.Repo) desired.Options {
	t.Helper()
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	return desired.Options{Sources: []desired.Source{{Name: "fleet", URL: address, Branch: "main", Path: "clusters/prod", Repo: repo}}, Rules: rules(t)}
}

func with(files map[string]string, more map[string]string) map[string]string {
	all := maps.Clone(files)
	maps.Copy(all, more)
	return all
}

func render(t testing.TB, files map[string]string) *desired.State {
	t.Helper()
	r := gitserver.NewRepo(t)
	head := r.Commit("files", files)
	renderer, err := desired.New(options(t, r))
	if err != nil {
		t.Fatal(err)
	}
	s, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(head)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// describe lists units and what they declare, one line each.
func describe(s *desired.State) string {
	var b strings.Builder
	for _, u := range s.Units() {
		fmt.Fprintf(&b, "%s:", u)
		var names []string
		for _, d := range u.Objects() {
			names = append(names, fmt.Sprintf(" %s/%s/%s@%s:%d", d.Key.Kind, d.Key.Namespace, d.Key.Name, d.Object.Origin.File, d.Object.Origin.Line))
		}
		slices.Sort(names)
		b.WriteString(strings.Join(names, "") + "\n")
	}
	return b.String()
}

func problems(s *desired.State) string {
	var b strings.Builder
	for _, p := range s.Problems() {
		fmt.Fprintf(&b, "%s:%d:%d: %s [%s]\n", p.Pos.File, p.Pos.Line, p.Pos.Column, p.Message, p.Rule)
	}
	for _, u := range s.Units() {
		for _, o := range u.Opaque {
			fmt.Fprintf(&b, "%s:%d:%d: %s is opaque: %s\n", o.Pos.File, o.Pos.Line, o.Pos.Column, o.What, o.Reason)
		}
	}
	return b.String()
}

func TestAFluxFleetIsRenderedFromItsRoot(t *testing.T) {
	s := render(t, fleet())
	if got := problems(s); got != "" {
		t.Errorf("problems:\n%s", got)
	}
	want := `Kustomization flux-system/flux-system: GitRepository/flux-system/flux-system@clusters/prod/flux-system/gotk-sync.yaml:1 Kustomization/flux-system/flux-system@clusters/prod/flux-system/gotk-sync.yaml:11 Kustomization/flux-system/ledger@clusters/prod/ledger.yaml:1 Kustomization/flux-system/shop@clusters/prod/shop.yaml:1
Kustomization flux-system/ledger: ConfigMap/ledger/books@apps/ledger/config.yaml:1
Kustomization flux-system/shop: Deployment/shop/web@apps/shop/deployment.yaml:1 Namespace//shop@apps/shop/namespace.yaml:1
`
	if got := describe(s); got != want {
		t.Errorf("state:\n%s\nwant\n%s", got, want)
	}
}

func TestAFolderOfPlainManifestsIsWhatItsFilesSay(t *testing.T) {
	s := render(t, map[string]string{
		"clusters/prod/a.yaml":        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n",
		"clusters/prod/deep/b.json":   `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "shop"}}`,
		"clusters/prod/broken.yaml":   "a: [",
		"clusters/prod/README.md":     "text",
		"clusters/prod/gitgate.yaml":  "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\n",
		"clusters/elsewhere/not.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: not\n",
	})
	want := "path clusters/prod: ConfigMap/default/a@clusters/prod/a.yaml:6 ConfigMap/shop/b@clusters/prod/deep/b.json:1 Namespace//shop@clusters/prod/a.yaml:1\n"
	if got := describe(s); got != want {
		t.Errorf("state:\n%s\nwant\n%s", got, want)
	}
	if got := problems(s); !strings.HasPrefix(got, "clusters/prod/broken.yaml:1:") || strings.Count(got, "\n") != 1 {
		t.Errorf("problems:\n%s", got)
	}
}

const argoRepository = "https://git.example.com/platform/fleet"

func TestApplicationsOfAnArgoCDRootAreRendered(t *testing.T) {
	application := func(name, path, more string) string {
		return "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: " + name + "\n  namespace: argocd\nspec:\n  project: default\n  source:\n    repoURL: " + argoRepository +
			"\n    targetRevision: main\n    path: " + path + "\n  destination:\n    server: https://kubernetes.default.svc\n    namespace: shop\n" + more
	}
	s := render(t, map[string]string{
		"clusters/prod/root.yaml":  application("root", "clusters/apps", ""),
		"clusters/apps/shop.yaml":  application("shop", "apps/shop", "  syncPolicy: {automated: {prune: true}}\n"),
		"clusters/apps/other.yaml": strings.Replace(application("other", "apps/shop", ""), "https://kubernetes.default.svc", "https://other.example.com", 1),
		"apps/shop/config.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: books\n",
	})
	want := `path clusters/prod: Application/argocd/root@clusters/prod/root.yaml:1
Application argocd/other:
Application argocd/root: Application/argocd/other@clusters/apps/other.yaml:1 Application/argocd/shop@clusters/apps/shop.yaml:1
Application argocd/shop: ConfigMap/shop/books@apps/shop/config.yaml:1
`
	if got := describe(s); got != want {
		t.Errorf("state:\n%s\nwant\n%s%s", got, want, problems(s))
	}
	for _, u := range s.Units() {
		if u.Name == "shop" && (!u.Prune || u.Actor != "system:serviceaccount:argocd:argocd-application-controller") || u.Name == "root" && u.Prune || (u.Name == "other") != (u.Elsewhere != "") {
			t.Errorf("unit %+v", u)
		}
	}
}

func TestAHelmReleaseOfAChartInGitIsRendered(t *testing.T) {
	release := "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  interval: 1m\n  values: {mode: fast}\n  chart:\n    spec:\n      chart: ./charts/web\n      sourceRef:\n        kind: GitRepository\n        name: flux-system\n        namespace: flux-system\n"
	s := render(t, with(fleet(), map[string]string{
		"apps/shop/release.yaml":           release,
		"apps/shop/kustomization.yaml":     "resources: [deployment.yaml, namespace.yaml, release.yaml]\n",
		"charts/web/Chart.yaml":            "apiVersion: v2\nname: web\nversion: 0.1.0\n",
		"charts/web/values.yaml":           "mode: slow\n",
		"charts/web/templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-config\ndata:\n  mode: {{ .Values.mode | quote }}\n",
	}))
	if got := describe(s); !strings.Contains(got, "HelmRelease shop/web: ConfigMap/shop/web-config@charts/web/templates/config.yaml:1\n") || problems(s) != "" {
		t.Fatalf("state:\n%s%s", got, problems(s))
	}
	found := s.Find(policies.Key{GroupKind: policies.GroupKind{Kind: "ConfigMap"}, Namespace: "shop", Name: "web-config"})
	if mode, _ := policies.Lookup(found[0].Object.Map(), policies.ParsePath("data.mode")); mode != "fast" {
		t.Errorf("mode %v", mode)
	}
	if pos := found[0].Object.Locate(policies.ParsePath("data.mode"), policies.AtValue); pos.File != "apps/shop/release.yaml" || pos.Line != 8 || pos.Column != 18 {
		t.Errorf("data.mode is at %+v", pos)
	}
	if u := found[0].Unit; u.Actor != "system:serviceaccount:flux-system:helm-controller" || !u.Prune || u.Source != "fleet" || u.Path != "charts/web" {
		t.Errorf("unit %+v", u)
	}
}

func TestFieldsAreFoundInTheFileThatSaysThem(t *testing.T) {
	s := render(t, fleet())
	found := s.Find(policies.Key{GroupKind: policies.GroupKind{Group: "apps", Kind: "Deployment"}, Namespace: "shop", Name: "web"})
	if len(found) != 1 {
		t.Fatalf("found %d", len(found))
	}
	o := found[0].Object
	for path, want := range map[string]string{
		"spec.replicas":                                     "apps/shop/patch.yaml:6:13",
		"spec.template.spec.containers[0].image":            "apps/shop/kustomization.yaml:4:13",
		"spec.template.spec.containers[0].name":             "apps/shop/deployment.yaml:14:17",
		"spec.template.spec.containers[0].imagePullPolicy":  "apps/shop/deployment.yaml:14:11",
		"metadata.namespace":                                "clusters/prod/shop.yaml:13:20",
		"metadata.labels[kustomize.toolkit.fluxcd.io/name]": "clusters/prod/shop.yaml:4:9",
	} {
		pos := o.Locate(policies.ParsePath(path), policies.AtValue)
		if got := fmt.Sprintf("%s:%d:%d", pos.File, pos.Line, pos.Column); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
	stored, err := o.Stored()
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := policies.Lookup(stored, policies.ParsePath("spec.template.spec.restartPolicy")); v != "Always" {
		t.Errorf("stored restartPolicy is %v", v)
	}
}

func TestAStateThatStartsFromAnotherIsTheOneFromNothing(t *testing.T) {
	r := gitserver.NewRepo(t)
	cold, err := desired.New(options(t, r))
	if err != nil {
		t.Fatal(err)
	}
	warm, err := desired.New(options(t, r))
	if err != nil {
		t.Fatal(err)
	}
	var from *desired.State
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ledger\n"
	for i, files := range []map[string]string{
		fleet(),
		patch("4"),
		{"apps/ledger/ns.yaml": namespace, "clusters/prod/ns.yaml": namespace}, // declared twice
		{"README.md": "text"},           // and still
		{"clusters/prod/ns.yaml": ""},   // and no more
		{"clusters/prod/shop.yaml": ""}, // ledger waits for nobody
		{"clusters/prod/shop.yaml": kustomization("shop", "./apps/shop", "  targetNamespace: shop\n")},    // and not any more
		{"clusters/prod/ledger.yaml": kustomization("ledger", "./apps/shop", "  targetNamespace: two\n")}, // another path
		{"apps/shop/kustomization.yaml": "resources: [gone.yaml]\n"},                                      // two units break
		{"apps/shop/kustomization.yaml": "resources: [deployment.yaml]\n"},
		{"clusters/prod/flux-system/gotk-sync.yaml": strings.Replace(fleet()["clusters/prod/flux-system/gotk-sync.yaml"], "platform/fleet", "platform/other", 1)}, // nothing is known any more
	} {
		head := map[string]git.Hash{"fleet": git.Hash(r.Commit(fmt.Sprint(i), files))}
		want, err := cold.At(t.Context(), head, nil)
		if err != nil {
			t.Fatal(err)
		}
		if from, err = warm.At(t.Context(), head, from); err != nil {
			t.Fatal(err)
		}
		if got, want := describe(from)+problems(from), describe(want)+problems(want); got != want {
			t.Errorf("after commit %d:\n%s\nwant\n%s", i, got, want)
		}
	}
}

// argoApplication is an Application of a folder of the repository, in project shop.
func argoApplication(name, path, more string) string {
	return "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: " + name + "\n  namespace: argocd\nspec:\n  project: shop\n  source:\n    repoURL: " + argoRepository +
		"\n    targetRevision: main\n    path: " + path + "\n  destination:\n    server: https://kubernetes.default.svc\n    namespace: shop\n" + more
}

func TestArgoCDsOwnSettingsCountWhereGitDeclaresThem(t *testing.T) {
	const (
		project = "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: shop, namespace: argocd}\nspec: {destinationServiceAccounts: [{server: '*', namespace: shop, defaultServiceAccount: deployer}]}\n"
		config  = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: argocd}\ndata: {%s}\n"
	)
	for _, tc := range []struct{ name, project, settings, actor, marks string }{
		{"nothing is declared", "", "", "argocd:argocd-application-controller", "tracking-id"},
		{"a project that names an account", project, "", "shop:deployer", "tracking-id"},
		{"a project that names an account, and impersonation is on", project, "application.sync.impersonation.enabled: 'true'", "shop:deployer", "tracking-id"},
		{"a project that names an account, and impersonation is off", project, "timeout.reconciliation: 60s", "argocd:argocd-application-controller", "tracking-id"},
		{"objects are marked by a label", "", "application.resourceTrackingMethod: label", "argocd:argocd-application-controller", "app.kubernetes.io/instance"},
		{"objects are marked by another label", "", "application.resourceTrackingMethod: label, application.instanceLabelKey: argo/app", "argocd:argocd-application-controller", "argo/app"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{
				"clusters/prod/shop.yaml": argoApplication("shop", "apps/shop", ""),
				"apps/shop/config.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: books\n",
			}
			if tc.project != "" {
				files["clusters/prod/project.yaml"] = tc.project
			}
			if tc.settings != "" {
				files["clusters/prod/settings.yaml"] = fmt.Sprintf(config, tc.settings)
			}
			s := render(t, files)
			if p := problems(s); p != "" {
				t.Fatal(p)
			}
			found := s.Find(policies.Key{GroupKind: policies.GroupKind{Kind: "ConfigMap"}, Namespace: "shop", Name: "books"})
			if len(found) != 1 || found[0].Unit.Actor != "system:serviceaccount:"+tc.actor {
				t.Fatalf("found %+v, want one that %s applies", found, tc.actor)
			}
			if marks := fmt.Sprint(found[0].Object.Map()["metadata"]); !strings.Contains(marks, tc.marks) || strings.Contains(marks, "tracking-id") != (tc.marks == "tracking-id") {
				t.Errorf("metadata is %s, want it to have %s", marks, tc.marks)
			}
		})
	}
}

func TestAHookWithoutANameIsDeclaredUnderItsPrefix(t *testing.T) {
	hook := func(prefix string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: " + prefix + "\n  annotations: {argocd.argoproj.io/hook: PreSync}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: job, image: job}]\n"
	}
	s := render(t, map[string]string{
		"clusters/prod/shop.yaml": argoApplication("shop", "apps/shop", ""),
		"apps/shop/migrate.yaml":  hook("migrate-"),
		"apps/shop/warm.yaml":     hook("warm-"),
	})
	if p := problems(s); p != "" {
		t.Fatal(p)
	}
	for _, prefix := range []string{"migrate-", "warm-"} {
		found := s.Find(policies.Key{GroupKind: policies.GroupKind{Group: "batch", Kind: "Job"}, Namespace: "shop", Name: prefix + "*"})
		if len(found) != 1 || !found[0].Hook {
			t.Errorf("%s: found %+v, want one hook", prefix, found)
		}
	}
}
