package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// edit is one field that a request changes.
type edit struct {
	path  policies.Path // in the new object, or in the old one for what goes
	steps []string      // the same, with the items of lists named by their keys, and of sets by their value
	was   any           // nil: it was not there
	now   any           // nil: it goes
}

func (e edit) String() string { return e.path.String() }

// maxEdits bounds what is made of one request. What is beyond it is one edit that no pattern covers.
const maxEdits = 1000

// edits returns what changes between two objects, field by field, without what the API server assigns. An object that is nil
// has no fields.
func edits(old, updated map[string]any, lists func(policies.Path) List) []edit {
	d := differ{lists: lists}
	// First what has to be seen also where there are more edits than are kept.
	d.descend("metadata", "metadata", func() { d.metadata(asMap(old["metadata"]), asMap(updated["metadata"])) })
	for _, key := range topLevel(old, updated) {
		if key != "apiVersion" && key != "kind" && key != "metadata" {
			d.descend(key, key, func() { d.value(old[key], updated[key]) })
		}
	}
	return d.found
}

type differ struct {
	lists func(policies.Path) List
	path  policies.Path
	steps []string
	found []edit
}

func (d *differ) descend(step any, name string, visit func()) {
	d.path, d.steps = append(d.path, step), append(d.steps, name)
	visit()
	d.path, d.steps = d.path[:len(d.path)-1], d.steps[:len(d.steps)-1]
}

func (d *differ) metadata(old, updated map[string]any) {
	keys := topLevel(old, updated)
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(metadataOrder(a), metadataOrder(b)) })
	for _, key := range keys {
		if assigned[key] {
			continue
		}
		o, n := old[key], updated[key]
		if empty(o) && empty(n) {
			continue
		}
		d.descend(key, key, func() {
			switch key {
			case "labels", "annotations":
				d.fields(asMap(o), asMap(n))
			case "finalizers":
				d.set(asList(o), asList(n))
			case "ownerReferences":
				// The API server takes owners of one uid: they cannot be told apart, and are one field.
				if !d.items(asList(o), asList(n), []string{"uid"}) && !Equal(o, n) {
					d.add(o, n)
				}
			default:
				d.value(o, n)
			}
		})
	}
}

// metadataOrder puts first what a reconciler must not take away: see taken.
func metadataOrder(key string) int {
	if key == "finalizers" || key == "ownerReferences" {
		return 0
	}
	return 1
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

func (d *differ) value(o, n any) {
	if o == nil && n == nil || o != nil && n != nil && Equal(o, n) {
		return
	}
	om, oIs := o.(map[string]any)
	nm, nIs := n.(map[string]any)
	if (oIs || o == nil) && (nIs || n == nil) && len(om)+len(nm) > 0 {
		d.fields(om, nm)
		return
	}
	ol, oIs := o.([]any)
	nl, nIs := n.([]any)
	if (oIs || o == nil) && (nIs || n == nil) && (oIs || nIs) {
		switch list := d.list(); {
		case list.Type == ListMap && d.items(ol, nl, list.Keys):
			return
		case list.Type == ListSet && scalars(ol) && scalars(nl):
			d.set(ol, nl)
			return
		}
	}
	d.add(o, n)
}

func (d *differ) list() List {
	if d.lists == nil {
		return List{}
	}
	return d.lists(d.path)
}

func (d *differ) fields(o, n map[string]any) {
	for _, key := range topLevel(o, n) {
		d.descend(key, key, func() { d.value(o[key], n[key]) })
	}
}

// items compares lists whose items have keys. It says no, and finds nothing, when they cannot be told apart.
func (d *differ) items(o, n []any, keys []string) bool {
	oi, okOld := index(o, keys)
	ni, okNew := index(n, keys)
	if !okOld || !okNew {
		return false
	}
	for i, item := range n {
		var before any
		if at, ok := oi[keyOf(item, keys)]; ok {
			before = o[at]
		}
		d.descend(i, nameOf(item, keys), func() { d.value(before, item) })
	}
	for i, item := range o {
		if _, ok := ni[keyOf(item, keys)]; !ok {
			d.descend(i, nameOf(item, keys), func() { d.value(item, nil) })
		}
	}
	return true
}

func nameOf(item any, keys []string) string {
	m := asMap(item)
	var parts []string
	for _, key := range keys {
		parts = append(parts, fmt.Sprint(m[key]))
	}
	return strings.Join(parts, ",")
}

func (d *differ) set(o, n []any) {
	for i, item := range n {
		if !contains(o, item) {
			d.descend(i, fmt.Sprint(item), func() { d.add(nil, item) })
		}
	}
	for i, item := range o {
		if !contains(n, item) {
			d.descend(i, fmt.Sprint(item), func() { d.add(item, nil) })
		}
	}
}

func (d *differ) add(o, n any) {
	switch {
	case len(d.found) < maxEdits:
		d.found = append(d.found, edit{path: slices.Clone(d.path), steps: slices.Clone(d.steps), was: o, now: n})
	case len(d.found) == maxEdits:
		d.found = append(d.found, edit{})
	}
}

// fieldPattern names a field and all that is below it.
type fieldPattern []string

// parseField reads a path as the configuration has it: spec.replicas, metadata.annotations[example.com/*], spec.containers[web].image.
func parseField(s string) (fieldPattern, error) {
	var out fieldPattern
	for _, step := range policies.ParsePath(s) {
		text := fmt.Sprint(step)
		if text == "" {
			return nil, fmt.Errorf("field %q: has an empty step", s)
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("field %q: expected a path such as spec.replicas", s)
	}
	return out, nil
}

func mustFields(patterns ...string) []fieldPattern {
	var out []fieldPattern
	for _, p := range patterns {
		f, err := parseField(p)
		if err != nil {
			panic(err)
		}
		out = append(out, f)
	}
	return out
}

// covers says whether the field that an edit is about, or something above it, is named.
func (f fieldPattern) covers(steps []string) bool {
	if len(steps) < len(f) {
		return false
	}
	for i, pattern := range f {
		if !matches(pattern, steps[i], 0) {
			return false
		}
	}
	return true
}

func covered(patterns []fieldPattern, e edit) bool {
	return slices.ContainsFunc(patterns, func(f fieldPattern) bool { return f.covers(e.steps) })
}

// matches says whether a pattern matches the whole of s. The only special character is *, for any text without the separator; 0
// is none.
func matches(pattern, s string, separator byte) bool {
	before, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, before)
	if !ok {
		return false
	}
	if rest == "" {
		return separator == 0 || strings.IndexByte(s, separator) < 0
	}
	// Try each place where the rest may begin. Patterns are configuration, and names are short.
	for i := 0; ; i++ {
		if matches(rest, s[i:], separator) {
			return true
		}
		if i == len(s) || separator != 0 && s[i] == separator {
			return false
		}
	}
}

func matchesAny(patterns []string, s string, separator byte) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, s, separator) })
}
