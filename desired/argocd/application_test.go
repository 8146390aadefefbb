package argocd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/desired/argocd"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

func load(t testing.TB, r *gitserver.Repo, commit string) *tree.Tree {
	t.Helper()
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	loaded, err := tree.Load(t.Context(), repo, git.Hash(commit))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// repository resolves the one address to a revision with files.
func repository(t testing.TB, files map[string]string) argocd.Resolve {
	t.Helper()
	r := gitserver.NewRepo(t)
	loaded := load(t, r, r.Commit("files", files))
	return func(_ context.Context, repoURL, revision string) (*tree.View, error) {
		if repoURL != "https://git.example.com/fleet.git" {
			return nil, &kustomize.OpaqueError{What: "repository " + repoURL, Reason: "it is no source of gitgate.yaml"}
		}
		return loaded.View(), nil
	}
}

func object(t testing.TB, text string) *policies.Object {
	t.Helper()
	objects, problems := manifest.Decode("app.yaml", []byte(text), manifest.DefaultLimits())
	if len(objects) != 1 || len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, text)
	}
	return objects[0]
}

const head = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: shop, namespace: argocd}\nspec:\n"

// application is one with the given part of its spec, and a destination and a source where that has none.
func application(t testing.TB, spec string) (*argocd.Application, error) {
	t.Helper()
	if !strings.Contains(spec, "destination") {
		spec += "  destination: {server: \"https://kubernetes.default.svc\", namespace: shop}\n"
	}
	return argocd.Parse(object(t, head+spec))
}

func source(rest string) string {
	return "  source: {repoURL: \"https://git.example.com/fleet.git\", targetRevision: main, " + rest + "}\n"
}

var cluster = helm.Cluster{Kubernetes: "1.36", Namespaced: func(gvk policies.GroupVersionKind) (bool, bool) {
	return !slices.Contains([]string{"Namespace", "ClusterRole", "CustomResourceDefinition"}, gvk.Kind), gvk.Group != "example.com"
}}

// byName gives the objects as JSON, by kind and name.
func byName(t testing.TB, objects []argocd.Object) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, o := range objects {
		text, err := json.Marshal(o.Content)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := policies.Lookup(o.Content, policies.Path{"metadata", "name"})
		out[fmt.Sprintf("%v %v", o.Content["kind"], name)] = string(text)
	}
	return out
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
}

var fleet = map[string]string{
	"plain/a.yaml":                  "# a\n" + configMap("a"),
	"plain/b.yml":                   configMap("b") + "---\n" + configMap("b2"),
	"plain/c.json":                  `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}`,
	"plain/other.yaml":              "just: values\n",
	"plain/skipped.yaml":            "# +argocd:skip-file-rendering\n" + configMap("skipped"),
	"plain/README.md":               "no manifest\n",
	"plain/deep/d.yaml":             configMap("d"),
	"plain/deep/deeper/e.yaml":      configMap("e"),
	"cluster/a.yaml":                "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: w.example.com}\n---\n" + strings.ReplaceAll(configMap("elsewhere"), "elsewhere", "elsewhere, namespace: other"),
	"hooks/a.yaml":                  "apiVersion: v1\nkind: Pod\nmetadata: {name: pre, annotations: {argocd.argoproj.io/hook: \"PreSync,Sync\"}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: never, annotations: {argocd.argoproj.io/hook: Skip}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: kept, annotations: {argocd.argoproj.io/sync-options: \"Prune=false\"}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: helms, annotations: {helm.sh/hook: \"post-upgrade,test\"}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: tests, annotations: {helm.sh/hook: test}}\n",
	"jsonnet/a.jsonnet":             "{}",
	"broken/a.yaml":                 "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\n",
	"kust/kustomization.yaml":       "resources: [d.yaml]\nimages: [{name: nginx, newTag: \"1\"}]\nlabels: [{pairs: {has: label}}]\n",
	"kust/d.yaml":                   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: nginx}]}\n",
	"kust/patch.yaml":               "- {op: add, path: /spec/paused, value: true}\n",
	"component/kustomization.yaml":  "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {component: \"yes\"}\n",
	"over/kustomization.yaml":       "resources: [../kust]\n",
	"over/.argocd-source.yaml":      "kustomize: {namePrefix: all-, images: [\"nginx:2\"]}\nrepoURL: https://evil.example.com\n",
	"over/.argocd-source-shop.yaml": "kustomize: {namePrefix: shop-}\n",
	"chart/Chart.yaml":              "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
	"chart/values.yaml":             "a: default\nlist: []\n",
	"chart/values-prod.yaml":        "a: prod\n",
	"chart/templates/c.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}\"}\ndata:\n  a: {{ .Values.a | quote }}\n  b: {{ .Values.b | quote }}\n  list: {{ join \"+\" .Values.list | quote }}\n  ns: {{ .Release.Namespace }}\n  install: \"{{ .Release.IsInstall }}\"\n  kube: {{ .Capabilities.KubeVersion.Minor | quote }}\n  monitoring: \"{{ .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}\"\n",
	"chart/templates/test.yaml":     "apiVersion: v1\nkind: Pod\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n",
	"chart/templates/hook.yaml":     "apiVersion: v1\nkind: Pod\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}\n",
	"chart/crds/w.yaml":             "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: ws.example.com}\n",
	"values/x.yaml":                 "a: x\n",
	"values/y.yaml":                 "b: why\n",
	"values/note.txt":               "a note, with a comma\n",
}

func TestTheObjectsOfAFolder(t *testing.T) {
	resolve := repository(t, fleet)
	for _, c := range []struct{ name, source, want string }{
		{"one level", "path: plain", "a b b2 c"},
		{"all levels", "path: plain, directory: {recurse: true}", "a b b2 c d e"},
		{"included", "path: plain, directory: {recurse: true, include: \"*.yml\"}", "b b2"},
		{"included from a list", "path: plain, directory: {recurse: true, include: \"{a.yaml,deep/*}\"}", "a d e"},
		{"excluded", "path: plain, directory: {recurse: true, exclude: \"{*.json,deep/**}\"}", "a b b2"},
		{"excluded wins", "path: plain, directory: {include: \"*.json\", exclude: \"c*\"}", ""},
		{"a pattern that is none", "path: plain, directory: {include: \"[\"}", ""},
		{"the root", "path: \".\", directory: {include: \"nothing\"}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, err := application(t, source(c.source))
			if err != nil {
				t.Fatal(err)
			}
			objects, notes, err := app.Render(t.Context(), resolve, argocd.Config{Cluster: cluster})
			if err != nil || len(notes) > 0 {
				t.Fatal(err, notes)
			}
			var names []string
			for _, o := range objects {
				name, _ := policies.Lookup(o.Content, policies.Path{"metadata", "name"})
				names = append(names, fmt.Sprint(name))
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnApplicationIsRenderedAsArgoCDAppliesIt(t *testing.T) {
	resolve := repository(t, fleet)
	for _, c := range []struct{ name, spec, object, want string }{
		{"the mark and the namespace", source("path: plain"), "ConfigMap a", `"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"shop:/ConfigMap:shop/a"},"name":"a","namespace":"shop"}`},
		{"a namespace of its own", source("path: cluster"), "ConfigMap elsewhere", `"argocd.argoproj.io/tracking-id":"shop:/ConfigMap:other/elsewhere"},"name":"elsewhere","namespace":"other"`},
		{"a cluster-wide object", source("path: cluster"), "ClusterRole r", `"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"shop:rbac.authorization.k8s.io/ClusterRole:shop/r"},"name":"r"}`},
		{"a CRD has no mark", source("path: cluster"), "CustomResourceDefinition w.example.com", `"metadata":{"name":"w.example.com"}`},
		{"a created namespace has no mark", source("path: plain") + "  syncPolicy: {syncOptions: [CreateNamespace=true]}\n", "Namespace shop", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`},
		{"a created namespace with labels", source("path: plain") + "  syncPolicy: {syncOptions: [CreateNamespace=true], managedNamespaceMetadata: {labels: {a: b}, annotations: {c: d}}}\n", "Namespace shop", `"metadata":{"annotations":{"argocd.argoproj.io/sync-options":"ServerSideApply=true","c":"d"},"labels":{"a":"b"},"name":"shop"}`},
		{"a hook is kept until it was seen", source("path: hooks"), "Pod pre", `"finalizers":["argocd.argoproj.io/hook-finalizer"]`},
		{"a hook that is skipped", source("path: hooks"), "Pod never", ""},
		{"a hook of Helm", source("path: hooks"), "Pod helms", `"finalizers"`},
		{"a test of Helm", source("path: hooks"), "Pod tests", ""},
		{"kustomize", source("path: kust"), "Deployment web", `"image":"nginx:1"`},
		{"kustomize names", source("path: kust, kustomize: {namePrefix: a-, nameSuffix: -b, namespace: other}"), "Deployment a-web-b", `"namespace":"other"`},
		{"kustomize images", source("path: kust, kustomize: {images: [\"nginx=registry.example.com/nginx:3\"]}"), "Deployment web", `"image":"registry.example.com/nginx:3"`},
		{"kustomize images by digest", source("path: kust, kustomize: {images: [\"nginx@sha256:abc\"]}"), "Deployment web", `"image":"nginx@sha256:abc"`},
		{"kustomize replicas", source("path: kust, kustomize: {replicas: [{name: web, count: \"4\"}]}"), "Deployment web", `"replicas":4`},
		{"kustomize labels", source("path: kust, kustomize: {commonLabels: {l: \"$ARGOCD_APP_NAME\"}}"), "Deployment web", `"selector":{"matchLabels":{"app":"web","l":"shop"}}`},
		{"kustomize labels without selectors", source("path: kust, kustomize: {commonLabels: {l: v}, labelWithoutSelector: true}"), "Deployment web", `"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}}`},
		{"kustomize labels by force", source("path: kust, kustomize: {commonLabels: {has: other}, labelWithoutSelector: true, forceCommonLabels: true}"), "Deployment web", `"labels":{"has":"other"}`},
		{"kustomize annotations", source("path: kust, kustomize: {commonAnnotations: {rev: \"${ARGOCD_APP_SOURCE_PATH}\"}, commonAnnotationsEnvsubst: true}"), "Deployment web", `"rev":"kust"`},
		{"kustomize patches", source("path: kust, kustomize: {patches: [{target: {kind: Deployment}, path: patch.yaml}]}"), "Deployment web", `"paused":true`},
		{"kustomize components", source("path: kust, kustomize: {components: [../component, ../none], ignoreMissingComponents: true}"), "Deployment web", `"component":"yes"`},
		{"overrides beside the kustomization", source("path: over"), "Deployment shop-web", `"image":"nginx:2"`},
		{"helm", source("path: chart"), "ConfigMap shop", `"data":{"a":"default","b":null,"install":"true","kube":"36","list":"","monitoring":"false","ns":"shop"}`},
		{"helm values", source("path: chart, helm: {releaseName: web, namespace: other, kubeVersion: \"1.31\", apiVersions: [monitoring.coreos.com/v1], values: \"a: own\"}"), "ConfigMap web", `"a":"own","b":null,"install":"true","kube":"31","list":"","monitoring":"true","ns":"other"`},
		{"helm files, then values, then parameters", source("path: chart, helm: {valueFiles: [values-prod.yaml, /values/y.yaml], valuesObject: {b: object}, parameters: [{name: a, value: \"$ARGOCD_APP_NAME,x\"}]}"), "ConfigMap shop", `"a":"shop,x","b":"object"`},
		{"helm files by pattern", source("path: chart, helm: {valueFiles: [\"/values/*.yaml\"]}"), "ConfigMap shop", `"a":"x","b":"why"`},
		{"helm files that are missing", source("path: chart, helm: {valueFiles: [none.yaml], ignoreMissingValueFiles: true}"), "ConfigMap shop", `"a":"default"`},
		{"helm parameters", source("path: chart, helm: {parameters: [{name: a, value: \"1\", forceString: true}, {name: list, value: \"{p,q}\"}]}"), "ConfigMap shop", `"a":"1","b":null,"install":"true","kube":"36","list":"p+q"`},
		{"helm file parameters", source("path: chart, helm: {fileParameters: [{name: b, path: ../values/note.txt}]}"), "ConfigMap shop", `"b":"a note, with a comma\n"`},
		{"helm CRDs", source("path: chart"), "CustomResourceDefinition ws.example.com", `"metadata":{"name":"ws.example.com"}`},
		{"helm without CRDs", source("path: chart, helm: {skipCrds: true}"), "CustomResourceDefinition ws.example.com", ""},
		{"helm hooks", source("path: chart"), "Pod migrate", `"argocd.argoproj.io/hook-finalizer"`},
		{"several sources, one for its values", "  sources:\n    - {repoURL: \"https://git.example.com/fleet.git\", path: chart, helm: {valueFiles: [$vals/values/x.yaml]}}\n    - {repoURL: \"https://git.example.com/fleet.git\", ref: vals}\n    - {repoURL: \"https://git.example.com/fleet.git\", path: plain}\n", "ConfigMap shop", `"a":"x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, err := application(t, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			objects, notes, err := app.Render(t.Context(), resolve, argocd.Config{Cluster: cluster})
			if err != nil || len(notes) > 0 {
				t.Fatal(err, notes)
			}
			got, there := byName(t, objects)[c.object]
			if there != (c.want != "") || !strings.Contains(got, c.want) {
				t.Errorf("got %s of %v, want %s", got, slices.Sorted(maps.Keys(byName(t, objects))), c.want)
			}
		})
	}
}

func TestHowArgoCDMarksIsConfigured(t *testing.T) {
	resolve := repository(t, fleet)
	for _, c := range []struct {
		name   string
		config argocd.Config
		want   string
	}{
		{"a label", argocd.Config{Tracking: argocd.TrackLabel}, `"labels":{"app.kubernetes.io/instance":"shop"},"name":"a"`},
		{"another label and the annotation", argocd.Config{Tracking: argocd.TrackBoth, InstanceLabel: "example.com/app"}, `"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"shop:/ConfigMap:shop/a"},"labels":{"example.com/app":"shop"},"name":"a"`},
		{"an installation", argocd.Config{InstallationID: "one"}, `"argocd.argoproj.io/installation-id":"one","argocd.argoproj.io/tracking-id":"shop:/`},
		{"an application outside of Argo CD's namespace", argocd.Config{Namespace: "gitops"}, `"argocd.argoproj.io/tracking-id":"argocd_shop:/ConfigMap:shop/a"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, err := application(t, source("path: plain"))
			if err != nil {
				t.Fatal(err)
			}
			c.config.Cluster = cluster
			objects, _, err := app.Render(t.Context(), resolve, c.config)
			if err != nil {
				t.Fatal(err)
			}
			if got := byName(t, objects)["ConfigMap a"]; !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestHooksAndWhatIsKeptAreTold(t *testing.T) {
	app, err := application(t, source("path: hooks"))
	if err != nil {
		t.Fatal(err)
	}
	objects, _, err := app.Render(t.Context(), repository(t, fleet), argocd.Config{Cluster: cluster})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		name, _ := policies.Lookup(o.Content, policies.Path{"metadata", "name"})
		pos, _ := o.Source.Locate(policies.Path{"metadata", "name"}, policies.AtValue)
		got = append(got, fmt.Sprintf("%v %v %v %s:%d", name, o.Hooks, o.Keeps, pos.File, pos.Line))
	}
	if want := "pre [PreSync Sync]  hooks/a.yaml:3, kept [] sync option Prune=false of the object forbids it hooks/a.yaml:11, helms [PostSync]  hooks/a.yaml:15"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestWhatIsWrongWithAnApplicationIsToldAtItsPlace(t *testing.T) {
	resolve := repository(t, fleet)
	for _, c := range []struct {
		name, spec string
		opaque     bool
		want       string
	}{
		{"no source", "  project: default\n", false, "app.yaml:4:1: application has no source"},
		{"another repository", "  source: {repoURL: \"https://other.example.com/a.git\", path: a}\n", true, "app.yaml:5:"},
		{"a chart of a repository", source("chart: redis"), true, "chart redis of https://git.example.com/fleet.git: it comes from a chart repository"},
		{"a registry", "  source: {repoURL: \"oci://registry.example.com/a\", path: a}\n", true, "it comes from a registry"},
		{"a plugin", source("path: plain, plugin: {name: cue}"), true, "it is a program of the repo server"},
		{"a source hydrator", "  sourceHydrator: {drySource: {}}\n", true, "source hydrator"},
		{"another cluster", source("path: plain") + "  destination: {server: \"https://10.0.0.1\", namespace: shop}\n", true, "it is applied to another cluster"},
		{"jsonnet", source("path: jsonnet"), true, "jsonnet/a.jsonnet: jsonnet jsonnet/a.jsonnet: it is a program"},
		{"two tools", source("path: plain, helm: {}, kustomize: {}"), false, "source names helm and kustomize"},
		{"no path", source("targetRevision2: a"), false, "source has no path"},
		{"a path that is not there", source("path: none"), false, "path \"none\" is not in the repository"},
		{"a path out of the repository", source("path: ../../etc"), false, "leads out of the repository"},
		{"an absolute path", source("path: /etc"), false, "is absolute"},
		{"a broken manifest", source("path: broken"), false, "broken/a.yaml:"},
		{"a broken image", source("path: kust, kustomize: {images: [\"nginx\"]}"), false, "image \"nginx\": expected"},
		{"a label that is there", source("path: kust, kustomize: {commonLabels: {has: other}, labelWithoutSelector: true}"), false, "label has is in the kustomization already"},
		{"a patch of another machine", source("path: kust, kustomize: {patches: [{path: \"https://127.0.0.1:1/p.yaml\"}]}"), false, "expected a path relative to the kustomization"},
		{"a patch out of the repository", source("path: kust, kustomize: {patches: [{path: ../../../etc/passwd}]}"), false, "leads out of the repository"},
		{"a component of another machine", source("path: kust, kustomize: {components: [\"https://127.0.0.1:1/c\"]}"), true, "another machine"},
		{"values of another machine", source("path: chart, helm: {valueFiles: [\"https://127.0.0.1:1/v.yaml\"]}"), true, "they come from another machine"},
		{"values out of the repository", source("path: chart, helm: {valueFiles: [../../../etc/passwd]}"), false, "leads out of the repository"},
		{"values that are not there", source("path: chart, helm: {valueFiles: [none.yaml]}"), false, "file of values"},
		{"a parameter for a long list", source("path: chart, helm: {parameters: [{name: \"list[99999999]\", value: a}]}"), false, "parameter list[99999999] cannot be set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, err := application(t, c.spec)
			if err == nil {
				_, _, err = app.Render(t.Context(), resolve, argocd.Config{Cluster: cluster})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			var opaque *kustomize.OpaqueError
			if errors.As(err, &opaque) != c.opaque {
				t.Errorf("opaque %v, want %v: %v", !c.opaque, c.opaque, err)
			}
			var placed *policies.PositionError
			if !errors.As(err, &placed) {
				t.Errorf("the error names no place: %v", err)
			}
		})
	}
}

func TestOneSourceOfSeveralIsOpaque(t *testing.T) {
	app, err := application(t, "  sources:\n    - {repoURL: \"https://git.example.com/fleet.git\", path: plain}\n    - {repoURL: \"https://charts.example.com\", chart: redis}\n")
	if err != nil {
		t.Fatal(err)
	}
	objects, notes, err := app.Render(t.Context(), repository(t, fleet), argocd.Config{Cluster: cluster})
	if err != nil || len(notes) != 1 || len(objects) != 4 || !strings.Contains(notes[0].What, "chart redis") {
		t.Errorf("got %d objects, %v, %v", len(objects), notes, err)
	}
}

// What Argo CD 3.5 applied, as its requests were recorded, from the manifests that Git declared then.
func TestWhatArgoCDAppliedIsRendered(t *testing.T) {
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {app: web}}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n        - name: web\n          image: registry.example.com/shop/web:1.1.0\n          ports: [{name: http, containerPort: 8080}]\n          envFrom: [{configMapRef: {name: web-config}}]\n          resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}\n"
	resolve := repository(t, map[string]string{
		"apps/base/kustomization.yaml":          "resources: [deployment.yaml, config.yaml]\n",
		"apps/base/deployment.yaml":             deployment,
		"apps/base/config.yaml":                 "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-config}\ndata: {LOG_LEVEL: info}\n",
		"apps/overlays/prod/kustomization.yaml": "namespace: shop\nresources: [../../base]\nlabels: [{pairs: {env: prod}}]\nreplicas: [{name: web, count: 3}]\nimages: [{name: registry.example.com/shop/web, newTag: 1.0.0}]\n",
		"ssa/deployment.yaml":                   deployment,
		"hooks/all.yaml":                        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: pre\n  annotations: {argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}\nspec:\n  template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: hooked}\ndata: {k: v}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: replaced, annotations: {argocd.argoproj.io/sync-options: Replace=true}}\ndata: {k: v}\n",
	})
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	set := policies.NewSet()
	known := helm.Cluster{Kubernetes: "1.36", Namespaced: func(gvk policies.GroupVersionKind) (bool, bool) {
		_, namespaced, ok := rules.Resource(set, gvk)
		return namespaced, ok
	}}
	rendered := map[string]map[string]any{}
	for name, path := range map[string]string{"shop": "apps/overlays/prod", "ssa": "ssa", "hooks": "hooks"} {
		app, err := argocd.Parse(object(t, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: "+name+", namespace: argocd}\nspec:\n  destination: {server: \"https://kubernetes.default.svc\", namespace: "+name+"}\n  source: {repoURL: \"https://git.example.com/fleet.git\", path: "+path+"}\n  syncPolicy: {syncOptions: [CreateNamespace=true]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		objects, notes, err := app.Render(t.Context(), resolve, argocd.Config{Cluster: known})
		if err != nil || len(notes) > 0 {
			t.Fatal(err, notes)
		}
		for _, o := range objects {
			rendered[key(o.Content)] = o.Content
		}
	}
	files, err := filepath.Glob("testdata/recorded/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			recorded := map[string]any{}
			if err := json.Unmarshal(text, &recorded); err != nil {
				t.Fatal(err)
			}
			content, ok := rendered[key(recorded)]
			if !ok {
				t.Fatalf("%s is not rendered", key(recorded))
			}
			meta := recorded["metadata"].(map[string]any)
			annotations, _ := meta["annotations"].(map[string]any)
			if applied, ok := annotations["kubectl.kubernetes.io/last-applied-configuration"].(string); ok {
				got, _ := json.Marshal(content)
				var want map[string]any
				json.Unmarshal([]byte(applied), &want)
				if a, _ := policies.Lookup(want, policies.Path{"metadata", "annotations"}); reflect.DeepEqual(a, map[string]any{}) {
					delete(want["metadata"].(map[string]any), "annotations")
				}
				if want["kind"] == "Namespace" {
					delete(want, "spec")
					delete(want, "status") // it is written from the Go type
				}
				if text, _ := json.Marshal(want); string(text) != string(got) {
					t.Errorf("rendered %s\n applied %s", got, text)
				}
				delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
				if len(annotations) == 0 {
					delete(meta, "annotations")
				}
			}
			stored, err := rules.Stored(set, policies.NewObject(content, policies.Origin{}, nil, nil))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := settled(t, stored), settled(t, recorded); got != want {
				t.Errorf("stored\n got %s\nwant %s", got, want)
			}
		})
	}
}

func key(content map[string]any) string {
	meta := content["metadata"].(map[string]any)
	return fmt.Sprint(content["kind"], " ", meta["namespace"], "/", meta["name"])
}

// settled is an object as JSON without what a server assigns.
func settled(t *testing.T, content map[string]any) string {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	delete(o, "status")
	meta := o["metadata"].(map[string]any)
	for _, field := range []string{"uid", "creationTimestamp", "generation"} {
		delete(meta, field)
	}
	if o["kind"] == "Job" { // labels and selector of its uid, and those that it has when it is read again
		delete(meta, "labels")
		delete(o["spec"].(map[string]any), "selector")
		if template, ok := o["spec"].(map[string]any)["template"].(map[string]any); ok {
			delete(template, "metadata")
		}
	}
	if labels, ok := meta["labels"].(map[string]any); ok {
		delete(labels, "kubernetes.io/metadata.name")
		if len(labels) == 0 {
			delete(meta, "labels")
		}
	}
	text, _ = json.Marshal(o)
	return string(text)
}
