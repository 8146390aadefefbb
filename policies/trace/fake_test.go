package trace_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

// world is what Git declares and what is live, for one test.
type world struct {
	forms   []*policies.Form
	units   []policies.Unit
	opaque  []trace.Opaque
	held    []trace.Held
	live    []*policies.Object
	older   bool // every commit is older than what was applied
	ahead   bool // the unit's reconciler names a commit that is not known
	fresh   func() (bool, error)
	fetched int
	lookErr error
	wrote   []string
	order   []string               // commits, the oldest first
	grants  map[string]trace.Grant // by user
}

func (w *world) Lookup(key policies.Key) []*policies.Form {
	var out []*policies.Form
	for _, f := range w.forms {
		declared := policies.KeyOf(f.Object, f.Object.Namespace)
		if prefix := key.Name; declared.Name == "" && strings.HasSuffix(prefix, "*") {
			generate, _ := policies.Lookup(f.Object.Map(), policies.Path{"metadata", "generateName"})
			declared.Name = fmt.Sprint(generate, "*")
		}
		if declared == key {
			out = append(out, f)
		}
	}
	return out
}

func (w *world) In(gk policies.GroupKind, namespace string) []*policies.Form {
	var out []*policies.Form
	for _, f := range w.forms {
		if f.Object.Kind.GroupKind() == gk && f.Object.Namespace == namespace && f.Current {
			out = append(out, f)
		}
	}
	return out
}

func (w *world) Unit(kind, namespace, name string) (policies.Unit, bool) {
	for _, u := range w.units {
		if u.Kind == kind && u.Namespace == namespace && u.Name == name {
			return u, true
		}
	}
	return policies.Unit{}, false
}

func (w *world) Taking(account string) []policies.Unit {
	var out []policies.Unit
	for _, u := range w.units {
		if u.ServiceAccount == account {
			out = append(out, u)
		}
	}
	return out
}

func (w *world) Opaque() []trace.Opaque { return w.opaque }
func (w *world) Held() []trace.Held     { return w.held }
func (w *world) Older(_, commit, than string) bool {
	a, b := slices.Index(w.order, commit), slices.Index(w.order, than)
	return w.older || a >= 0 && a < b
}
func (w *world) Last(string, policies.Unit) (string, bool) {
	return strings.Repeat("9", 40), w.older
}

func (w *world) Ahead(policies.Unit) bool { return w.ahead }

func (w *world) Wrote(_ string, _ policies.Unit, commit string) { w.wrote = append(w.wrote, commit) }

func (w *world) Fresh(context.Context) (bool, error) {
	w.fetched++
	if w.fresh == nil {
		return false, nil
	}
	return w.fresh()
}

func (w *world) Get(_ context.Context, ref trace.Ref) (*policies.Object, error) {
	if w.lookErr != nil {
		return nil, w.lookErr
	}
	for _, o := range w.live {
		if o.Kind.GroupKind() == ref.Kind.GroupKind() && o.Name == ref.Name && (o.Namespace == "" || o.Namespace == ref.Namespace) {
			return o, nil
		}
	}
	return nil, nil
}

func (w *world) List(_ context.Context, kind policies.GroupVersionKind) ([]*policies.Object, error) {
	var out []*policies.Object
	for _, o := range w.live {
		if o.Kind == kind {
			out = append(out, o)
		}
	}
	return out, w.lookErr
}

func (w *world) Covering(c *policies.Change) (trace.Grant, bool) {
	g, ok := w.grants[c.Actor.User]
	return g, ok
}

func (w *world) Over(policies.Key) (trace.Grant, bool) { return trace.Grant{}, false }

// object reads one manifest; nil for "".
func object(t testing.TB, text string) *policies.Object {
	t.Helper()
	if text == "" {
		return nil
	}
	objects, problems := manifest.Decode("apps/web.yaml", []byte(text), manifest.DefaultLimits())
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatalf("%s\n%v", text, problems)
	}
	return objects[0]
}

// declares adds what Git declares: manifests of one unit, current.
func (w *world) declares(t testing.TB, unit policies.Unit, manifests ...string) {
	t.Helper()
	for _, m := range manifests {
		w.forms = append(w.forms, &policies.Form{
			Object: object(t, m), Source: "fleet", Unit: unit, Current: true,
			Since: policies.Commit{Hash: "abc1230000" + strings.Repeat("0", 30), Author: "Ann <ann@example.com>", Signer: "ann"},
			Until: policies.Commit{Hash: strings.Repeat("f", 40)},
		})
	}
	if _, ok := w.Unit(unit.Kind, unit.Namespace, unit.Name); !ok {
		w.units = append(w.units, unit)
	}
}

func (w *world) runs(t testing.TB, manifests ...string) {
	t.Helper()
	for _, m := range manifests {
		w.live = append(w.live, object(t, m))
	}
}

// request is a change in short: what is nil or empty is left to its kind.
type request struct {
	user   string
	groups []string
	op     policies.Operation // "" for CREATE without old, UPDATE with both, DELETE without object
	res    string             // as kubectl names it: deployments.apps/scale
	object string
	old    string
	ns     string // of the request; "" for the object's
}

var plurals = map[string]string{
	"Deployment": "deployments", "Pod": "pods", "ReplicaSet": "replicasets", "ConfigMap": "configmaps", "Secret": "secrets", "Namespace": "namespaces",
	"Node": "nodes", "ClusterRoleBinding": "clusterrolebindings", "ClusterRole": "clusterroles", "Job": "jobs", "CronJob": "cronjobs", "Service": "services", "Application": "applications",
	"Kustomization": "kustomizations", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Widget": "widgets", "ServiceAccount": "serviceaccounts",
	"PersistentVolumeClaim": "persistentvolumeclaims", "Event": "events", "Lease": "leases", "ControllerRevision": "controllerrevisions", "Ingress": "ingresses",
}

func (q request) change(t testing.TB) *policies.Change {
	t.Helper()
	c := &policies.Change{
		Operation: q.op, Object: object(t, q.object), Old: object(t, q.old),
		Actor: &policies.Actor{User: q.user, Groups: q.groups}, Knows: policies.KnowsOld | policies.KnowsActor,
	}
	if c.Operation == "" {
		switch {
		case c.Object == nil:
			c.Operation = policies.Delete
		case c.Old == nil:
			c.Operation = policies.Create
		default:
			c.Operation = policies.Update
		}
	}
	gvk := c.Subject().Kind
	c.Resource = policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: plurals[gvk.Kind]}
	if q.res != "" {
		name, sub, _ := strings.Cut(q.res, "/")
		c.Resource.Resource, c.Resource.Group, _ = strings.Cut(name, ".")
		c.Resource.Subresource = sub
	}
	c.Namespace = q.ns
	if c.Namespace == "" {
		c.Namespace = c.Subject().Namespace
	}
	c.Namespaced = c.Namespace != ""
	return c
}

// newPolicy makes the policy of a world with Flux and Argo CD.
func newPolicy(t testing.TB, w *world, more func(*trace.Options)) *policies.Policy {
	t.Helper()
	o := trace.Options{
		Index: w, Owners: w, Applied: w, Grants: w,
		Lists:       func(policies.GroupVersionKind) func(policies.Path) trace.List { return lists },
		Reconcilers: []trace.Reconciler{{Sort: trace.Flux, Namespace: "flux-system"}, {Sort: trace.ArgoCD, Namespace: "argocd"}},
	}
	if more != nil {
		more(&o)
	}
	p, err := trace.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// answer is a finding in one text: its class, or what it says.
func answer(f policies.Finding, err error) string {
	if err != nil {
		return "could not judge: " + err.Error()
	}
	if f.Skipped != "" {
		return f.Skipped
	}
	var lines []string
	for _, v := range f.Violations {
		lines = append(lines, "["+v.Rule+"] "+v.Message)
	}
	if len(lines) > 0 {
		return strings.Join(lines, "\n")
	}
	for _, e := range f.Evidence {
		if e.Kind == "class" {
			return e.Value
		}
	}
	return "no class"
}

var errDown = errors.New("connection refused")

// staleOwners is a cache that has seen nothing yet, or an object as it was.
type staleOwners struct {
	*world
	old   *policies.Object
	asked int
}

func (s *staleOwners) Get(ctx context.Context, ref trace.Ref) (*policies.Object, error) {
	if !ref.Fresh {
		return s.old, nil
	}
	s.asked++
	return s.world.Get(ctx, ref)
}
