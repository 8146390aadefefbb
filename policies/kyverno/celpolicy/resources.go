package celpolicy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// declared is the objects of a change set by what they are served as.
type declared struct {
	byResource map[groupResource][]*policies.Object
	namespaced map[groupResource]bool
}

type groupResource struct{ group, resource string }

type declaredKey struct{}

// declaredIn sorts the objects of a set, once for the set.
func declaredIn(set *policies.Set, api admission.API) (*declared, error) {
	v, err := set.Derive(declaredKey{}, func() (any, error) {
		d := &declared{map[groupResource][]*policies.Object{}, map[groupResource]bool{}}
		if api == nil {
			return d, nil
		}
		for o := range set.All() {
			if res, namespaced, known := api.Resource(set, o.Kind); known {
				key := groupResource{res.Group, res.Resource}
				d.byResource[key] = append(d.byResource[key], o)
				d.namespaced[key] = namespaced
			}
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*declared), nil
}

// in says whether an object of a resource is in a namespace. One that names none is where kubectl would put it.
func (d *declared) in(key groupResource, o *policies.Object, namespace string) bool {
	switch {
	case !d.namespaced[key]:
		return true
	case o.Namespace == "":
		return namespace == "default"
	default:
		return o.Namespace == namespace
	}
}

// getResource is resource.get: an object of the change set is what the cluster will have; one that is not among them may be in
// the cluster all the same.
func (ev *evaluation) getResource(res policies.Resource, namespace, name string) ref.Val {
	plural, sub, _ := strings.Cut(res.Resource, "/")
	what := fmt.Sprintf("%s %s", res.Resource, name)
	if namespace != "" {
		what += " of namespace " + namespace
	}
	d, err := declaredIn(ev.change.Set, ev.program.policy.options.API)
	if err != nil {
		return types.WrapErr(err)
	}
	key := groupResource{res.Group, plural}
	if sub == "" {
		for _, o := range d.byResource[key] {
			if o.Name == name && d.in(key, o, namespace) {
				return ev.as(o, res.Version)
			}
		}
		if ev.change.Knows.Has(policies.KnowsCluster) {
			return types.NullValue
		}
	}
	return ev.lack(policies.KnowsCluster, what)
}

// listResources is resource.list: only who knows the cluster knows all of them.
func (ev *evaluation) listResources(res policies.Resource, namespace string, labels map[string]string) ref.Val {
	if !ev.change.Knows.Has(policies.KnowsCluster) {
		what := "all " + res.Resource
		if namespace != "" {
			what += " of namespace " + namespace
		}
		return ev.lack(policies.KnowsCluster, what)
	}
	d, err := declaredIn(ev.change.Set, ev.program.policy.options.API)
	if err != nil {
		return types.WrapErr(err)
	}
	key := groupResource{res.Group, res.Resource}
	items := []any{}
	found := slices.Clone(d.byResource[key])
	slices.SortStableFunc(found, func(a, b *policies.Object) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	for _, o := range found {
		if namespace != "" && !d.in(key, o, namespace) || !hasLabels(o, labels) {
			continue
		}
		v := ev.as(o, res.Version)
		if types.IsUnknownOrError(v) {
			return v
		}
		items = append(items, v)
	}
	apiVersion := policies.GroupVersionKind{Group: res.Group, Version: res.Version}.APIVersion()
	return types.DefaultTypeAdapter.NativeToValue(map[string]any{"apiVersion": apiVersion, "kind": "List", "items": items})
}

func hasLabels(o *policies.Object, want map[string]string) bool {
	has := admission.LabelsOf(o)
	for k, v := range want {
		if got, ok := has[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// as is the stored form of an object in a version of its kind.
func (ev *evaluation) as(o *policies.Object, version string) ref.Val {
	content := o.Settled()
	if o.Kind.Version != version {
		to := o.Kind
		to.Version = version
		convert := ev.program.policy.options.Convert
		if convert == nil {
			return types.NewErr("%s cannot be converted to %s", o, to.APIVersion())
		}
		var err error
		if content, err = convert(ev.change.Set, o, to); err != nil {
			return types.WrapErr(fmt.Errorf("%s cannot be converted to %s: %w", o, to.APIVersion(), err))
		}
	}
	return types.DefaultTypeAdapter.NativeToValue(content)
}
