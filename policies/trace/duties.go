package trace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// duty is something that a controller does as part of its work.
type duty struct {
	resources  []string // as kubectl names them: pods, deployments.apps, pods/status, *.source.toolkit.fluxcd.io/status, */scale, *
	operations []policies.Operation
	does       string // in words, for documents and messages
	rule       rule
}

// rule says what of a change the duty does not cover: nothing when it admits the change. Its error means that this could not be
// found out.
type rule func(ctx context.Context, r *review) ([]policies.Violation, error)

// on makes a duty. The operations are the letters of CRUD that write: c, u, d.
func on(resources, operations, does string, rule rule) duty {
	d := duty{resources: strings.Fields(resources), does: does, rule: rule}
	for _, op := range operations {
		d.operations = append(d.operations, map[rune]policies.Operation{'c': policies.Create, 'u': policies.Update, 'd': policies.Delete}[op])
	}
	return d
}

func (d *duty) covers(c *policies.Change) bool {
	if !slices.Contains(d.operations, c.Operation) {
		return false
	}
	return slices.ContainsFunc(d.resources, func(name string) bool { return isResource(name, c.Resource) })
}

// isResource says whether a resource is the one that kubectl names so. A * stands for every resource of the group, or of all groups.
func isResource(name string, res policies.Resource) bool {
	name, sub, _ := strings.Cut(name, "/")
	if sub != res.Subresource {
		return false
	}
	if name == "*" {
		return true
	}
	resource, group, _ := strings.Cut(name, ".")
	return group == res.Group && (resource == "*" || resource == res.Resource)
}

// derived says what of the change is not what the actor does as a controller. Nil and no error mean that it is: the change is
// derived. For somebody who is no controller there is an empty answer. A controller acts within milliseconds of a change of the
// owner, so what an owner was when the cache saw it is no reason to refuse: then all are looked up anew.
func (r *review) derived(ctx context.Context) ([]policies.Violation, error) {
	refused, err := r.underDuties(ctx)
	if len(refused) > 0 && r.cached {
		r.fresh = true
		return r.underDuties(ctx)
	}
	return refused, err
}

func (r *review) underDuties(ctx context.Context) ([]policies.Violation, error) {
	duties := r.j.duties[r.c.Actor.User]
	switch {
	case r.node != "":
		duties = r.j.kubelet
	case len(duties) == 0 && r.key.GroupKind == secretKind && r.takesReleases():
		duties = recordsReleases()
	}
	refused := []policies.Violation{}
	var failed error
	for i := range duties {
		d := &duties[i]
		if !d.covers(r.c) {
			continue
		}
		found, err := d.rule(ctx, r)
		switch {
		case err != nil:
			failed = err
		case len(found) == 0:
			return nil, nil
		default:
			for k := range found {
				found[k].Rule = RuleDerived
				if found[k].Fix == "" {
					found[k].Fix = "let Git declare the change; if a mutating webhook makes it, name its fields for " + r.c.Actor.User + " under writers in gitgate.yaml"
				}
			}
			refused = append(refused, found...)
		}
	}
	if failed == nil && len(refused) == 0 && len(duties) > 0 && !r.applies() {
		refused = append(refused, policies.Violation{
			Rule:    RuleDerived,
			Message: fmt.Sprintf("%s may not %s: that is not the work of this controller", r.c.Actor.User, r.act()),
			Fix:     "find out who holds its credentials; if the change is meant, declare it in Git or add the identity to writers in gitgate.yaml",
		})
	}
	return refused, failed
}

func because(format string, args ...any) []policies.Violation {
	return []policies.Violation{{Message: fmt.Sprintf(format, args...)}}
}

// always admits: the resource holds nothing but what the controller computes.
func always(context.Context, *review) ([]policies.Violation, error) { return nil, nil }

// both asks two rules.
func both(a, b rule) rule {
	return func(ctx context.Context, r *review) ([]policies.Violation, error) {
		found, err := a(ctx, r)
		if err != nil || len(found) > 0 {
			return found, err
		}
		return b(ctx, r)
	}
}

// computed admits what Git does not declare: an object that the controller makes up as a whole.
func computed(_ context.Context, r *review) ([]policies.Violation, error) {
	for _, f := range r.forms() {
		if f.Current && !r.j.foreign(f.Unit, r.key.Namespace) {
			return because("%s is declared at %s: %s does not change it", r.name(), place(f, nil), r.c.Actor.User), nil
		}
	}
	return nil, nil
}

// fields admits an update that changes nothing but the given fields.
func fields(patterns ...string) rule {
	allowed := mustFields(patterns...)
	return func(_ context.Context, r *review) ([]policies.Violation, error) {
		return r.outside(func(e edit) bool { return covered(allowed, e) }), nil
	}
}

// normalized is fields for a controller that writes objects back without the empty lists and maps that it read.
func normalized(patterns ...string) rule {
	allowed := mustFields(patterns...)
	return func(_ context.Context, r *review) ([]policies.Violation, error) {
		return r.outside(func(e edit) bool { return covered(allowed, e) || e.now == nil && empty(e.was) }), nil
	}
}

// outside tells the edits that are not allowed.
func (r *review) outside(allowed func(edit) bool) []policies.Violation {
	var out []policies.Violation
	for _, e := range r.edits() {
		if len(e.steps) == 0 {
			out = append(out, policies.Violation{Message: fmt.Sprintf("%s is changed in more than %d fields, which is not the work of %s", r.name(), maxEdits, r.c.Actor.User)})
			continue
		}
		if allowed(e) || r.injected(e) {
			continue
		}
		out = append(out, policies.Violation{
			Path:    e.path,
			Message: fmt.Sprintf("%s: is changed, which is not the work of %s", label(e), r.c.Actor.User),
		})
	}
	return out
}

// status admits an update of the status, and of the given fields.
func status(patterns ...string) rule { return fields(append([]string{"status"}, patterns...)...) }

// finalizers admits an update that adds or removes nothing but the given finalizers.
func finalizers(names ...string) rule {
	return func(_ context.Context, r *review) ([]policies.Violation, error) {
		return r.outside(func(e edit) bool {
			return len(e.steps) == 3 && e.steps[1] == "finalizers" && slices.Contains(names, e.steps[2])
		}), nil
	}
}

// called admits objects of a name, in a namespace unless that is "".
func called(namespace string, names ...string) rule {
	return func(_ context.Context, r *review) ([]policies.Violation, error) {
		if namespace != "" && r.key.Namespace != namespace || !matchesAny(names, r.key.Name, 0) {
			return because("%s is none of those that %s writes", r.name(), r.c.Actor.User), nil
		}
		return nil, nil
	}
}

// childOf admits a deletion of what an object of one of the kinds controls.
func childOf(kinds ...string) rule {
	return func(_ context.Context, r *review) ([]policies.Violation, error) {
		x, ok := controllerOf(r.c.Old)
		if !ok || !matchesKind(kinds, x.kind.GroupKind()) {
			return because("%s is not controlled by a %s", r.name(), strings.Join(kinds, " or ")), nil
		}
		return nil, nil
	}
}

// adoption admits an update that takes an object under a live owner of one of the kinds, or lets it go, and changes the given
// fields besides.
func adoption(kind string, patterns ...string) rule {
	allowed := mustFields(append([]string{"metadata.ownerReferences"}, patterns...)...)
	return func(ctx context.Context, r *review) ([]policies.Violation, error) {
		if found := r.outside(func(e edit) bool { return covered(allowed, e) }); len(found) > 0 {
			return found, nil
		}
		before := ownersOf(r.c.Old)
		for _, x := range ownersOf(r.c.Object) {
			if slices.ContainsFunc(before, func(y owner) bool { return y.uid == x.uid && y.kind == x.kind && y.name == x.name }) {
				continue
			}
			o, err := r.ownerObject(ctx, x, r.key.Namespace)
			if err != nil {
				return nil, err
			}
			if o == nil || !matchesKind([]string{kind}, x.kind.GroupKind()) {
				return because("%s gets the owner %s (%s), and there is no such %s", r.name(), x, x.uid, kind), nil
			}
		}
		return nil, nil
	}
}

// goingNamespace admits what is in a namespace that is being deleted.
func goingNamespace(ctx context.Context, r *review) ([]policies.Violation, error) {
	going, err := r.terminating(ctx)
	if err != nil || going {
		return nil, err
	}
	return because("namespace %s is not being deleted", r.key.Namespace), nil
}

// finalized admits that a namespace that is being deleted loses its finalizers.
func finalized(_ context.Context, r *review) ([]policies.Violation, error) {
	if text(r.c.Old, "metadata", "deletionTimestamp") == "" {
		return because("%s is not being deleted", r.name()), nil
	}
	return r.outside(func(e edit) bool {
		return e.steps[0] == "status" || len(e.steps) > 1 && e.steps[0] == "spec" && e.steps[1] == "finalizers"
	}), nil
}

// collected admits the deletion of an object whose owners are all gone or being deleted.
func collected(ctx context.Context, r *review) ([]policies.Violation, error) {
	owners := ownersOf(r.c.Old)
	if len(owners) == 0 {
		return because("%s has no owner: there is nothing for the garbage collector", r.name()), nil
	}
	for _, x := range owners {
		state, err := r.ownerState(ctx, x)
		if err != nil {
			return nil, err
		}
		if state == ownerStays {
			return because("%s is owned by %s, which is there and is not being deleted", r.name(), x), nil
		}
	}
	return nil, nil
}

// released admits that the garbage collector takes owners that are going from an object, and its own finalizers from one that is
// being deleted.
func released(ctx context.Context, r *review) ([]policies.Violation, error) {
	going := text(r.c.Old, "metadata", "deletionTimestamp") != ""
	owners := map[string]owner{}
	for _, x := range ownersOf(r.c.Old) {
		owners[x.uid] = x
	}
	var failed error
	found := r.outside(func(e edit) bool {
		if len(e.steps) < 3 || e.steps[0] != "metadata" {
			return false
		}
		switch e.steps[1] {
		case "finalizers":
			return going && e.now == nil && (e.steps[2] == "orphan" || e.steps[2] == "foregroundDeletion")
		case "ownerReferences":
			x, known := owners[e.steps[2]]
			if len(e.steps) == 4 && e.steps[3] == "blockOwnerDeletion" && known {
				return true
			}
			if e.now != nil || !known {
				return false
			}
			state, err := r.ownerState(ctx, x)
			if err != nil {
				failed = err
			}
			return err == nil && state != ownerStays
		}
		return false
	})
	return found, failed
}
