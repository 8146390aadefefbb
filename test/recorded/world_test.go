package recorded

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

// recording is one admission request of a real program.
type recording struct {
	File    string         `json:"file"` // actor/run and number-operation-resource-step
	Step    string         `json:"step"`
	MS      int64          `json:"ms"`
	Request map[string]any `json:"request"`
}

func (r *recording) actor() string {
	actor, _, _ := strings.Cut(r.File, "/")
	return actor
}

// run is the cluster in which it was recorded: the letter before the number.
func (r *recording) run() string {
	_, name, _ := strings.Cut(r.File, "/")
	return name[:1]
}

func (r *recording) text(path ...any) string {
	v, _ := policies.Lookup(r.Request, path)
	s, _ := v.(string)
	return s
}

func (r *recording) object(field string) *policies.Object {
	m, _ := r.Request[field].(map[string]any)
	if m == nil {
		return nil
	}
	o := policies.NewObject(m, policies.Origin{}, nil, nil)
	if o.Name == "" {
		o.Name = r.text("name")
	}
	return o
}

// change is the request as the webhook reads it.
func (r *recording) change() *policies.Change {
	c := &policies.Change{
		Operation: policies.Operation(r.text("operation")),
		Resource: policies.Resource{
			Group: r.text("resource", "group"), Version: r.text("resource", "version"), Resource: r.text("resource", "resource"), Subresource: r.text("subResource"),
		},
		Object: r.object("object"), Old: r.object("oldObject"), Namespace: r.text("namespace"),
		Actor: &policies.Actor{User: r.text("userInfo", "username")},
		Knows: policies.KnowsOld | policies.KnowsActor,
	}
	if c.Operation == policies.Delete {
		c.Object = nil
	}
	groups, _ := policies.Lookup(r.Request, policies.Path{"userInfo", "groups"})
	list, _ := groups.([]any)
	for _, g := range list {
		s, _ := g.(string)
		c.Actor.Groups = append(c.Actor.Groups, s)
	}
	if c.Resource.Group == "" && c.Resource.Resource == "namespaces" {
		c.Namespace = ""
	}
	c.Namespaced = c.Namespace != ""
	c.DryRun, _ = r.Request["dryRun"].(bool)
	return c
}

func recordings(t testing.TB) []*recording {
	t.Helper()
	packed, err := os.ReadFile("testdata/requests.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	var out []*recording
	for lines.Scan() {
		r := &recording{}
		if err := json.Unmarshal(lines.Bytes(), r); err != nil {
			t.Fatal(err)
		}
		r.Request = whole(r.Request).(map[string]any)
		out = append(out, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// whole turns whole numbers of decoded JSON into int64, as objects have them.
func whole(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = whole(x)
		}
	case []any:
		for i, x := range v {
			v[i] = whole(x)
		}
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	}
	return v
}

// world is a cluster and its Git repository at the moment of one request, as far as recorded requests tell of them.
type world struct {
	now    int64
	pruned bool // the commit that the request follows took the object away
	forms  map[policies.Key][]*declared
	live   map[string][]*state // by uid
	gone   map[string]int64    // uid of what was deleted -> when
	rules  *apiserver.Rules
	crds   *policies.Set
}

type declared struct {
	from int64
	form *policies.Form
}

type state struct {
	at     int64
	object *policies.Object
}

// newWorld collects what the requests of one run say: what its reconcilers applied is what Git declares, and what people made
// is declared too, so that what controllers make of it comes from what is declared.
func newWorld(t testing.TB, run []*recording, rules *apiserver.Rules) *world {
	t.Helper()
	w := &world{forms: map[policies.Key][]*declared{}, live: map[string][]*state{}, gone: map[string]int64{}, rules: rules}
	var crds []*policies.Object
	for _, r := range run {
		c := r.change()
		dry := c.DryRun
		for _, o := range []*policies.Object{c.Old, c.Object} {
			if o == nil || dry || !slices.Contains([]string{"", "status", "finalize"}, c.Resource.Subresource) {
				continue
			}
			uid, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "uid"})
			if uid, _ := uid.(string); uid != "" {
				w.live[uid] = append(w.live[uid], &state{r.MS, o})
			}
			if o.Kind.Kind == "CustomResourceDefinition" {
				crds = append(crds, o)
			}
		}
		if c.Operation == policies.Delete && c.Old.Kind.Kind != "Namespace" {
			if uid, _ := policies.Lookup(c.Old.Map(), policies.Path{"metadata", "uid"}); !dry {
				s, _ := uid.(string)
				w.gone[s] = r.MS
			}
		}
	}
	w.crds = policies.NewSet(append(crds, kustomizations())...)
	for _, r := range run {
		w.declare(t, r)
	}
	w.declareRoots()
	return w
}

// declareRoots declares the workloads of which no creation was recorded: repeats of one shape were left out.
func (w *world) declareRoots() {
	for _, states := range w.live {
		o := states[0].object
		owners, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "ownerReferences"})
		key := policies.KeyOf(o, o.Namespace)
		switch o.Kind.Kind {
		case "Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job":
			if owners == nil && len(w.forms[key]) == 0 {
				w.add(key, &recording{}, without(o.Map()), handMade)
			}
		}
	}
}

// kustomizations is as much of Flux's CRD as decides what is stored: its installation was not recorded.
func kustomizations() *policies.Object {
	return policies.NewObject(map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "kustomizations.kustomize.toolkit.fluxcd.io"},
		"spec": map[string]any{
			"group": "kustomize.toolkit.fluxcd.io", "scope": "Namespaced",
			"names": map[string]any{"kind": "Kustomization", "listKind": "KustomizationList", "plural": "kustomizations", "singular": "kustomization"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "x-kubernetes-preserve-unknown-fields": true,
					"properties": map[string]any{"spec": map[string]any{
						"type": "object", "x-kubernetes-preserve-unknown-fields": true,
						"properties": map[string]any{"force": map[string]any{"type": "boolean", "default": false}},
					}},
				}},
			}},
		},
	}, policies.Origin{}, nil, nil)
}

// handMade is the unit of what people made.
var handMade = policies.Unit{Kind: "Kustomization", Namespace: "flux-system", Name: "hand", Prune: true}

// declare adds the form that Git must have had for a reconciler or a person to write r's object.
func (w *world) declare(t testing.TB, r *recording) {
	c := r.change()
	if c.Object == nil || c.Resource.Subresource != "" {
		return
	}
	var content map[string]any
	unit := handMade
	switch actor := r.actor(); {
	case strings.HasPrefix(actor, "flux-"), strings.HasPrefix(actor, "argocd-"):
		if c.Object.Kind.Kind == "Event" || c.Object.Kind.Kind == "Application" {
			return
		}
		content = applied(c.Object)
		if content == nil {
			return
		}
		unit = unitOf(c.Object, actor)
	case strings.HasPrefix(actor, "human-") && c.Operation == policies.Create:
		content = without(c.Object.Map())
	default:
		return
	}
	w.add(policies.KeyOf(c.Object, c.Namespace), r, content, unit)
}

func (w *world) add(key policies.Key, r *recording, content map[string]any, unit policies.Unit) {
	origin := policies.Origin{File: "apps/" + key.Name + ".yaml", Line: 1}
	object := policies.NewObject(content, origin, nil, func(o *policies.Object) (map[string]any, error) {
		return w.rules.Stored(w.crds, o)
	})
	w.forms[key] = append(w.forms[key], &declared{from: r.MS, form: &policies.Form{
		Object: object, Source: "fleet", Unit: unit,
		Since: policies.Commit{Hash: strings.Repeat("a", 40), Author: "Ann <ann@example.com>"}, Until: policies.Commit{Hash: strings.Repeat("b", 40)},
	}})
}

// applied is the manifest that a reconciler applied: the fields that it owns by server-side apply, or the annotation of
// client-side apply, without the marks that reconcilers add.
func applied(o *policies.Object) map[string]any {
	m := o.Map()
	var content map[string]any
	fields, _ := policies.Lookup(m, policies.Path{"metadata", "managedFields"})
	entries, _ := fields.([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if entry["operation"] == "Apply" && (entry["manager"] == "kustomize-controller" || entry["manager"] == "argocd-controller") {
			owned, _ := entry["fieldsV1"].(map[string]any)
			content, _ = only(m, owned).(map[string]any)
		}
	}
	text, _ := policies.Lookup(m, policies.Path{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"})
	if s, ok := text.(string); ok && content == nil {
		var said map[string]any
		if json.Unmarshal([]byte(s), &said) == nil {
			content = whole(said).(map[string]any)
			delete(content, "status")
		}
	}
	if content == nil {
		content = without(m)
	}
	meta, _ := content["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	content["metadata"] = meta
	content["apiVersion"], content["kind"], meta["name"] = m["apiVersion"], m["kind"], o.Name
	if f, _ := meta["finalizers"].([]any); len(f) == 1 && f[0] == "argocd.argoproj.io/hook-finalizer" {
		delete(meta, "finalizers")
	}
	if o.Namespace != "" {
		meta["namespace"] = o.Namespace
	}
	for section, marks := range map[string][]string{
		"labels":      {"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace", "app.kubernetes.io/instance"},
		"annotations": {"argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/last-applied-configuration"},
	} {
		s, _ := meta[section].(map[string]any)
		for _, mark := range marks {
			delete(s, mark)
		}
	}
	return content
}

// without is an object without what the API server assigns.
func without(m map[string]any) map[string]any {
	text, err := json.Marshal(m)
	var out map[string]any
	if err != nil || json.Unmarshal(text, &out) != nil {
		return nil
	}
	out = whole(out).(map[string]any)
	delete(out, "status")
	meta, _ := out["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
		delete(meta, field)
	}
	return out
}

// only is what fieldsV1 says of a value.
func only(v any, owned map[string]any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, below := range owned {
			name, ok := strings.CutPrefix(key, "f:")
			if !ok {
				continue
			}
			value, has := v[name]
			if !has {
				continue
			}
			if sub, _ := below.(map[string]any); len(sub) > 0 {
				value = only(value, sub)
			}
			out[name] = value
		}
		return out
	case []any:
		var out []any
		for _, item := range v {
			for key, below := range owned {
				sub, _ := below.(map[string]any)
				if keys, ok := strings.CutPrefix(key, "k:"); ok && hasKeys(item, keys) {
					out = append(out, only(item, sub))
				}
				if value, ok := strings.CutPrefix(key, "v:"); ok {
					text, _ := json.Marshal(item)
					if string(text) == value {
						out = append(out, item)
					}
				}
			}
		}
		return out
	}
	return v
}

func hasKeys(item any, keys string) bool {
	m, _ := item.(map[string]any)
	var want map[string]any
	if json.Unmarshal([]byte(keys), &want) != nil {
		return false
	}
	for key, value := range whole(want).(map[string]any) {
		if !trace.Equal(m[key], value) {
			return false
		}
	}
	return true
}

func unitOf(o *policies.Object, actor string) policies.Unit {
	get := func(path ...any) string {
		v, _ := policies.Lookup(o.Map(), append(policies.Path{"metadata"}, path...))
		s, _ := v.(string)
		return s
	}
	u := policies.Unit{Prune: true}
	if strings.HasPrefix(actor, "flux") {
		u.Kind, u.Name, u.Namespace = "Kustomization", get("labels", "kustomize.toolkit.fluxcd.io/name"), get("labels", "kustomize.toolkit.fluxcd.io/namespace")
	} else {
		u.Kind, u.Namespace = "Application", "argocd"
		u.Name, _, _ = strings.Cut(get("annotations", "argocd.argoproj.io/tracking-id"), ":")
	}
	if strings.Contains(actor, "impersonating") {
		u.ServiceAccount = "team-a:reconciler"
	}
	return u
}

// Lookup returns what was applied until now, the newest first and current, and what people made at any time.
func (w *world) Lookup(key policies.Key) []*policies.Form {
	var out []*policies.Form
	for _, d := range slices.Backward(w.forms[key]) {
		if d.from > w.now && d.form.Unit.Name != "hand" {
			continue
		}
		f := *d.form
		f.Current = len(out) == 0 && !w.pruned
		out = append(out, &f)
	}
	return out
}

func (w *world) In(gk policies.GroupKind, namespace string) []*policies.Form {
	var out []*policies.Form
	for key := range w.forms {
		if key.GroupKind == gk && key.Namespace == namespace {
			if f := w.Lookup(key); len(f) > 0 {
				out = append(out, f[0])
			}
		}
	}
	return out
}

func (w *world) Unit(kind, namespace, name string) (policies.Unit, bool) {
	for _, forms := range w.forms {
		for _, d := range forms {
			if u := d.form.Unit; u.Kind == kind && u.Namespace == namespace && u.Name == name {
				return u, true
			}
		}
	}
	return policies.Unit{}, false
}

func (w *world) Taking(account string) []policies.Unit {
	var out []policies.Unit
	for _, forms := range w.forms {
		for _, d := range forms {
			if u := d.form.Unit; u.ServiceAccount == account && !slices.Contains(out, u) {
				out = append(out, u)
			}
		}
	}
	return out
}

func (w *world) Opaque() []trace.Opaque              { return nil }
func (w *world) Held() []trace.Held                  { return nil }
func (w *world) Older(_, _, _ string) bool           { return false }
func (w *world) Fresh(context.Context) (bool, error) { return false, nil }
func (w *world) lists(gvk policies.GroupVersionKind) func(policies.Path) trace.List {
	return func(p policies.Path) trace.List {
		switch set, keys := w.rules.List(w.crds, gvk, p); {
		case set:
			return trace.List{Type: trace.ListSet}
		case len(keys) > 0:
			return trace.List{Type: trace.ListMap, Keys: keys}
		}
		return trace.List{}
	}
}

// Get returns the object of a name in its last state until now.
func (w *world) Get(_ context.Context, ref trace.Ref) (*policies.Object, error) {
	var found *state
	for uid, states := range w.live {
		if at, gone := w.gone[uid]; gone && at < w.now {
			continue
		}
		for _, s := range states {
			o := s.object
			if o.Kind.GroupKind() != ref.Kind.GroupKind() || o.Name != ref.Name || o.Namespace != ref.Namespace {
				continue
			}
			if since, ok := policies.Lookup(o.Map(), policies.Path{"metadata", "deletionTimestamp"}); ok && s.at > w.now {
				// A later state says that the object was being deleted already.
				if at, err := time.Parse(time.RFC3339, since.(string)); err == nil && at.UnixMilli() <= w.now {
					return o, nil
				}
			}
			if found == nil || s.at <= w.now && s.at >= found.at || found.at > w.now && s.at < found.at {
				found = s
			}
		}
	}
	if found == nil {
		return nil, nil
	}
	return found.object, nil
}

// List returns the roles that the API server made at its start, of which the recording does not tell: whatever recorded roles aggregate.
func (w *world) List(_ context.Context, kind policies.GroupVersionKind) ([]*policies.Object, error) {
	var out []*policies.Object
	for uid, states := range w.live {
		for _, s := range states {
			selectors, _ := policies.Lookup(s.object.Map(), policies.Path{"aggregationRule", "clusterRoleSelectors"})
			for _, x := range list(selectors) {
				selector, _ := x.(map[string]any)
				out = append(out, policies.NewObject(map[string]any{
					"apiVersion": kind.APIVersion(), "kind": kind.Kind, "rules": s.object.Map()["rules"],
					"metadata": map[string]any{"name": "aggregated-" + uid, "labels": selector["matchLabels"]},
				}, policies.Origin{}, nil, nil))
			}
		}
	}
	return out, nil
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
