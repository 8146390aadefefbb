package desired_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// recordedFleet is what lay in the repository that kustomize-controller 1.9.5 followed when its requests were recorded.
func recordedFleet() map[string]string {
	unit := func(namespace, name, spec string) string {
		return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec: {interval: 1m, " + spec + ", sourceRef: {kind: GitRepository, name: gitops, namespace: flux-system}}\n"
	}
	config := func(name, more string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: team-a" + more + "}\ndata: {k: v}\n"
	}
	return map[string]string{
		"clusters/prod/source.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: gitops, namespace: flux-system}\nspec: {interval: 1m, url: \"" + address + "\", ref: {branch: main}}\n",
		"clusters/prod/units.yaml": strings.Join([]string{
			unit("flux-system", "crds", "path: ./crds, prune: true, wait: true"),
			unit("flux-system", "apps", "path: ./apps/overlays/prod, prune: true, dependsOn: [{name: crds}]"),
			unit("flux-system", "special", "path: ./special, prune: true, commonMetadata: {labels: {team: a}}"),
			unit("flux-system", "parent", "path: ./flux, prune: true"),
			unit("team-a", "team", "path: ./team, prune: true, serviceAccountName: reconciler"),
		}, "---\n"),
		"crds/widgets.yaml":                     "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec:\n  group: example.com\n  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}\n  scope: Namespaced\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      subresources: {status: {}}\n      schema:\n        openAPIV3Schema:\n          type: object\n          properties:\n            spec: {type: object, properties: {colour: {type: string}, size: {type: integer, default: 1}}}\n            status: {type: object, x-kubernetes-preserve-unknown-fields: true}\n",
		"apps/base/kustomization.yaml":          "resources: [deployment.yaml, rest.yaml]\n",
		"apps/base/deployment.yaml":             "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {app: web}}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n        - name: web\n          image: registry.example.com/shop/web:0.9.0\n          ports: [{name: http, containerPort: 8080}]\n          envFrom: [{configMapRef: {name: web-config}}]\n          resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}\n",
		"apps/base/rest.yaml":                   "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-config}\ndata: {LOG_LEVEL: info}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {gone: soon}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: web-secret}\nstringData: {password: not-a-real-secret}\n---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: blue}\nspec: {colour: blue}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
		"apps/overlays/prod/kustomization.yaml": "namespace: shop\nresources: [../../base]\nlabels: [{pairs: {env: prod}}]\nreplicas: [{name: web, count: 3}]\nimages: [{name: registry.example.com/shop/web, newTag: 1.0.0}]\n",
		"special/configs.yaml":                  config("merge", ", annotations: {kustomize.toolkit.fluxcd.io/ssa: Merge}") + "---\n" + config("ifnotpresent", ", annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}") + "---\n" + config("noprune", ", annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}"),
		"special/job.yaml":                      "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, namespace: team-a, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: \"x:2\"}]}}}\n",
		"flux/child.yaml":                       "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: child, namespace: flux-system}\nspec: {interval: 1m, namePrefix: child-, path: ./team, prune: false, sourceRef: {kind: GitRepository, name: gitops}, targetNamespace: team-a}\n",
		"team/config.yaml":                      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: team-config, namespace: team-a}\ndata: {k: v}\n",
	}
}

// What kustomize-controller sent, as its requests were recorded from a real API server, is what the revision declares with the
// API server's defaults. What a server assigns is not compared.
func TestWhatFluxAppliedIsDeclared(t *testing.T) {
	s := render(t, recordedFleet())
	if p := problems(s); p != "" {
		t.Fatalf("problems:\n%s", p)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "recorded", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var recorded map[string]any
			if err := json.Unmarshal(text, &recorded); err != nil {
				t.Fatal(err)
			}
			o := policies.NewObject(recorded, policies.Origin{}, nil, nil)
			found := s.Find(policies.Key{GroupKind: o.Kind.GroupKind(), Namespace: o.Namespace, Name: o.Name})
			if len(found) != 1 {
				t.Fatalf("%s is declared %d times", o, len(found))
			}
			stored, err := found[0].Object.Stored()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := withoutAssigned(t, stored), withoutAssigned(t, recorded); got != want {
				t.Errorf("declared %s\nrecorded %s", got, want)
			}
		})
	}
	child := s.Find(policies.Key{GroupKind: policies.GroupKind{Kind: "ConfigMap"}, Namespace: "team-a", Name: "child-team-config"})
	if len(child) != 1 || child[0].Unit.Name != "child" {
		t.Errorf("what the child of a parent applies is declared %d times", len(child))
	}
}

// withoutAssigned is an object as JSON without what only a server can say: addresses, and what holds the uid of a Job.
func withoutAssigned(t *testing.T, content map[string]any) string {
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
	for _, field := range []string{"creationTimestamp", "generation", "uid"} {
		delete(meta, field)
	}
	if labels, ok := meta["labels"].(map[string]any); ok {
		delete(labels, "kubernetes.io/metadata.name")
	}
	spec, _ := o["spec"].(map[string]any)
	switch o["kind"] {
	case "Service":
		for _, field := range []string{"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} {
			delete(spec, field)
		}
	case "Job":
		delete(spec, "selector")
		delete(spec["template"].(map[string]any), "metadata")
	case "Kustomization": // whose definition, with its defaults, is not in the repository
		delete(spec, "force")
	}
	text, _ = json.Marshal(o)
	return string(text)
}
