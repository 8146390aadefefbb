package openapi

import (
	"slices"

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

// Newer lists the fields of content that v has and native does not: what the code of native cannot judge. Their values are not
// looked into.
func (v *Version) Newer(k *Kind, content map[string]any, native *Version) []policies.Path {
	if native.Kind(k.GroupVersionKind) == nil {
		return nil
	}
	n := newer{types: v.types(), native: native.types()}
	n.structure(n.types[k.shape], n.native[k.shape], content)
	slices.SortFunc(n.found, func(a, b policies.Path) int { return compareText(a.String(), b.String()) })
	return n.found
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

type newer struct {
	types, native []*shape
	path          policies.Path
	found         []policies.Path
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
		} else if len(n.found) < maxFound {
			n.found = append(n.found, slices.Clone(n.path))
		}
		n.path = n.path[:len(n.path)-1]
	}
}

func (n *newer) value(f, old *form, value any) {
	if old == nil || f.sort != old.sort {
		return
	}
	switch value := value.(type) {
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

// Allows says whether v lists value among those that the field at p of kind k may have. It is false where v lists none.
func (v *Version) Allows(k *Kind, p policies.Path, value string) bool {
	types := v.types()
	f := &form{sort: structure, shape: k.shape}
	for _, step := range p {
		switch name, isName := step.(string); {
		case f.sort == structure && isName:
			m := types[f.shape].member(name)
			if m == nil {
				return false
			}
			f = m.form
		case f.sort == mapping && isName, f.sort == list && !isName:
			f = f.item
		default:
			return false
		}
	}
	return slices.Contains(f.enum, value)
}
