package gatekeeper

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

type reviewKey struct{ op policies.Operation }

// reviewOf is input.review: c as the AdmissionRequest that Gatekeeper hands to its templates, as the request op. It is made once for all
// constraints. The object of a DELETE is the old one (gatekeeper pkg/target, setObjectOnDelete). The uid, which differs for each
// request, is empty, as gator has it.
func reviewOf(c *policies.Change, op policies.Operation) (*ast.Term, error) {
	v, err := c.Derive(reviewKey{op}, func() (any, error) { return newReview(c, op) })
	if err != nil {
		return nil, err
	}
	return v.(*ast.Term), nil
}

func newReview(c *policies.Change, op policies.Operation) (*ast.Term, error) {
	subject := c.Subject()
	kind := opa.Texts("group", subject.Kind.Group, "version", subject.Kind.Version, "kind", subject.Kind.Kind)
	resource := opa.Texts("group", c.Resource.Group, "version", c.Resource.Version, "resource", c.Resource.Resource)
	review := ast.NewObjectWithCapacity(16)
	set := func(key string, t *ast.Term) { review.Insert(ast.InternedTerm(key), t) }
	set("uid", ast.InternedTerm(""))
	set("kind", kind)
	set("requestKind", kind)
	set("resource", resource)
	set("requestResource", resource)
	if sub := c.Resource.Subresource; sub != "" {
		set("subResource", ast.StringTerm(sub))
		set("requestSubResource", ast.StringTerm(sub))
	}
	if subject.Name != "" {
		set("name", ast.StringTerm(subject.Name))
	}
	if c.Namespace != "" {
		set("namespace", ast.StringTerm(c.Namespace))
	}
	set("operation", ast.InternedTerm(string(op)))
	set("dryRun", ast.InternedTerm(c.DryRun))
	object := c.Object
	if op == policies.Delete && object == nil {
		object = c.Old
	}
	for _, field := range []struct {
		key    string
		object *policies.Object
	}{{"object", object}, {"oldObject", c.Old}} {
		t := ast.InternedNullTerm
		if field.object != nil {
			var err error
			if t, err = placed(field.object, c.Namespace); err != nil {
				return nil, err
			}
		}
		set(field.key, t)
	}
	actor := ast.NewTerm(ast.NewObject())
	if c.Actor != nil {
		actor = opa.Actor(c.Actor)
	}
	set("userInfo", actor)
	options := ast.InternedNullTerm
	if c.Options != nil {
		var err error
		if options, err = opa.Term(c.Options); err != nil {
			return nil, fmt.Errorf("options of the request: %w", err)
		}
	}
	set("options", options)
	holder := ast.InternedNullTerm
	if c.Holder != nil && c.Namespaced {
		var err error
		if holder, err = opa.Value(c.Holder); err != nil {
			return nil, err
		}
	}
	set("namespaceObject", holder)
	return ast.NewTerm(review), nil
}

type placedKey struct{ namespace string }

// placed is o's value with its namespace, which the API server fills in before admission, and with its name: templates tell objects
// apart by both.
func placed(o *policies.Object, namespace string) (*ast.Term, error) {
	t, err := opa.Named(o)
	if err != nil || namespace == "" || o.Namespace != "" || o.Kind.GroupKind() == (policies.GroupKind{Kind: "Namespace"}) {
		return t, err
	}
	v, err := o.Derive(placedKey{namespace}, func() (any, error) {
		object, ok := t.Value.(ast.Object)
		if !ok {
			return t, nil
		}
		metaTerm := object.Get(ast.InternedTerm("metadata"))
		if metaTerm == nil {
			return t, nil
		}
		meta, ok := metaTerm.Value.(ast.Object)
		if !ok {
			return t, nil
		}
		return ast.NewTerm(opa.With(object, "metadata", ast.NewTerm(opa.With(meta, "namespace", ast.StringTerm(namespace))))), nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*ast.Term), nil
}

type inventoryKey struct{}

// inventoryOf is data.inventory: all objects of the change set, namespace[namespace][apiVersion][kind][name] and
// cluster[apiVersion][kind][name], made once for the set.
func inventoryOf(set *policies.Set) (*ast.Term, error) {
	v, err := set.Derive(inventoryKey{}, func() (any, error) {
		all := opa.Tree{}
		for o := range set.All() {
			name := opa.NameOf(o)
			if name == "" || o.Kind.Kind == "" || o.Kind.Version == "" {
				continue // an object without a name has no place in an inventory by name; schema refuses it
			}
			namespace := opa.NamespaceOf(o)
			t, err := placed(o, namespace)
			if err != nil {
				return nil, err
			}
			if namespace == "" {
				all.Put(t, "cluster", o.Kind.APIVersion(), o.Kind.Kind, name)
			} else {
				all.Put(t, "namespace", namespace, o.Kind.APIVersion(), o.Kind.Kind, name)
			}
		}
		return all.Term(), nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*ast.Term), nil
}

// extra is what c sees under data.
func (t *template) extra(c *policies.Change) map[string]func() (*ast.Term, error) {
	if !t.needs.inventory {
		return nil
	}
	return map[string]func() (*ast.Term, error){
		"inventory": func() (*ast.Term, error) { return inventoryOf(c.Set) },
	}
}
