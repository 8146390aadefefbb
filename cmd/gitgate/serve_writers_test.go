package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/trace"
	"gitgate.dev/gitgate/webhook"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// writersOfTheDocuments are the examples of writers that docs/ shows, each read as a gitgate.yaml.
func writersOfTheDocuments(t *testing.T) []*bundle.Config {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []*bundle.Config
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			example := block[1]
			if !strings.HasPrefix(example, "writers:") && !strings.Contains(example, "\nwriters:") {
				continue
			}
			for field, add := range map[string]string{"apiVersion:": "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\n", "trace:": "trace: {}\n"} {
				if !strings.Contains("\n"+example, "\n"+field) {
					example += add
				}
			}
			c, err := bundle.Decode("gitgate.yaml", []byte(example))
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(file), err)
				continue
			}
			out = append(out, c)
		}
	}
	return out
}

// smallWorld declares one Deployment, of which there is one ReplicaSet.
type smallWorld struct {
	declared *policies.Form
	live     []*policies.Object
}

func (w smallWorld) Lookup(key policies.Key) []*policies.Form {
	if w.declared == nil || policies.KeyOf(w.declared.Object, w.declared.Object.Namespace) != key {
		return nil
	}
	return []*policies.Form{w.declared}
}

func (smallWorld) In(policies.GroupKind, string) []*policies.Form { return nil }

func (smallWorld) Unit(string, string, string) (policies.Unit, bool) { return policies.Unit{}, false }

func (smallWorld) Taking(string) []policies.Unit { return nil }

func (smallWorld) Opaque() []trace.Opaque { return nil }

func (smallWorld) Held() []trace.Held { return nil }

func (smallWorld) Older(string, string, string) bool { return false }

func (smallWorld) Fresh(context.Context) (bool, error) { return false, nil }

func (w smallWorld) Get(_ context.Context, ref trace.Ref) (*policies.Object, error) {
	for _, o := range w.live {
		if o.Kind.GroupKind() == ref.Kind.GroupKind() && o.Name == ref.Name {
			return o, nil
		}
	}
	return nil, nil
}

func (smallWorld) List(context.Context, policies.GroupVersionKind) ([]*policies.Object, error) {
	return nil, nil
}

// tracedBy is the webhook with the trace as a configuration has it, and nothing else.
func tracedBy(t *testing.T, c *bundle.Config, w smallWorld) *webhook.Handler {
	t.Helper()
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	o := traceOptions(c)
	o.Index, o.Owners = w, w
	o.Lists = func(kind policies.GroupVersionKind) func(policies.Path) trace.List {
		return func(p policies.Path) trace.List {
			if _, keys := rules.List(nil, kind, p); len(keys) > 0 {
				return trace.List{Type: trace.ListMap, Keys: keys}
			}
			return trace.List{}
		}
	}
	p, err := trace.New(o)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.New([]*policies.Policy{p}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return servedBy(t, engine)
}

// asking is a request to the API server. Its kind is as writers have it: Node, NodeClaim.karpenter.sh.
type asking struct {
	user, group, operation, kind, sub, namespace, name string
	object, old                                        map[string]any
}

func (q asking) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s/%s %s/%s", q.user+q.group, q.operation, q.kind, q.sub, q.namespace, q.name))
}

// classOf is the class and the writer of a request that was admitted, or "refused".
func classOf(t *testing.T, h *webhook.Handler, q asking) string {
	t.Helper()
	kind, group, _ := strings.Cut(q.kind, ".")
	version := "v1"
	named := func(content map[string]any) map[string]any {
		if content == nil {
			return nil
		}
		content["apiVersion"], content["kind"] = strings.TrimPrefix(group+"/"+version, "/"), kind
		metadata, _ := content["metadata"].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
			content["metadata"] = metadata
		}
		metadata["name"], metadata["namespace"] = q.name, q.namespace
		return content
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
		"uid": "u-1", "operation": q.operation, "name": q.name, "namespace": q.namespace, "subResource": q.sub,
		"kind":     map[string]any{"group": group, "version": version, "kind": kind},
		"resource": map[string]any{"group": group, "version": version, "resource": pluralOf(kind)},
		"userInfo": map[string]any{"username": q.user, "groups": []string{q.group, "system:authenticated"}},
		"object":   named(q.object), "oldObject": named(q.old),
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, webhook.Path+"?timeout=30s", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer struct {
		Response struct {
			UID              string
			Allowed          bool
			Status           struct{ Code int }
			AuditAnnotations map[string]string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response.UID != "u-1" {
		t.Fatalf("%s: HTTP %d: %s", q, w.Code, w.Body)
	}
	switch said := answer.Response; {
	case said.Allowed:
		return strings.TrimSpace(said.AuditAnnotations["class"] + " " + said.AuditAnnotations["writer"])
	case said.Status.Code == http.StatusForbidden:
		return "refused"
	}
	t.Errorf("%s: %s", q, w.Body)
	return ""
}

func pluralOf(kind string) string {
	kind = strings.ToLower(kind)
	if rest, ok := strings.CutSuffix(kind, "y"); ok {
		return rest + "ies"
	}
	return kind + "s"
}

// instance is a text that a pattern matches.
func instance(pattern string) string { return strings.ReplaceAll(pattern, "*", "x") }

// setField sets a field of a manifest by its path: what is in brackets is a key of labels or annotations, or the key of an item of a list.
func setField(content map[string]any, field string) {
	name, key, keyed := strings.Cut(field, "[")
	key = instance(strings.TrimSuffix(key, "]"))
	steps := strings.Split(name, ".")
	for _, step := range steps[:len(steps)-1] {
		content = child(content, step)
	}
	last := steps[len(steps)-1]
	switch {
	case keyed && steps[0] == "metadata":
		child(content, last)[key] = "new"
	case keyed:
		items, _ := content[last].([]any)
		content[last] = append(items, map[string]any{"name": key, "type": key, "image": "new"})
	case last == "finalizers":
		content[last] = []any{"example.com/new"}
	default:
		content[last] = "new"
	}
}

func child(content map[string]any, name string) map[string]any {
	m, _ := content[name].(map[string]any)
	if m == nil {
		m = map[string]any{}
		content[name] = m
	}
	return m
}

// lets says by the words of an example alone whether one of its entries is for a request that changes these fields; nil for a request
// about the whole object.
func lets(w bundle.Writer, q asking, fields []string) bool {
	all := func(patterns []string, s string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return instance(p) == s })
	}
	return slices.ContainsFunc(w.Writes, func(e bundle.Write) bool {
		if !slices.Contains(e.Kinds, q.kind) || !all(e.Namespaces, q.namespace) || !all(e.Names, q.name) {
			return false
		}
		replicas := q.sub == "scale" && len(e.Fields) > 0
		if len(e.Subresources) > 0 && !slices.Contains(e.Subresources, q.sub) || len(e.Subresources) == 0 && q.sub != "" && !replicas {
			return false
		}
		if len(e.Fields) == 0 {
			return true
		}
		return q.operation == "UPDATE" && !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(e.Fields, f) })
	})
}

// Every writer of every example asks for everything that any example names, and more.
func TestTheWritersOfTheDocumentsWriteWhatTheyNameAndNothingElse(t *testing.T) {
	t.Parallel()
	examples := writersOfTheDocuments(t)
	kinds := []string{"Secret", "ConfigMap", "ClusterRoleBinding.rbac.authorization.k8s.io", "Deployment.apps", "ValidatingWebhookConfiguration.admissionregistration.k8s.io", "NodeClaim.example.com", "IPPool.crd.projectcalico.org"}
	subresources := []string{"", "status", "scale", "approval", "exec"}
	fields := []string{"spec.other", "metadata.labels[x]", "status.conditions[Ready]"}
	names := map[string][]string{} // of kinds whose names matter
	for _, c := range examples {
		for _, w := range c.Writers {
			for _, e := range w.Writes {
				kinds, subresources = append(kinds, e.Kinds...), append(subresources, e.Subresources...)
				fields = append(fields, e.Fields...)
				for _, n := range e.Names {
					names[e.Kinds[0]] = append(names[e.Kinds[0]], instance(n))
				}
			}
		}
	}
	for _, list := range []*[]string{&kinds, &subresources, &fields} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	let := map[string]int{}
	for _, c := range examples {
		h := tracedBy(t, c, smallWorld{})
		for _, w := range c.Writers {
			ask := func(q asking, changed []string) {
				t.Helper()
				want := "refused"
				if lets(w, q, changed) {
					want = "declared writer " + w.Name
					let[w.Name]++
				}
				// What a writer adds to what a controller does is the controller's.
				if got := classOf(t, h, q); got != want && (got != "derived" || want == "refused") {
					t.Errorf("%s: %s %q: %s, want %s", w.Name, q, changed, got, want)
				}
			}
			who := asking{namespace: "shop"}
			if len(w.Users) > 0 {
				who.user = instance(w.Users[0])
			} else {
				who.user, who.group = "somebody", instance(w.Groups[0])
			}
			for _, kind := range kinds {
				for _, sub := range subresources {
					for _, name := range append(names[kind], "other") {
						q := who
						q.kind, q.sub, q.name = kind, sub, name
						q.operation, q.object = "CREATE", map[string]any{"spec": map[string]any{"a": "b"}}
						ask(q, nil)
						q.operation, q.object, q.old = "DELETE", nil, map[string]any{"spec": map[string]any{"a": "b"}}
						ask(q, nil)
						q.operation = "UPDATE"
						for _, f := range fields {
							for _, changed := range [][]string{{f}, {f, "spec.other"}} {
								q.old, q.object = map[string]any{}, map[string]any{}
								for _, f := range slices.Compact(changed) {
									setField(q.object, f)
								}
								ask(q, changed)
							}
						}
					}
				}
			}
		}
	}
	t.Log(let)
	for _, c := range examples {
		for _, w := range c.Writers {
			if let[w.Name] == 0 {
				t.Errorf("nothing shows that writer %s writes", w.Name)
			}
		}
	}
}

// Who only looks like a writer writes nothing of what the writer may.
func TestWhoLooksLikeAWriterOfTheDocumentsIsNone(t *testing.T) {
	t.Parallel()
	for _, c := range writersOfTheDocuments(t) {
		h := tracedBy(t, c, smallWorld{})
		for _, w := range c.Writers {
			for _, e := range w.Writes {
				q := asking{operation: "UPDATE", kind: e.Kinds[0], namespace: "shop", name: "x", old: map[string]any{}, object: map[string]any{}}
				if len(e.Names) > 0 {
					q.name = instance(e.Names[0])
				}
				if len(e.Subresources) > 0 {
					q.sub = e.Subresources[0]
				}
				field := "spec.any"
				if len(e.Fields) > 0 {
					field = e.Fields[0]
				}
				setField(q.object, field)
				for _, name := range append(slices.Clone(w.Users), w.Groups...) {
					name = instance(name)
					for _, like := range []string{name + ":x", "x" + name, strings.Replace(name, "system:", "", 1) + "-", strings.ToUpper(name), "", "system:serviceaccount:default:x"} {
						q.user, q.group = like, like
						if got := classOf(t, h, q); got != "refused" {
							t.Errorf("%s: %s: %s", w.Name, q, got)
						}
					}
				}
			}
		}
	}
}

const (
	istioDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "registry.example.com/web:1"}]}}
`
	istioReplicaSet = `apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, namespace: shop, uid: r1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true}]}
spec:
  replicas: 1
  selector: {matchLabels: {app: web, pod-template-hash: "1"}}
  template: {metadata: {labels: {app: web, pod-template-hash: "1"}}, spec: {containers: [{name: web, image: "registry.example.com/web:1"}]}}
`
	istioPod = `metadata:
  generateName: web-1-
  labels: {app: web, pod-template-hash: "1"}
  annotations: {sidecar.istio.io/status: injected}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1, controller: true}]
spec:
  initContainers: [{name: istio-init, image: "registry.example.com/proxy:1"}]
  containers: [{name: istio-proxy, image: "registry.example.com/proxy:1"}, {name: web, image: "registry.example.com/web:1"}]
`
)

func TestIstioPutsItsContainersIntoPodsAsTheDocumentsLetIt(t *testing.T) {
	t.Parallel()
	at := slices.IndexFunc(writersOfTheDocuments(t), func(c *bundle.Config) bool { return c.Writers[0].Name == "istio" })
	if at < 0 {
		t.Fatal("no document has the example")
	}
	read := func(text string) map[string]any {
		m := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	object := func(text string) *policies.Object {
		objects, problems := manifest.Decode("web.yaml", []byte(text), manifest.DefaultLimits())
		if len(problems) > 0 || len(objects) != 1 {
			t.Fatal(problems)
		}
		return objects[0]
	}
	h := tracedBy(t, writersOfTheDocuments(t)[at], smallWorld{
		declared: &policies.Form{Object: object(istioDeployment), Source: "fleet", Current: true},
		live:     []*policies.Object{object(istioDeployment), object(istioReplicaSet)},
	})
	for _, tc := range []struct{ name, old, updated, want string }{
		{"its own", "x", "x", "derived"},
		{"a container of another name", "istio-proxy", "istio-proxy2", "refused"},
		{"a first container of another name", "istio-init", "init", "refused"},
		{"another image in the container of the workload", "web:1", "web:2", "refused"},
		{"an annotation of another prefix", "sidecar.istio.io/status", "istio.io/status", "refused"},
		{"the node's network", "spec:\n", "spec:\n  hostNetwork: true\n", "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := asking{
				user: "system:serviceaccount:kube-system:replicaset-controller", operation: "CREATE", kind: "Pod", namespace: "shop", name: "web-1-abcde",
				object: read(strings.ReplaceAll(istioPod, tc.old, tc.updated)),
			}
			if got := classOf(t, h, q); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}
