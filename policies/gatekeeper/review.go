package gatekeeper

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

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
			seen, err := reviewed(field.object)
			if err != nil {
				return nil, err
			}
			if t, err = placed(seen, c.Namespace); err != nil {
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
	holder := ast.InternedEmptyObject
	if c.Holder != nil && c.Namespaced {
		var err error
		if holder, err = opa.Value(c.Holder); err != nil {
			return nil, err
		}
	}
	set("namespaceObject", holder)
	return ast.NewTerm(review), nil
}

type reviewedKey struct{}

// reviewed is o with its numbers as a template sees them: Gatekeeper decodes a request's whole numbers as floating-point ones, so that
// 1000000 is told as 1e+06 (frameworks/constraint pkg/client/drivers/rego, toInterfaceMap). Mostly there are none to change.
func reviewed(o *policies.Object) (*policies.Object, error) {
	v, err := o.Derive(reviewedKey{}, func() (any, error) {
		content := o.Settled()
		if !hasLarge(content) {
			return o, nil
		}
		m, _ := floating(content).(map[string]any)
		return policies.NewObject(m, o.Origin, nil, nil), nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*policies.Object), nil
}

// largest is the first whole number that is written with an exponent.
const largest = 1_000_000

func hasLarge(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if hasLarge(item) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasLarge)
	case int64:
		return v >= largest || v <= -largest
	case float64:
		return v >= largest || v <= -largest
	}
	return false
}

func floating(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = floating(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = floating(item)
		}
		return out
	case int64:
		if hasLarge(v) {
			return floating(float64(v))
		}
	case float64:
		if hasLarge(v) {
			return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	return v
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
