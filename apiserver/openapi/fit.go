package openapi

import (
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Duplicates says which items of content's lists have one key, or one value in a list that is a set. It is the part of Check that
// no validation of the API server makes for every list, and that server-side apply refuses.
func (v *Version) Duplicates(k *Kind, content map[string]any) []policies.Violation {
	c := checker{version: v, types: v.types(), kind: k}
	c.onlyDuplicates(c.types[k.shape], content)
	return c.found
}

func (c *checker) onlyDuplicates(s *shape, content map[string]any) {
	for _, m := range s.deep() {
		if value := content[m.name]; value != nil {
			c.push(m.name)
			c.duplicatesIn(m.form, value)
			c.pop()
		}
	}
}

func (c *checker) duplicatesIn(f *form, value any) {
	switch value := value.(type) {
	case map[string]any:
		switch f.sort {
		case structure:
			c.onlyDuplicates(c.types[f.shape], value)
		case mapping:
			if !f.item.nests() {
				return
			}
			for name, item := range value {
				c.push(name)
				c.duplicatesIn(f.item, item)
				c.pop()
			}
		}
	case []any:
		if f.sort != list {
			return
		}
		if f.item.nests() {
			for i, item := range value {
				c.push(i)
				c.duplicatesIn(f.item, item)
				c.pop()
			}
		}
		c.duplicates(f, value)
	}
}

func (f *form) nests() bool { return f.sort == structure || f.sort == mapping || f.sort == list }

// Newer lists the fields of content that v has and native does not, and those whose value v allows and native does not: what the
// code of native cannot judge. What is in a newer field is not looked into.
func (v *Version) Newer(k *Kind, content map[string]any, native *Version) (fields, values []policies.Path) {
	if native.Kind(k.GroupVersionKind) == nil {
		return nil, nil
	}
	n := newer{types: v.types(), native: native.types()}
	n.structure(n.types[k.shape], n.native[k.shape], content)
	for _, found := range [][]policies.Path{n.fields, n.values} {
		slices.SortFunc(found, func(a, b policies.Path) int { return strings.Compare(a.String(), b.String()) })
	}
	return n.fields, n.values
}

type newer struct {
	types, native  []*shape
	path           policies.Path
	fields, values []policies.Path
}

func (n *newer) structure(s, known *shape, content map[string]any) {
	for name, value := range content {
		m := s.member(name)
		if m == nil || value == nil {
			continue
		}
		n.path = append(n.path, name)
		if old := known.member(name); old != nil {
			n.value(m.form, old.form, value)
		} else if len(n.fields) < maxFound {
			n.fields = append(n.fields, slices.Clone(n.path))
		}
		n.path = n.path[:len(n.path)-1]
	}
}

func (n *newer) value(f, old *form, value any) {
	if old == nil || f.sort != old.sort {
		return
	}
	switch value := value.(type) {
	case string:
		if slices.Contains(f.enum, value) && old.enum != nil && !slices.Contains(old.enum, value) && len(n.values) < maxFound {
			n.values = append(n.values, slices.Clone(n.path))
		}
	case map[string]any:
		switch f.sort {
		case structure:
			n.structure(n.types[f.shape], n.native[old.shape], value)
		case mapping:
			for name, item := range value {
				n.path = append(n.path, name)
				n.value(f.item, old.item, item)
				n.path = n.path[:len(n.path)-1]
			}
		}
	case []any:
		if f.sort != list {
			return
		}
		for i, item := range value {
			n.path = append(n.path, i)
			n.value(f.item, old.item, item)
			n.path = n.path[:len(n.path)-1]
		}
	}
}

// Fit returns stored, an object of kind k as native's code would store it, as v would: without the fields that v does not have,
// and with those of written that native does not know. Neither argument is changed; the result shares memory with both.
func (v *Version) Fit(k *Kind, stored, written map[string]any, native *Version) map[string]any {
	f := fitter{types: v.types(), native: native.types()}
	return f.structure(f.types[k.shape], f.native[k.shape], stored, written)
}

type fitter struct{ types, native []*shape }

func (f *fitter) structure(s, known *shape, stored, written map[string]any) map[string]any {
	out := make(map[string]any, len(stored))
	for name, value := range stored {
		m := s.member(name)
		if m == nil {
			continue
		}
		old := known.member(name)
		if old == nil {
			continue
		}
		out[name] = f.value(m.form, old.form, value, written[name])
	}
	for name, value := range written {
		if value != nil && s.member(name) != nil && known.member(name) == nil {
			out[name] = value
		}
	}
	return out
}

func (f *fitter) value(now, old *form, stored, written any) any {
	if now.sort != old.sort {
		return stored
	}
	switch s := stored.(type) {
	case map[string]any:
		w, _ := written.(map[string]any)
		switch now.sort {
		case structure:
			return f.structure(f.types[now.shape], f.native[old.shape], s, w)
		case mapping:
			if !now.item.nests() {
				return stored
			}
			out := make(map[string]any, len(s))
			for name, item := range s {
				out[name] = f.value(now.item, old.item, item, w[name])
			}
			return out
		}
	case []any:
		if now.sort != list || !now.item.nests() {
			return stored
		}
		w, _ := written.([]any)
		if len(w) != len(s) {
			w = make([]any, len(s))
		}
		out := make([]any, len(s))
		for i, item := range s {
			out[i] = f.value(now.item, old.item, item, w[i])
		}
		return out
	}
	return stored
}
