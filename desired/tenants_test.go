package desired_test

import (
	"slices"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
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
