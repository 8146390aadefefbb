package flux_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/flux"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

func view(t *testing.T, files map[string]string) *tree.View {
	t.Helper()
	r := gitserver.NewRepo(t)
	h := r.Commit("files", files)
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	loaded, err := tree.Load(t.Context(), repo, git.Hash(h))
	if err != nil {
		t.Fatal(err)
	}
	return loaded.View()
}

func object(t *testing.T, text string) *policies.Object {
	t.Helper()
	objects, problems := manifest.Decode("flux.yaml", []byte(text), manifest.DefaultLimits())
	if len(objects) != 1 || len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, text)
	}
	return objects[0]
}

func parse(t *testing.T, spec string) *flux.Kustomization {
	t.Helper()
	k, err := flux.Parse(object(t, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec:\n  path: ./app\n  sourceRef: {kind: GitRepository, name: fleet}\n"+spec))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func nothing(kind, namespace, name string) *policies.Object { return nil }

var app = map[string]string{
	"app/kustomization.yaml":     "resources: [deploy.yaml, config.yaml]\nimages: [{name: nginx, newTag: \"1\", digest: \"\"}]\n",
	"app/deploy.yaml":            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: nginx}]}\n",
	"app/config.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: env, labels: {own: label}}\ndata: {region: \"${REGION}\", size: \"${SIZE:=small}\", keep: \"$${HOME}\"}\n",
	"extra/kustomization.yaml":   "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {extra: \"yes\"}\n",
	"encrypted/secret.yaml":      "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {password: \"ENC[AES256_GCM,data:abc,type:str]\", user: admin}\nsops: {mac: x, version: 3.9.0}\n",
	"substitute-off/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: script, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\ndata: {run: \"${REGION}\"}\n",
}

// rendered gives the objects as JSON, by kind.
func rendered(t *testing.T, objects []flux.Object) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, o := range objects {
		text, err := json.Marshal(o.Content)
		if err != nil {
			t.Fatal(err)
		}
		out[o.Content["kind"].(string)] = string(text)
	}
	return out
}

const owner = `"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"flux-system"`

func TestWhatTheControllerAppliesIsRendered(t *testing.T) {
	variables := func(kind, namespace, name string) *policies.Object {
		if kind == "ConfigMap" && namespace == "flux-system" && name == "vars" {
			return object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {REGION: \"eu\\n\", SIZE: large}\n")
		}
		return nil
	}
	for _, tc := range []struct {
		name, spec string
		want       map[string][]string // texts in the JSON of each kind
	}{
		{"every object gets the owner's labels", "", map[string][]string{"Deployment": {owner}, "ConfigMap": {owner, `"own":"label"`, `"region":"${REGION}"`}}},
		{"a target namespace", "  targetNamespace: shop\n", map[string][]string{"Deployment": {`"namespace":"shop"`}}},
		{"a prefix and a suffix", "  namePrefix: a-\n  nameSuffix: -z\n", map[string][]string{"Deployment": {`"name":"a-web-z"`}}},
		{"a patch", "  patches:\n  - target: {kind: Deployment}\n    patch: |-\n      - {op: add, path: /spec/replicas, value: 5}\n", map[string][]string{"Deployment": {`"replicas":5`}}},
		{"an image over that of the kustomization", "  images: [{name: nginx, newName: registry.example.com/nginx}]\n", map[string][]string{"Deployment": {`"image":"registry.example.com/nginx:1"`}}},
		{"a digest takes the tag's place", "  images: [{name: nginx, digest: \"sha256:0123456789012345678901234567890123456789012345678901234567890123\"}]\n", map[string][]string{"Deployment": {`"image":"nginx@sha256:0123`}}},
		{"a component", "  components: [../extra]\n", map[string][]string{"Deployment": {`"extra":"yes"`}}},
		{"a missing component that may be missing", "  components: [../none]\n  ignoreMissingComponents: true\n", map[string][]string{"Deployment": {owner}}},
		{"common metadata", "  commonMetadata: {labels: {team: a}, annotations: {note: b}}\n", map[string][]string{"Deployment": {`"team":"a"`, `"note":"b"`, owner}}},
		{"variables", "  postBuild: {substitute: {REGION: us}}\n", map[string][]string{"ConfigMap": {`"region":"us"`, `"size":"small"`, `"keep":"${HOME}"`}}},
		{"variables of a ConfigMap, and inline ones over them", "  postBuild:\n    substitute: {SIZE: huge}\n    substituteFrom: [{kind: ConfigMap, name: vars}]\n", map[string][]string{"ConfigMap": {`"region":"eu"`, `"size":"huge"`}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects, err := parse(t, tc.spec).Render(t.Context(), view(t, app), variables)
			if err != nil {
				t.Fatal(err)
			}
			got := rendered(t, objects)
			for kind, texts := range tc.want {
				for _, text := range texts {
					if !strings.Contains(got[kind], text) {
						t.Errorf("%s has no %s:\n%s", kind, text, got[kind])
					}
				}
			}
		})
	}
}

// What kustomize-controller 1.9.5 sent for this folder and Kustomization was recorded from a real API server.
func TestTheRecordedControllerSentTheSame(t *testing.T) {
	v := view(t, map[string]string{"special/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: noprune\n  namespace: team-a\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\ndata: {k: v}\n"})
	k, err := flux.Parse(object(t, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: special, namespace: flux-system}\nspec: {commonMetadata: {labels: {team: a}}, force: false, interval: 1m, path: ./special, prune: true, sourceRef: {kind: GitRepository, name: gitops}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := k.Render(t.Context(), v, nothing)
	if err != nil {
		t.Fatal(err)
	}
	const recorded = `{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/prune":"disabled"},"labels":{"kustomize.toolkit.fluxcd.io/name":"special","kustomize.toolkit.fluxcd.io/namespace":"flux-system","team":"a"},"name":"noprune","namespace":"team-a"}}`
	if got := rendered(t, objects)["ConfigMap"]; got != recorded {
		t.Errorf("rendered\n%s\nrecorded\n%s", got, recorded)
	}
}

func TestEncryptedValuesAreKnownToBeThereOnly(t *testing.T) {
	k := parse(t, "  decryption: {provider: sops}\n")
	k.Spec.Path = "encrypted"
	objects, err := k.Render(t.Context(), view(t, app), nothing)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 1 || len(objects[0].Opaque) != 1 || objects[0].Opaque[0].String() != "stringData.password" {
		t.Fatalf("objects %+v", objects)
	}
	if _, ok := objects[0].Content["sops"]; ok {
		t.Error("the controller takes sops off, and it is still there")
	}
}

func TestAnObjectCanRefuseSubstitution(t *testing.T) {
	k := parse(t, "  postBuild: {substitute: {REGION: us}}\n")
	k.Spec.Path = "substitute-off"
	objects, err := k.Render(t.Context(), view(t, app), nothing)
	if err != nil {
		t.Fatal(err)
	}
	if got := rendered(t, objects)["ConfigMap"]; !strings.Contains(got, `"run":"${REGION}"`) {
		t.Error(got)
	}
}

func TestWhatOnlyTheClusterKnowsIsOpaque(t *testing.T) {
	for _, tc := range []struct {
		name, spec, want string
		opaque           bool
	}{
		{"variables that Git does not declare", "  postBuild: {substituteFrom: [{kind: ConfigMap, name: cluster}]}\n", "flux.yaml:7:", true},
		{"optional variables that Git does not declare", "  postBuild: {substituteFrom: [{kind: ConfigMap, name: cluster, optional: true}]}\n", "the cluster may have it", true},
		{"a variable of no valid name", "  postBuild: {substitute: {\"a-b\": x}}\n", "expected letters, digits and underscores", false},
		{"a component that is not there", "  components: [../none]\n", "not in the repository", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(t, tc.spec).Render(t.Context(), view(t, app), nothing)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			var opaque *kustomize.OpaqueError
			if errors.As(err, &opaque) != tc.opaque {
				t.Errorf("opaque %v, want %v", !tc.opaque, tc.opaque)
			}
		})
	}
	for _, spec := range []string{"  components: [\"https://example.com/x\"]\n", "  patches: [{path: ../x.yaml}]\n"} {
		if _, err := flux.Parse(object(t, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec:\n"+spec)); err == nil {
			t.Errorf("accepted: %s", spec)
		}
	}
}
