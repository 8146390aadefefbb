package desired_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/test/gitserver"
)

func TestWhatIsWrongIsToldWhereItIsWrittenAndBreaksItsOwnUnitOnly(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string // of problems
		gone  string // a unit that declares nothing then; "" for none
	}{
		{"a path that is not there", map[string]string{"clusters/prod/shop.yaml": kustomization("shop", "./apps/gone", "")}, "clusters/prod/shop.yaml:8:9: open ./apps/gone: file does not exist [not-rendered]", "shop"},
		{"a path out of the repository", map[string]string{"clusters/prod/shop.yaml": kustomization("shop", "../../../etc", "")}, "clusters/prod/shop.yaml:8:9: open ../../../etc: leads out of the repository [not-rendered]", "shop"},
		{"a resource that is not there", map[string]string{"apps/shop/kustomization.yaml": "resources:\n- gone.yaml\n"}, `apps/shop/kustomization.yaml:2:3: "gone.yaml" is not in the repository: open apps/shop/gone.yaml: file does not exist [not-rendered]`, "shop"},
		{"a resource out of the repository", map[string]string{"apps/shop/kustomization.yaml": "resources:\n- ../../../x.yaml\n"}, `apps/shop/kustomization.yaml:2:3: "../../../x.yaml" leads out of the repository [not-rendered]`, "shop"},
		{"a remote base", map[string]string{"apps/shop/kustomization.yaml": "resources:\n- https://example.com/base?ref=v1\n"}, `apps/shop/kustomization.yaml:2:3: "https://example.com/base?ref=v1" is opaque: names another machine; expected a path in the repository (copy the base into it)`, "shop"},
		{"bases that refer to each other", map[string]string{"apps/shop/kustomization.yaml": "resources: [a]\n", "apps/shop/a/kustomization.yaml": "resources: [../b]\n", "apps/shop/b/kustomization.yaml": "resources: [../a]\n"}, "cycle detected", "shop"},
		{"a patch of nothing", map[string]string{"apps/shop/patch.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n"}, "apps/shop/kustomization.yaml:0:0: kustomization cannot be built: ", "shop"},
		{"a manifest that is no YAML", map[string]string{"apps/ledger/config.yaml": "a: [\n"}, "apps/ledger/", "ledger"},
		{"a file in Git LFS", map[string]string{"apps/ledger/config.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"}, "apps/ledger/", "ledger"},
		{"a unit that waits for an unknown one", map[string]string{"clusters/prod/shop.yaml": kustomization("shop", "./apps/shop", "  dependsOn:\n    - name: gone\n  targetNamespace: shop\n")}, "clusters/prod/shop.yaml:14:7: Kustomization flux-system/shop waits for Kustomization flux-system/gone, which Git does not declare [unknown-unit]", ""},
		{"units that wait for each other", map[string]string{"clusters/prod/shop.yaml": kustomization("shop", "./apps/shop", "  targetNamespace: shop\n  dependsOn:\n    - name: ledger\n")}, "wait for each other [cycle]", ""},
		{"an object that two units declare", map[string]string{"clusters/prod/ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ledger\n", "apps/ledger/ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ledger\n"}, "apps/ledger/ns.yaml:1:1: Namespace ledger of Kustomization flux-system/ledger is declared by Kustomization flux-system/flux-system too (clusters/prod/ns.yaml:1) [declared-twice]", ""},
		{"a unit that two units declare", map[string]string{"apps/ledger/again.yaml": kustomization("shop", "./apps/shop", "  targetNamespace: shop\n")}, "Kustomization flux-system/shop of Kustomization flux-system/ledger is declared by Kustomization flux-system/flux-system too", ""},
		{"a unit that renders itself", map[string]string{"apps/ledger/again.yaml": kustomization("loop", "./apps/ledger", "")}, "", ""},
		{"a repository that is not listed", map[string]string{"clusters/prod/other.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: other, namespace: flux-system}\nspec: {url: \"https://user:secret@git.example.com/other/repo\", ref: {branch: main}}\n", "clusters/prod/shop.yaml": strings.Replace(kustomization("shop", "./apps/shop", ""), "name: flux-system\n", "name: other\n", 1)}, "is opaque: ", "shop"},
		{"another branch of a listed repository", map[string]string{"clusters/prod/other.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: other, namespace: flux-system}\nspec: {url: \"" + address + "\", ref: {branch: evil}}\n", "clusters/prod/shop.yaml": strings.Replace(kustomization("shop", "./apps/shop", ""), "    name: flux-system\n", "    name: other\n", 1)}, "clusters/prod/shop.yaml:10:3: branch evil of https://git.example.com/platform/fleet.git is opaque: it is not listed under sources", "shop"},
		{"a repository that Git does not declare", map[string]string{"clusters/prod/shop.yaml": strings.Replace(kustomization("shop", "./apps/shop", ""), "    name: flux-system\n", "    name: gone\n", 1)}, "files of GitRepository flux-system/gone is opaque: Git does not declare it", "shop"},
		{"a namespaced object without a namespace", map[string]string{"apps/ledger/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: books\n"}, "apps/ledger/config.yaml:1:1: object has no namespace, and nothing says which: its reconciler refuses it [no-namespace]", "ledger"},
		{"variables of a ConfigMap that Git does not declare", map[string]string{"clusters/prod/shop.yaml": kustomization("shop", "./apps/shop", "  postBuild:\n    substituteFrom:\n      - {kind: ConfigMap, name: gone}\n")}, "is opaque: Git does not declare it", "shop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := render(t, with(fleet(), tc.files))
			got := problems(s)
			if !strings.Contains(got, tc.want) || tc.want == "" && got != "" && !strings.Contains(got, "declared-twice") {
				t.Errorf("problems:\n%s\nwant %s", got, tc.want)
			}
			if strings.Contains(got, "secret") {
				t.Errorf("a password is told:\n%s", got)
			}
			for _, u := range s.Units() {
				if empty := len(u.Objects()) == 0; empty != (u.Name == tc.gone && tc.gone != "") {
					t.Errorf("%s declares %d objects", u, len(u.Objects()))
				}
			}
		})
	}
}

func TestLinksAndSubmodulesThatLeadOutAreTold(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write(fleet())
	if err := os.Symlink("/etc", filepath.Join(r.Dir, "apps/ledger/etc")); err != nil {
		t.Fatal(err)
	}
	head := r.Commit("link", nil)
	renderer, err := desired.New(options(t, r))
	if err != nil {
		t.Fatal(err)
	}
	s, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(head)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(s); !strings.Contains(got, "leads out of the repository") {
		t.Errorf("problems:\n%s", got)
	}
}

func TestAFileThatIsNotReadBreaksItsOwnUnitOnly(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, r *gitserver.Repo)
		want    string
	}{
		{"a submodule among the manifests", func(t *testing.T, r *gitserver.Repo) {
			inner := gitserver.NewRepo(t)
			inner.Commit("inner", map[string]string{"config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inner, namespace: ledger}\n"})
			r.Git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.Dir, "apps/ledger/sub")
		}, "is a submodule, whose files are in another repository"},
		{"a manifest that is too large", func(_ *testing.T, r *gitserver.Repo) {
			r.Write(map[string]string{"apps/ledger/huge.yaml": "# " + strings.Repeat("x", tree.MaxFile)})
		}, "more than the 16777216 that are read"},
		{"a link out of the repository as a resource", func(t *testing.T, r *gitserver.Repo) {
			if err := os.Symlink("../../../../etc/hostname", filepath.Join(r.Dir, "apps/ledger/host.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "leads out of the repository"},
		{"a link to itself", func(t *testing.T, r *gitserver.Repo) {
			if err := os.Symlink("loop.yaml", filepath.Join(r.Dir, "apps/ledger/loop.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "too many symbolic links"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := gitserver.NewRepo(t)
			r.Write(fleet())
			tc.prepare(t, r)
			head := r.Commit("files", nil)
			renderer, err := desired.New(options(t, r))
			if err != nil {
				t.Fatal(err)
			}
			s, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(head)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := problems(s); !strings.Contains(got, tc.want) || !strings.Contains(got, "apps/ledger/") {
				t.Errorf("problems:\n%s\nwant %s", got, tc.want)
			}
			for _, u := range s.Units() {
				if empty := len(u.Objects()) == 0; empty != (u.Name == "ledger") {
					t.Errorf("%s declares %d objects", u, len(u.Objects()))
				}
			}
		})
	}
}

func TestAddressesOfOneRepositoryAreTheSame(t *testing.T) {
	for _, other := range []string{
		"https://git.example.com/platform/fleet", "https://user:pw@GIT.example.com:443/platform/fleet.git/", "ssh://git@git.example.com/platform/fleet.git",
		"git@git.example.com:platform/fleet.git", "ssh://git@git.example.com:22/platform/fleet", "http://git.example.com//platform/fleet",
	} {
		if !desired.SameRepository(address, other) {
			t.Errorf("%s is another repository than %s", other, address)
		}
	}
	for _, other := range []string{
		"", "https://git.example.com/platform/fleet2", "https://git.example.com/platform/Fleet", "https://git.example.com.evil.com/platform/fleet",
		"https://evil.com/git.example.com/platform/fleet", "https://git.example.com:8443/platform/fleet", "https://git.example.com/platform/fleet?x=y",
		"https://git.example.com/platform", "file:///platform/fleet", "git.example.com/platform/fleet", "https://git.example.com@evil.com/platform/fleet",
	} {
		if desired.SameRepository(address, other) {
			t.Errorf("%s is the same repository as %s", other, address)
		}
	}
}
