package trace

import (
	"context"
	"fmt"
	"time"

	"gitgate.dev/gitgate/policies"
)

// live looks up a live object. An answer of the cache that does not satisfy is asked for again at the API server: a cache is
// never the reason for a refusal.
func (r *review) live(ctx context.Context, ref Ref, satisfies func(*policies.Object) bool) (*policies.Object, error) {
	ref.Fresh = r.fresh
	o, err := r.j.Owners.Get(ctx, ref)
	switch {
	case err != nil || ref.Fresh:
	case satisfies(o):
		r.cached = true
	default:
		ref.Fresh = true
		o, err = r.j.Owners.Get(ctx, ref)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: could not be looked up: %w", ref.Kind.Kind, ref.Name, err)
	}
	return o, nil
}

// owner is an entry of metadata.ownerReferences.
type owner struct {
	kind       policies.GroupVersionKind
	name, uid  string
	controller bool
}

func (o owner) String() string { return o.kind.Kind + " " + o.name }

func ownersOf(o *policies.Object) []owner {
	if o == nil {
		return nil
	}
	list, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "ownerReferences"})
	var out []owner
	for _, item := range asList(list) {
		out = append(out, readOwner(asMap(item)))
	}
	return out
}

func readOwner(m map[string]any) owner {
	var x owner
	apiVersion, _ := m["apiVersion"].(string)
	x.kind.Group, x.kind.Version = policies.ParseAPIVersion(apiVersion)
	x.kind.Kind, _ = m["kind"].(string)
	x.name, _ = m["name"].(string)
	x.uid, _ = m["uid"].(string)
	x.controller, _ = m["controller"].(bool)
	return x
}

// controllerOf is the owner that controls an object; ok is false when there is none, or more than one.
func controllerOf(o *policies.Object) (found owner, ok bool) {
	for _, x := range ownersOf(o) {
		if !x.controller {
			continue
		}
		if ok {
			return owner{}, false
		}
		found, ok = x, true
	}
	return found, ok
}

// ownerObject looks up an owner: the live object of that name and uid, or nil.
func (r *review) ownerObject(ctx context.Context, x owner, namespace string) (*policies.Object, error) {
	is := func(o *policies.Object) bool { return o != nil && x.uid != "" && text(o, "metadata", "uid") == x.uid }
	o, err := r.live(ctx, r.refTo(x, namespace), is)
	if err != nil || !is(o) {
		return nil, err
	}
	return o, nil
}

// refTo names an owner of an object in a namespace.
func (r *review) refTo(x owner, namespace string) Ref {
	if clusterScoped[x.kind.GroupKind()] {
		namespace = ""
	}
	return Ref{Kind: x.kind, Namespace: namespace, Name: x.name}
}

// clusterScoped are the cluster-scoped kinds that own namespaced objects. Whether a custom owner is, Owners knows: it ignores the
// namespace for a cluster-scoped kind.
var clusterScoped = map[policies.GroupKind]bool{{Kind: "Node"}: true, {Kind: "Namespace"}: true}

type ownerStatus int

const (
	ownerStays ownerStatus = iota + 1
	ownerDeleted
	ownerGone
)

// ownerState says whether an owner of the object is still there.
func (r *review) ownerState(ctx context.Context, x owner) (ownerStatus, error) {
	o, err := r.ownerObject(ctx, x, r.key.Namespace)
	switch {
	case err != nil:
		return 0, err
	case o == nil:
		return ownerGone, nil
	case text(o, "metadata", "deletionTimestamp") != "":
		return ownerDeleted, nil
	}
	// The cache may not have seen a deletion yet.
	o, err = r.live(ctx, Ref{Kind: x.kind, Namespace: r.key.Namespace, Name: x.name}, func(o *policies.Object) bool {
		return o == nil || text(o, "metadata", "uid") != x.uid || text(o, "metadata", "deletionTimestamp") != ""
	})
	switch {
	case err != nil:
		return 0, err
	case o == nil || text(o, "metadata", "uid") != x.uid:
		return ownerGone, nil
	case text(o, "metadata", "deletionTimestamp") != "":
		return ownerDeleted, nil
	}
	return ownerStays, nil
}

// maxOwners bounds a chain of owners.
const maxOwners = 8

// recent is the age up to which an object may be declared by a commit that was not fetched here yet: another replica let it in.
const recent = 10 * time.Minute

// traces is comes, asked again after a look at Git when the end of the chain is new.
func (r *review) traces(ctx context.Context, o *policies.Object) (root string, ok bool, err error) {
	end, root, err := r.comes(ctx, o)
	if err != nil || root == "" || end == nil {
		return root, root == "" && err == nil, err
	}
	made, timeErr := time.Parse(time.RFC3339, text(end, "metadata", "creationTimestamp"))
	if timeErr != nil || r.j.now().Sub(made) > recent {
		return root, false, nil
	}
	changed, err := r.freshen(ctx)
	if err != nil {
		return "", false, fmt.Errorf("%s is declared by no accepted commit that is known here, and whether newer ones do could not be asked: %w", root, err)
	}
	if changed {
		_, root, err = r.comes(ctx, o)
	}
	return root, root == "" && err == nil, err
}

// comes says whether an object comes from one that is declared: it, or the end of its chain of controllers, is declared by an
// accepted commit, exempt, of a kind and name that a declared writer makes, or under an open break-glass grant. Otherwise root
// names the end of the chain, and end is the object there, if there is one.
func (r *review) comes(ctx context.Context, o *policies.Object) (end *policies.Object, root string, err error) {
	for range maxOwners {
		gk, key := o.Kind.GroupKind(), policies.KeyOf(o, o.Namespace)
		if len(r.j.Index.Lookup(key)) > 0 || r.j.exempt(gk, o.Namespace, o.Name) != "" || r.j.made(gk, o.Namespace, o.Name) {
			return nil, "", nil
		}
		if r.j.Grants != nil {
			if _, open := r.j.Grants.Over(key); open {
				return nil, "", nil
			}
		}
		x, controlled := controllerOf(o)
		if !controlled {
			return o, o.String(), nil
		}
		above, err := r.ownerObject(ctx, x, o.Namespace)
		if err != nil {
			return nil, "", err
		}
		if above == nil {
			return nil, x.String() + ", which is not there", nil
		}
		o = above
	}
	return nil, fmt.Sprintf("a chain of more than %d owners", maxOwners), nil
}
