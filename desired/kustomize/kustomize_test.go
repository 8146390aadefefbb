package kustomize_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

func commit(t testing.TB, files map[string]string) (*gitserver.Repo, *tree.Tree) {
	t.Helper()
	r := gitserver.NewRepo(t)
	h := r.Commit("files", files)
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	files2, err := tree.Load(t.Context(), repo, git.Hash(h))
	if err != nil {
		t.Fatal(err)
	}
	return r, files2
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: nginx:1.0
          env: [{name: A, value: "1"}]
`

var fleet = map[string]string{
	"base/deployment.yaml":         deployment,
	"base/service.yaml":            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
	"base/kustomization.yaml":      "resources: [deployment.yaml, service.yaml]\nlabels:\n- pairs: {team: shop}\n  includeSelectors: true\n",
	"component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: add\n      path: /spec/template/spec/hostNetwork\n      value: false\n",
	"prod/kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop
namePrefix: prod-
resources: [../base]
components: [../component]
images: [{name: nginx, newTag: "2.0"}]
replicas: [{name: web, count: 3}]
commonAnnotations: {owner: shop}
configMapGenerator:
- name: settings
  literals: [A=1]
  files: [app.conf, other=files/x.conf]
secretGenerator:
- name: token
  envs: [token.env]
patches:
- path: patch.yaml
- target: {kind: Service}
  patch: |-
    - op: replace
      path: /spec/ports/0/port
      value: 8080
replacements:
- source: {kind: ConfigMap, name: settings, fieldPath: data.A}
  targets:
  - select: {kind: Deployment}
    fieldPaths: ["spec.template.spec.containers.[name=web].env.[name=A].value"]
`,
	"prod/app.conf":             "x = y\n",
	"prod/files/x.conf":         "z\n",
	"prod/token.env":            "TOKEN=abc\n",
	"prod/patch.yaml":           "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers: [{name: web, resources: {limits: {memory: 1Gi}}}]\n",
	"plain/a.yaml":              "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
	"plain/deep/c.yml":          "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
	"plain/readme.md":           "not a manifest",
	"plain/k/kustomization.yml": "namePrefix: k-\nresources: [x.yaml]\n",
	"plain/k/x.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
}

func TestABuildIsThatOfKustomize(t *testing.T) {
	all := maps.Clone(fleet)
	folders := []string{"base", "prod", "plain/k"}
	for _, root := range []string{"flux-fleet/apps", "argocd-fleet/apps"} {
		root = filepath.Join("..", "..", "examples", root)
		err := filepath.WalkDir(root, func(file string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(file)
			rel, _ := filepath.Rel(filepath.Join("..", "..", "examples"), file)
			all[filepath.ToSlash(rel)] = string(text)
			if d.Name() == "kustomization.yaml" {
				folders = append(folders, filepath.ToSlash(filepath.Dir(rel)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(folders) < 8 {
		t.Fatalf("the examples have %d kustomizations", len(folders)-3)
	}
	r, files := commit(t, all)
	for _, folder := range folders {
		t.Run(folder, func(t *testing.T) {
			got, err := kustomize.Build(t.Context(), files.View(), folder, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			options := krusty.MakeDefaultOptions()
			options.LoadRestrictions = types.LoadRestrictionsNone
			want, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(r.Dir, folder))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != want.Size() || len(got) == 0 {
				t.Fatalf("%d objects, want %d", len(got), want.Size())
			}
			for i, w := range want.Resources() {
				// As JSON: kustomize has whole numbers as int, and manifests have them as int64.
				wanted, err := w.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				built, err := json.Marshal(got[i].Content)
				if err != nil {
					t.Fatal(err)
				}
				var a, b any
				if err := errors.Join(json.Unmarshal(built, &a), json.Unmarshal(wanted, &b)); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(a, b) {
					t.Errorf("object %d is\n%s\nwant\n%s", i, built, wanted)
				}
			}
		})
	}
}

func TestObjectsKnowTheirFile(t *testing.T) {
	_, files := commit(t, fleet)
	got, err := kustomize.Build(t.Context(), files.View(), "prod", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	origin := map[string]string{}
	for _, o := range got {
		origin[o.Content["kind"].(string)] = o.File
	}
	for kind, want := range map[string]string{"Deployment": "base/deployment.yaml", "Service": "base/service.yaml", "ConfigMap": "prod/kustomization.yaml", "Secret": "prod/kustomization.yaml"} {
		if origin[kind] != want {
			t.Errorf("%s comes from %q, want %q", kind, origin[kind], want)
		}
	}
}

func TestAFolderWithoutKustomizationIsAllThatLiesBelow(t *testing.T) {
	_, files := commit(t, fleet)
	got, err := kustomize.Build(t.Context(), files.View(), "plain", true, func(k *types.Kustomization) { k.Namespace = "shop" })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range got {
		meta := o.Content["metadata"].(map[string]any)
		names = append(names, meta["namespace"].(string)+"/"+meta["name"].(string))
	}
	if got, want := strings.Join(names, " "), "shop/a shop/b shop/c shop/k-x"; got != want {
		t.Errorf("objects %s, want %s", got, want)
	}
	if _, err := kustomize.Build(t.Context(), files.View(), "plain", false, nil); err == nil || !strings.Contains(err.Error(), "has no kustomization") {
		t.Errorf("without leave to make one: %v", err)
	}
}

func TestWhatLeadsElsewhereIsRefusedBeforeItIsRead(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(marker, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stolen}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	with := func(k string, more map[string]string) map[string]string {
		files := map[string]string{"app/kustomization.yaml": k, "app/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"}
		for name, text := range more {
			files[name] = text
		}
		return files
	}
	for _, tc := range []struct {
		name   string
		files  map[string]string
		opaque bool
		want   string
	}{
		{"a base by https", with("resources:\n- x.yaml\n- https://127.0.0.1:1/base\n", nil), true, "app/kustomization.yaml:3:"},
		{"a base by git", with("resources: [\"git@127.0.0.1:a/b\"]\n", nil), true, "app/kustomization.yaml:1:"},
		{"a base by a host's short form", with("resources: [\"github.com/a/b\"]\n", nil), true, "another machine"},
		{"a base by a query", with("resources: [\"127.0.0.1/a/b?ref=main\"]\n", nil), true, "another machine"},
		{"a base of a base", with("resources: [../base]\n", map[string]string{"base/kustomization.yaml": "resources: [\"ssh://git@127.0.0.1/a\"]\n"}), true, "base/kustomization.yaml:1:"},
		{"a patch by https", with("resources: [x.yaml]\npatches: [{path: \"https://127.0.0.1:1/p.yaml\"}]\n", nil), true, "another machine"},
		{"a generator's file by https", with("configMapGenerator: [{name: a, files: [\"k=https://127.0.0.1:1/p\"]}]\n", nil), true, "another machine"},
		{"an OpenAPI schema by https", with("resources: [x.yaml]\nopenapi: {path: \"https://127.0.0.1:1/p\"}\n", nil), true, "another machine"},
		{"a transformer that fetches", with("resources: [x.yaml]\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: p}\n  path: https://127.0.0.1:1/p\n", nil), true, "would fetch"},
		{"a chart", with("helmCharts: [{name: a, repo: \"https://127.0.0.1:1\"}]\n", nil), true, "start the helm program"},
		{"a component by https", with("components: [\"https://127.0.0.1:1/c\"]\n", nil), true, "another machine"},
		{"an absolute path", with("resources: ["+marker+"]\n", nil), false, "is an absolute path"},
		{"a path out of the repository", with("resources: [../../../../../../etc]\n", nil), false, "leads out of the repository"},
		{"a file that is not there", with("resources: [x.yaml, y.yaml]\n", nil), false, "app/kustomization.yaml:1:21: \"y.yaml\" is not in the repository"},
		{"a folder without kustomization", with("resources: [../base]\n", map[string]string{"base/x.yaml": "a: b\n"}), false, "has no kustomization.yaml"},
		{"a cycle", with("resources: [../base]\n", map[string]string{"base/kustomization.yaml": "resources: [../app]\n"}), false, "cycle"},
		{"an unknown field", with("resource: [x.yaml]\n", nil), false, "unknown field"},
		{"a plugin that is a program", with("resources: [x.yaml]\ntransformers: [t.yaml]\n", map[string]string{"app/t.yaml": "apiVersion: v1\nkind: T\nmetadata:\n  name: t\n  annotations:\n    config.kubernetes.io/function: |-\n      exec:\n        path: ./run.sh\n", "app/run.sh": "#!/bin/sh\ntouch " + marker + ".ran\n"}), false, "cannot be built"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, files := commit(t, tc.files)
			_, err := kustomize.Build(t.Context(), files.View(), "app", true, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			var opaque *kustomize.OpaqueError
			if errors.As(err, &opaque) != tc.opaque {
				t.Errorf("opaque %v, want %v: %v", !tc.opaque, tc.opaque, err)
			}
			var placed *policies.PositionError
			if !errors.As(err, &placed) {
				t.Errorf("the error names no place: %v", err)
			}
			if _, err := os.Stat(marker + ".ran"); err == nil {
				t.Error("a program of the repository was started")
			}
		})
	}
}

func TestALinkOutOfTheRepositoryIsNotFollowed(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write(map[string]string{"app/kustomization.yaml": "resources: [x.yaml]\n"})
	if err := os.Symlink("/etc/passwd", filepath.Join(r.Dir, "app/x.yaml")); err != nil {
		t.Fatal(err)
	}
	h := r.Commit("link", nil)
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	files, err := tree.Load(t.Context(), repo, git.Hash(h))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kustomize.Build(t.Context(), files.View(), "app", false, nil); err == nil || !strings.Contains(err.Error(), "leads out of the repository") {
		t.Errorf("error %v", err)
	}
}
