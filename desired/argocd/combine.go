package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"gitgate.dev/gitgate/policies"
)

func (g *generating) children(body map[string]any, field policies.Path) ([]map[string]any, error) {
	list, _ := body["generators"].([]any)
	var out []map[string]any
	for i, x := range list {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, g.set.at(field.Append("generators", i), errors.New("generator: expected a map"))
		}
		out = append(out, m)
	}
	return out, nil
}

// matrix is every combination of two generators; what the first says wins.
func (g *generating) matrix(body map[string]any, field policies.Path, outer params, depth int) ([]params, error) {
	children, err := g.children(body, field)
	if err != nil {
		return nil, err
	}
	if len(children) != 2 {
		return nil, g.set.at(field.Append("generators"), fmt.Errorf("matrix has %d generators: expected 2", len(children)))
	}
	first, err := g.generate(children[0], field.Append("generators", 0), outer, depth+1)
	if err != nil {
		return nil, err
	}
	var out []params
	for _, a := range first {
		second, err := g.generate(children[1], field.Append("generators", 1), a, depth+1)
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			if g.set.Spec.GoTemplate {
				out = append(out, over(b, a))
				continue
			}
			both := maps.Clone(b)
			for key, value := range a {
				if other, there := both[key]; there && other != value {
					return nil, g.set.at(field, fmt.Errorf("parameter %s is %v in one generator and %v in the other", key, value, other))
				}
				both[key] = value
			}
			out = append(out, both)
		}
		if err := g.bound(len(out), field); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// over merges maps deeply: top wins.
func over(under, top map[string]any) map[string]any {
	out := maps.Clone(under)
	for key, value := range top {
		a, isMap := out[key].(map[string]any)
		b, both := value.(map[string]any)
		if isMap && both {
			out[key] = over(a, b)
		} else {
			out[key] = value
		}
	}
	return out
}

// merge is the first generator, changed by what the others say of the same keys.
func (g *generating) merge(body map[string]any, field policies.Path, outer params, depth int) ([]params, error) {
	children, err := g.children(body, field)
	if err != nil {
		return nil, err
	}
	written, _ := body["mergeKeys"].([]any)
	var keys []string
	for _, k := range written {
		if s, ok := k.(string); ok {
			keys = append(keys, s)
		}
	}
	if len(children) < 2 || len(keys) == 0 {
		return nil, g.set.at(field, errors.New("merge: expected two generators or more, and mergeKeys"))
	}
	var out []params
	index := map[string]int{}
	for i, child := range children {
		at := field.Append("generators", i)
		made, err := g.generate(child, at, outer, depth+1)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, p := range made {
			id, complete := identityOf(p, keys)
			if !complete && i > 0 {
				continue
			}
			if seen[id] {
				return nil, g.set.at(at, fmt.Errorf("parameters of the merge keys %s are not unique", strings.Join(keys, ", ")))
			}
			seen[id] = true
			if i == 0 {
				index[id] = len(out)
				out = append(out, p)
			} else if at, there := index[id]; there {
				out[at] = over(out[at], p)
			}
		}
	}
	return out, nil
}

func identityOf(p params, keys []string) (id string, complete bool) {
	flat, complete := flatten(p, ""), true
	var parts []string
	for _, key := range keys {
		value, ok := flat[key]
		complete = complete && ok
		parts = append(parts, fmt.Sprintf("%v", value))
	}
	text, _ := json.Marshal(parts)
	return string(text), complete
}

// flatten names nested values by their paths: a.b, a.0. Values become texts.
func flatten(v any, at string) map[string]any {
	out := map[string]any{}
	into := func(key string, x any) {
		if at != "" {
			key = at + "." + key
		}
		maps.Copy(out, flatten(x, key))
	}
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			into(key, x)
		}
	case []any:
		for i, x := range v {
			into(fmt.Sprint(i), x)
		}
	default:
		out[at] = fmt.Sprintf("%v", v)
	}
	return out
}
