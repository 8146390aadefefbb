package conformance

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
)

// otherCases makes the cases of the folders bad, custom and update, and the updates of the good fixtures.
func otherCases(good []fixture) ([]Case, error) {
	var cases []Case
	bad, err := fixtures("bad")
	if err != nil {
		return nil, err
	}
	for _, f := range bad {
		cases = append(cases, Case{Base: f.base(), Object: f.object})
	}
	custom, err := customCases()
	if err != nil {
		return nil, err
	}
	cases = append(cases, custom...)
	cases = append(cases, updates(good, nil)...)
	pairs, err := fixtures("update")
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		was, now := pairs[i], pairs[i+1]
		name, ok := strings.CutSuffix(was.name, " old")
		if !ok || now.name != name+" new" {
			return nil, fmt.Errorf("update fixture %q: expected it to end in old, and one that ends in new after it; found %q", was.name, now.name)
		}
		cases = append(cases, Case{Base: strings.TrimSuffix(now.base(), now.name) + name, Change: "update", Object: now.object, Old: was.object})
	}
	return cases, nil
}

// customCases are objects of the kinds that the CRDs of the folder custom define.
func customCases() ([]Case, error) {
	all, err := fixtures("custom")
	if err != nil {
		return nil, err
	}
	var crds []map[string]any
	var good []fixture
	var cases []Case
	k := map[string]*kindCases{}
	for _, f := range all {
		kind, _ := f.object["kind"].(string)
		if kind == "CustomResourceDefinition" {
			crds = append(crds, f.object)
			continue
		}
		if strings.HasPrefix(f.name, "bad") {
			cases = append(cases, Case{Base: f.base(), Object: f.object})
			continue
		}
		if k[kind] == nil {
			k[kind] = &kindCases{done: map[string]bool{}, present: map[string]bool{}}
		}
		cases = append(cases, k[kind].cases(f)...)
		good = append(good, f)
	}
	cases = append(cases, updates(good, crds)...)
	for i := range cases {
		cases[i].CRDs = crds
	}
	return cases, nil
}

// updates replaces each fixture by itself with one field changed or dropped, once for each typed field, and by the other
// fixtures of its kind.
func updates(good []fixture, crds []map[string]any) []Case {
	var cases []Case
	done := map[string]bool{}
	seen := map[string][]any{} // values of a typed field among all fixtures
	for _, f := range good {
		walk(f.object, f.goType(), func(n node) {
			key := f.kindID() + " " + typedField(n.parent, n.at[:max(0, len(n.at)-1)], n.key())
			seen[key] = append(seen[key], n.value)
		})
	}
	for _, f := range good {
		name, _ := policies.Lookup(f.object, policies.Path{"metadata", "name"})
		if name == nil {
			continue
		}
		add := func(what string, object map[string]any) {
			cases = append(cases, Case{Base: f.base(), Change: "update " + what, Object: object, Old: f.object, CRDs: crds})
		}
		walk(f.object, f.goType(), func(n node) {
			if len(n.at) < 2 && n.key() != "data" || n.at[0] == "metadata" {
				return
			}
			key := f.kindID() + " " + typedField(n.parent, n.at[:len(n.at)-1], n.key())
			if _, inList := n.last().(int); inList || done[key] {
				return
			}
			done[key] = true
			dropped := clone(f.object).(map[string]any)
			// What would leave an empty object behind is left out: server-side apply takes that object away too.
			parent, _ := policies.Lookup(f.object, n.at[:len(n.at)-1])
			if siblings, ok := parent.(map[string]any); !ok || len(siblings) < 2 {
			} else if err := apply(dropped, n.at, change{drop: true}); err == nil {
				add("drop "+n.at.String(), dropped)
			}
			if shapeOf(n.typ) == free && n.key() == "caBundle" {
				return // is base64, and no Go type says so here
			}
			other, ok := another(n.value, seen[key], n.typ)
			if !ok {
				return
			}
			changed := clone(f.object).(map[string]any)
			if err := apply(changed, n.at, change{set: true, value: other}); err == nil {
				add("change "+n.at.String(), changed)
			}
		})
		relabelled := clone(f.object).(map[string]any)
		relabelled["metadata"].(map[string]any)["labels"] = map[string]any{"new": "label"}
		add("labels", relabelled)
		for _, g := range good {
			if g.kindID() != f.kindID() || g.name == f.name {
				continue
			}
			swapped := clone(g.object).(map[string]any)
			swapped["metadata"] = clone(f.object["metadata"])
			add("to "+g.name, swapped)
		}
	}
	return cases
}

func (f fixture) kindID() string { return strings.TrimSuffix(f.base(), f.name) }

func (f fixture) goType() reflect.Type {
	apiVersion, _ := f.object["apiVersion"].(string)
	kind, _ := f.object["kind"].(string)
	return goType(apiVersion, kind)
}

// another is a value of the same field that differs: one that another fixture has, else one made of it.
func another(value any, known []any, t reflect.Type) (any, bool) {
	i := slices.IndexFunc(known, func(k any) bool {
		return k != nil && reflect.TypeOf(k) == reflect.TypeOf(value) && !reflect.DeepEqual(k, value)
	})
	if i >= 0 {
		return known[i], true
	}
	switch shapeOf(t) {
	case quantity:
		return "7", true
	case instant:
		if bare(t) == reflect.TypeFor[metav1.MicroTime]() {
			return "2026-02-03T04:05:06.000000Z", true
		}
		return "2026-02-03T04:05:06Z", true
	case binary:
		return "eHg=", true
	}
	switch v := value.(type) {
	case string:
		return v + "x", true
	case int64:
		return v + 1, true
	case float64:
		return v + 1, true
	case bool:
		return !v, true
	}
	return nil, false
}
