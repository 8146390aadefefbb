package desired_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

const tenant = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: own, namespace: team-b}
spec: {interval: 1m, url: "https://git.example.com/team-b.git", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: team-b}
spec: {interval: 1h, path: ./deploy, prune: true, sourceRef: {kind: GitRepository, name: own}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: named, namespace: team-b}
spec: {interval: 1h, path: ./named, prune: true, serviceAccountName: deployer, sourceRef: {kind: GitRepository, name: own}}
`

func configMapOf(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: team-b}\n"
}

func TestWhatATenantsRepositoryDeclaresIsWhatUnitsTakeFromIt(t *testing.T) {
	other := gitserver.NewRepo(t)
	theirs := other.Commit("team b", map[string]string{"deploy/a.yaml": configMapOf("a"), "named/b.yaml": configMapOf("b"), "elsewhere/c.yaml": configMapOf("c")})
	repo, _, err := git.Open(t.Context(), other.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	for _, tc := range []struct {
		name       string
		fleet      string
		referenced bool
		want       []string // object by whom
	}{
		{"a referenced source, and units of another one", tenant, true, []string{
			"GitRepository own by ", "Kustomization apps by ",
			"Kustomization named by ",
			"ConfigMap a by system:serviceaccount:team-b:reconciler", "ConfigMap b by system:serviceaccount:team-b:deployer",
		}},
		{"a referenced source that nothing refers to", configMapOf("own"), true, []string{"ConfigMap own by "}},
		{"a source with a root that nothing refers to", configMapOf("own"), false, []string{
			"ConfigMap own by ", "ConfigMap a by ",
			"ConfigMap b by ", "ConfigMap c by ",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := gitserver.NewRepo(t)
			ours := r.Commit("fleet", map[string]string{"clusters/prod/tenants.yaml": tc.fleet})
			o := options(t, r)
			o.FluxAccount = "reconciler"
			o.Sources = append(o.Sources, desired.Source{Name: "team-b", URL: "https://git.example.com/team-b.git", Branch: "main", Repo: repo, Referenced: tc.referenced})
			renderer, err := desired.New(o)
			if err != nil {
				t.Fatal(err)
			}
			s, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(ours), "team-b": git.Hash(theirs)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, u := range s.Units() {
				for _, d := range u.Objects() {
					got = append(got, d.Key.Kind+" "+d.Key.Name+" by "+u.Actor)
				}
			}
			slices.Sort(got)
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q\nproblems %v", got, tc.want, s.Problems())
			}
		})
	}
}

const twoTenants = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: own, namespace: team-a}
spec: {interval: 1m, url: "https://git.example.com/team-a.git", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: sync, namespace: team-a}
spec: {interval: 1h, path: ./sync, prune: true, sourceRef: {kind: GitRepository, name: own}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: own, namespace: team-b}
spec: {interval: 1m, url: "https://git.example.com/team-b.git", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: sync, namespace: team-b}
spec: {interval: 1h, path: ./sync, prune: true, sourceRef: {kind: GitRepository, name: own}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: values, namespace: team-a}
data: {tier: gold}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w, namespace: team-a}
---
` + widgets

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

func kustomizationOf(namespace, name, path, more string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: " + namespace + "}\n" +
		"spec: {interval: 1h, path: " + path + ", prune: true, sourceRef: {kind: GitRepository, name: own}" + more + "}\n---\n"
}

// A tenant declares in its own repository what belongs to another one: its units, their sources and values, definitions of everybody.
func TestWhatATenantDeclaresElsewhereTakesNobodysPlace(t *testing.T) {
	open := func(files map[string]string) (_ *git.Repo, before, after git.Hash) {
		t.Helper()
		r := gitserver.NewRepo(t)
		first := r.Commit("nothing", map[string]string{"sync/README.md": "nothing\n"})
		commit := r.Commit("files", files)
		repo, _, err := git.Open(t.Context(), r.Dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { repo.Close() })
		return repo, git.Hash(first), git.Hash(commit)
	}
	theirs, _, a := open(map[string]string{
		"sync/sub.yaml":  kustomizationOf("team-a", "sub", "./sub", ""),
		"sub/apps.yaml":  kustomizationOf("team-a", "apps", "./apps", ", postBuild: {substituteFrom: [{kind: ConfigMap, name: values}]}"),
		"apps/true.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: true-one, namespace: team-a}\ndata: {tier: \"${tier}\"}\n",
	})
	mallory := map[string]string{
		"sync/theirs.yaml": kustomizationOf("team-a", "apps", "./apps", "") + kustomizationOf("team-a", "sub", "./apps", "") + kustomizationOf("team-a", "laundry", "./laundry", ", serviceAccountName: reconciler") +
			"apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: own, namespace: team-a}\nspec: {interval: 1m, url: \"https://git.example.com/team-b.git\", ref: {branch: main}}\n---\n" +
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: values, namespace: team-a}\ndata: {tier: lead}\n---\n" +
			strings.Replace(widgets, "scope: Namespaced", "scope: Cluster", 1),
		"laundry/apps.yaml": kustomizationOf("team-a", "apps", "./apps", "") + kustomizationOf("team-a", "own-idea", "./apps", ""),
		"apps/false.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: false-one, namespace: team-a}\n",
	}
	other, before, b := open(mallory)
	r := gitserver.NewRepo(t)
	ours := git.Hash(r.Commit("fleet", map[string]string{"clusters/prod/tenants.yaml": twoTenants}))
	o := options(t, r)
	o.FluxAccount = "reconciler"
	o.Sources = append(o.Sources,
		desired.Source{Name: "team-a", URL: "https://git.example.com/team-a.git", Branch: "main", Repo: theirs, Referenced: true},
		desired.Source{Name: "team-b", URL: "https://git.example.com/team-b.git", Branch: "main", Repo: other, Referenced: true})
	renderer, err := desired.New(o)
	if err != nil {
		t.Fatal(err)
	}
	commits := map[string]git.Hash{"fleet": ours, "team-a": a, "team-b": b}
	check := func(s *desired.State) {
		t.Helper()
		units := map[string]*desired.Unit{}
		for _, u := range s.Units() {
			units[u.Namespace+"/"+u.Name] = u
		}
		for name, source := range map[string]string{"team-a/sync": "team-a", "team-a/sub": "team-a", "team-a/apps": "team-a", "team-b/sync": "team-b"} {
			if u := units[name]; u == nil || u.Source != source {
				t.Errorf("%s: %+v, want a unit of source %s", name, u, source)
			}
		}
		if apps := units["team-a/apps"]; apps != nil {
			var got []string
			for _, d := range apps.Objects() {
				tier, _ := policies.Lookup(d.Object.Map(), policies.Path{"data", "tier"})
				got = append(got, d.Key.Name+" "+fmt.Sprint(tier))
			}
			if !slices.Equal(got, []string{"true-one gold"}) {
				t.Errorf("team-a/apps declares %q", got)
			}
		}
		widget := policies.Key{GroupKind: policies.GroupKind{Group: "example.com", Kind: "Widget"}, Namespace: "team-a", Name: "w"}
		if !slices.ContainsFunc(slices.Collect(s.Keys()), func(k policies.Key) bool { return k == widget }) {
			t.Error("a definition of the tenant's takes an object out of its namespace")
		}
		if own, foreign := s.Definitions(); len(own) != 1 || len(foreign) != 0 {
			t.Errorf("%d definitions, and %d of tenants alone", len(own), len(foreign))
		}
	}
	s, err := renderer.At(t.Context(), commits, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(s)
	// And when it comes later, to a state that has the others already.
	commits["team-b"] = before
	quiet, err := renderer.At(t.Context(), commits, nil)
	if err != nil {
		t.Fatal(err)
	}
	commits["team-b"] = b
	if s, err = renderer.At(t.Context(), commits, quiet); err != nil {
		t.Fatal(err)
	}
	check(s)
}
