package trace

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// writer is a Writer whose fields are read.
type writer struct {
	Writer
	writes []write
}

type write struct {
	Write
	fields []fieldPattern
}

func compileWriter(w Writer) (writer, error) {
	out := writer{Writer: w}
	var errs []error
	if len(w.Users)+len(w.Groups) == 0 {
		errs = append(errs, fmt.Errorf("writer %q: expected users or groups", w.Name))
	}
	for _, p := range slices.Concat(w.Users, w.Groups) {
		if strings.Trim(p, "*:") == "" {
			errs = append(errs, fmt.Errorf("writer %q: %q matches everybody", w.Name, p))
		}
	}
	if len(w.Writes) == 0 {
		errs = append(errs, fmt.Errorf("writer %q: writes nothing", w.Name))
	}
	for _, x := range w.Writes {
		c := write{Write: x}
		if len(x.Kinds) == 0 {
			errs = append(errs, fmt.Errorf("writer %q: expected kinds", w.Name))
		}
		for _, f := range x.Fields {
			field, err := parseField(f)
			if err != nil {
				errs = append(errs, fmt.Errorf("writer %q: %w", w.Name, err))
				continue
			}
			c.fields = append(c.fields, field)
		}
		out.writes = append(out.writes, c)
	}
	return out, errors.Join(errs...)
}

func (w *writer) is(actor *policies.Actor) bool {
	if matchesAny(w.Users, actor.User, ':') {
		return true
	}
	return slices.ContainsFunc(actor.Groups, func(g string) bool { return matchesAny(w.Groups, g, ':') })
}

// names says whether x is about the object.
func (x *write) names(gk policies.GroupKind, namespace, name string) bool {
	return matchesKind(x.Kinds, gk) &&
		(len(x.Namespaces) == 0 || matchesAny(x.Namespaces, namespace, 0)) &&
		(len(x.Names) == 0 || matchesAny(x.Names, name, 0))
}

func matchesKind(kinds []string, gk policies.GroupKind) bool {
	return slices.ContainsFunc(kinds, func(k string) bool {
		return k == "*" || k == gk.Kind || k == gk.Kind+"."+gk.Group || plural(k, gk)
	})
}

// plural says whether a kind is the one of a resource of which only the plural is known: a subresource of a custom resource.
func plural(kind string, gk policies.GroupKind) bool {
	kind, group, named := strings.Cut(kind, ".")
	if named && group != gk.Group || gk.Kind != strings.ToLower(gk.Kind) {
		return false
	}
	kind = strings.ToLower(kind)
	return gk.Kind == kind+"s" || gk.Kind == kind+"es" || strings.HasSuffix(kind, "y") && gk.Kind == kind[:len(kind)-1]+"ies"
}

// byWriter returns the writer that lets r write all it writes.
func (r *review) byWriter() *writer {
	for i := range r.j.writers {
		w := &r.j.writers[i]
		if !w.is(r.c.Actor) {
			continue
		}
		for k := range w.writes {
			if r.within(&w.writes[k]) {
				return w
			}
		}
	}
	return nil
}

// reaches says whether x is about a subresource; "" is the object itself. An entry with fields reaches them through scale, too.
func (x *write) reaches(sub string) bool {
	if len(x.Subresources) > 0 {
		return slices.Contains(x.Subresources, sub)
	}
	return sub == "" || sub == "scale" && len(x.fields) > 0
}

func (r *review) within(x *write) bool {
	if !x.names(r.governed, r.key.Namespace, r.key.Name) {
		return false
	}
	if !x.reaches(r.c.Resource.Subresource) {
		return false
	}
	if len(x.fields) == 0 {
		return true
	}
	if r.c.Operation != policies.Update {
		return false
	}
	for _, e := range r.edits() {
		if !covered(x.fields, e) {
			return false
		}
	}
	return true
}

// injected says whether a writer's entry lets r's actor, besides what it writes otherwise, set the field of an edit: what a
// mutating webhook puts into objects that others create.
func (r *review) injected(e edit) bool {
	for i := range r.j.writers {
		w := &r.j.writers[i]
		if !w.is(r.c.Actor) {
			continue
		}
		for k := range w.writes {
			x := &w.writes[k]
			if len(x.fields) > 0 && x.reaches(r.c.Resource.Subresource) && x.names(r.governed, r.key.Namespace, r.key.Name) && covered(x.fields, e) {
				return true
			}
		}
	}
	return false
}

// lets says whether a writer's entry accounts for a difference: every field of what was added, or the one that differs.
func (r *review) lets(d Difference, written map[string]any) bool {
	return r.letsAll(r.steps(d.Path, written), d)
}

func (r *review) letsAll(steps []string, d Difference) bool {
	if r.injected(edit{path: d.Path, steps: steps, now: d.Got}) {
		return true
	}
	if d.Cause != NotDeclared {
		return false
	}
	below := func(at any, name string, value any) bool {
		return r.letsAll(append(steps[:len(steps):len(steps)], name), Difference{Path: append(d.Path[:len(d.Path):len(d.Path)], at), Cause: NotDeclared, Got: value})
	}
	if m := asMap(d.Got); len(m) > 0 {
		for key, value := range m {
			if !below(key, key, value) {
				return false
			}
		}
		return true
	}
	items, list := asList(d.Got), List{}
	if r.lists() != nil {
		list = r.lists()(d.Path)
	}
	if len(items) == 0 || list.Type != ListMap {
		return false
	}
	for i, item := range items {
		if !below(i, nameOf(item, list.Keys), item) {
			return false
		}
	}
	return true
}

// made says whether some writer may make the object as a whole, so that what controllers make of it is accounted for.
func (j *judge) made(gk policies.GroupKind, namespace, name string) bool {
	for i := range j.writers {
		for k := range j.writers[i].writes {
			x := &j.writers[i].writes[k]
			if len(x.fields) == 0 && len(x.Subresources) == 0 && x.names(gk, namespace, name) {
				return true
			}
		}
	}
	return false
}
