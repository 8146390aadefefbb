package desired

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"gitgate.dev/gitgate/policies"
)

// Change is one write that a merge would make its reconciler send.
type Change struct {
	*policies.Change
	Unit   *Unit   // of the object, in the new revision; in the old one for a deletion
	Before *Unit   // of the old object; nil for a creation
	Fields []Field // what differs; nil for a creation and a deletion
	// Kept says that Git no longer declares the object and that nothing deletes it: its unit does not prune. Such a change is
	// told, and is no request: it is not to be judged.
	Kept string
}

// Changes lists what merging would send to the cluster, as it goes from base to head: creations and updates in the order in which
// reconcilers apply kinds (definitions and namespaces first), then deletions in the opposite order. What the API server would
// store in the same way is no change. A unit that cannot be rendered in head, that is suspended, or that is applied to another
// cluster sends nothing.
func Changes(ctx context.Context, base, head *State) ([]*Change, error) {
	d := &difference{base: base, head: head}
	d.pair()
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(d.pairs)) {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(d.pairs) {
					return
				}
				d.pairs[i].change = d.compare(&d.pairs[i])
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var out []*Change
	for i := range d.pairs {
		if c := d.pairs[i].change; c != nil {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, compareOrder)
	return out, nil
}

type difference struct {
	base, head *State
	pairs      []pair
}

// pair is an object before and after; one of them may be missing.
type pair struct {
	key      policies.Key
	old, new owned
	change   *Change
}

// active says whether a unit sends anything to the cluster of the sources.
func (u *Unit) active() bool { return !u.Suspended && u.Elsewhere == "" }

// failed says whether a unit cannot be applied at all, so that its reconciler neither applies nor prunes.
func (u *Unit) failed() bool {
	return slices.ContainsFunc(u.result.problems, func(v policies.Violation) bool { return v.Rule == RuleNotRendered }) ||
		len(u.Opaque) > 0 && u.result.size() == 0
}

// pair finds the objects that may differ: only units that were rendered anew are looked at.
func (d *difference) pair() {
	redefined := d.base.set != d.head.set
	for _, u := range d.head.units {
		old := d.base.byID[u.id()]
		if old != nil && old.result == u.result && old.Unit == u.Unit && old.active() == u.active() && !redefined {
			continue
		}
		if !u.active() {
			continue
		}
		for _, e := range u.result.all() {
			key, _ := d.head.keys(e)
			if owners := d.head.owners(key); len(owners) == 0 || owners[0].entry != e {
				continue // another unit declares it too, which is a problem of its own
			}
			d.pairs = append(d.pairs, pair{key: key, old: d.base.owner(key), new: owned{u, e}})
		}
	}
	for _, old := range d.base.units {
		u := d.head.byID[old.id()]
		if u != nil && (u.result == old.result || !u.active() || u.failed()) || !old.active() {
			continue
		}
		for _, e := range old.result.all() {
			key, _ := d.base.keys(e)
			if owners := d.head.owners(key); len(owners) > 0 || d.base.owner(key).entry != e {
				continue
			}
			d.pairs = append(d.pairs, pair{key: key, old: owned{old, e}})
		}
	}
}

// owner is the unit that declares an object and sends it, and its entry.
func (s *State) owner(key policies.Key) owned {
	for _, o := range s.owners(key) {
		if o.unit.active() {
			return o
		}
	}
	return owned{}
}

func (d *difference) compare(p *pair) *Change {
	if p.new.entry == nil {
		return d.deletion(p)
	}
	if p.new.entry.hook && p.old.entry == nil {
		// A hook is made when its unit is synchronised and is gone afterwards: each time it is a creation.
		return d.creation(p)
	}
	if p.old.entry == nil {
		return d.creation(p)
	}
	if p.old.entry == p.new.entry && d.base.set == d.head.set && p.old.unit.Unit == p.new.unit.Unit {
		return nil
	}
	old, now := d.base.object(p.old.unit, p.old.entry), d.head.object(p.new.unit, p.new.entry)
	fields := DiffFields(old.Settled(), now.Settled())
	if len(fields) == 0 {
		return nil
	}
	c := d.change(policies.Update, p.new, now, d.head)
	c.Old, c.Before, c.Fields = old, p.old.unit, fields
	return c
}

func (d *difference) creation(p *pair) *Change {
	return d.change(policies.Create, p.new, d.head.object(p.new.unit, p.new.entry), d.head)
}

// deletion is what becomes of an object that Git no longer declares.
func (d *difference) deletion(p *pair) *Change {
	c := d.change(policies.Delete, p.old, nil, d.base)
	c.Old, c.Before = d.base.object(p.old.unit, p.old.entry), p.old.unit
	u := d.head.byID[p.old.unit.id()]
	switch {
	case p.old.entry.hook:
		return nil // it is gone already
	case u == nil && p.old.unit.Kind == "":
		c.Kept = "no reconciler applies " + p.old.unit.String()
	case u == nil && !d.prunesWhenGone(p.old.unit):
		c.Kept = p.old.unit.String() + " is gone and does not take with it what it applied"
	case u != nil && !u.Prune:
		c.Kept = u.String() + " does not prune"
	case p.old.entry.keeps != "":
		c.Kept = p.old.entry.keeps
	default:
		c.Kept = protected(c.Old)
	}
	return c
}

// prunesWhenGone says whether the objects of a unit that is itself no more declared are deleted: its own object has to be deleted,
// and its reconciler to clean up after it.
func (d *difference) prunesWhenGone(u *Unit) bool {
	if !u.Cascades {
		return false
	}
	for _, o := range d.base.owners(u.key()) {
		if now := d.head.byID[o.unit.id()]; now != nil && now.Prune || now == nil && o.unit.id() != u.id() && d.prunesWhenGone(o.unit) {
			return true
		}
	}
	return false
}

// key is the key of the object that declares u.
func (u *Unit) key() policies.Key {
	for _, gk := range []policies.GroupKind{kindKustomization, kindHelmRelease, kindApplication, kindApplicationSet} {
		if gk.Kind == u.Kind {
			return policies.Key{GroupKind: gk, Namespace: u.Namespace, Name: u.Name}
		}
	}
	return policies.Key{}
}

// protected says what of an object asks its reconciler not to delete it; "" for nothing.
func protected(o *policies.Object) string {
	for _, m := range []struct{ field, name, value string }{
		{"labels", "kustomize.toolkit.fluxcd.io/prune", "disabled"}, {"annotations", "kustomize.toolkit.fluxcd.io/prune", "disabled"},
		{"labels", "kustomize.toolkit.fluxcd.io/reconcile", "disabled"}, {"annotations", "kustomize.toolkit.fluxcd.io/reconcile", "disabled"},
		{"annotations", "helm.sh/resource-policy", "keep"},
	} {
		if v, _ := textAt(o, "metadata", m.field, m.name); v == m.value {
			return fmt.Sprintf("%s %s: %s of the object forbids it", strings.TrimSuffix(m.field, "s"), m.name, m.value)
		}
	}
	options, _ := textAt(o, "metadata", "annotations", "argocd.argoproj.io/sync-options")
	if slices.Contains(splitOptions(options), "Delete=false") {
		return "sync option Delete=false of the object forbids it"
	}
	return ""
}

func (d *difference) change(op policies.Operation, o owned, object *policies.Object, s *State) *Change {
	key, _ := s.keys(o.entry)
	c := &Change{Unit: o.unit}
	resource, namespaced, known := s.renderer.o.Rules.Resource(s.set, o.entry.kind)
	if !known {
		namespaced = key.Namespace != ""
	}
	c.Change = &policies.Change{
		Operation: op, Resource: resource, Namespaced: namespaced, Object: object, Namespace: key.Namespace,
		Actor: o.unit.actor(), Knows: policies.KnowsOld | policies.KnowsActor,
	}
	if o.unit.Actor == "" { // a person applies the root
		c.Actor, c.Knows = nil, policies.KnowsOld
	}
	if key.GroupKind == (policies.GroupKind{Kind: "Namespace"}) {
		c.Namespace = key.Name
	} else if namespaced {
		if holder := d.head.owner(policies.Key{GroupKind: policies.GroupKind{Kind: "Namespace"}, Name: key.Namespace}); holder.entry != nil {
			c.Holder = d.head.object(holder.unit, holder.entry)
			c.Knows |= policies.KnowsNamespace
		}
	}
	return c
}

// actor is the identity that writes the objects of u, with the groups that the API server gives a service account.
func (u *Unit) actor() *policies.Actor {
	return &policies.Actor{User: u.Actor, Groups: groupsOf(u.Actor)}
}

// order is the rank in which reconcilers apply kinds: what others need comes first.
func order(gk policies.GroupKind) int {
	switch {
	case gk == kindDefinition:
		return 0
	case gk == policies.GroupKind{Kind: "Namespace"}:
		return 1
	case gk.Group == "rbac.authorization.k8s.io", gk.Group == "storage.k8s.io", gk.Group == "scheduling.k8s.io", gk.Group == "" && (gk.Kind == "ServiceAccount" || gk.Kind == "ConfigMap" || gk.Kind == "Secret" || gk.Kind == "ResourceQuota" || gk.Kind == "LimitRange"):
		return 2
	case gk.Group == "admissionregistration.k8s.io":
		return 4
	}
	return 3
}

func compareOrder(a, b *Change) int {
	deleteA, deleteB := a.Operation == policies.Delete, b.Operation == policies.Delete
	if deleteA != deleteB {
		if deleteB {
			return -1
		}
		return 1
	}
	x, y := a.Subject(), b.Subject()
	ranks := cmp.Compare(order(x.Kind.GroupKind()), order(y.Kind.GroupKind()))
	if deleteA {
		ranks = -ranks
	}
	return cmp.Or(ranks,
		cmp.Compare(a.Unit.String(), b.Unit.String()), cmp.Compare(x.Origin.File, y.Origin.File), cmp.Compare(x.Origin.Line, y.Origin.Line),
		cmp.Compare(x.Kind.Kind, y.Kind.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(x.Name, y.Name))
}
