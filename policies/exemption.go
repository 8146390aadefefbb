package policies

import (
	"path"
	"slices"
	"time"
)

// exempt marks the violations of r that an exemption covers.
func (e *Engine) exempt(r *Result, subject *Object, namespace string) {
	if r.Outcome != Violated || len(e.exemptions) == 0 {
		return
	}
	now := e.now()
	for i := range r.Finding.Violations {
		for j := range e.exemptions {
			x := &e.exemptions[j]
			if x.covers(now, r.Policy.Name, r.Finding.Violations[i].Rule, subject, namespace) {
				if r.Exempted == nil {
					r.Exempted = make([]*Exemption, len(r.Finding.Violations))
				}
				r.Exempted[i] = x
				break
			}
		}
	}
}

func (x *Exemption) covers(now time.Time, policy, rule string, o *Object, namespace string) bool {
	if !x.Until.IsZero() && !now.Before(x.Until) {
		return false
	}
	return anyMatch(x.Policies, policy, policy+"/"+rule) && inScope(x.Namespaces, x.Kinds, o, namespace) && anyMatch(x.Names, o.Name)
}

// inScope says whether o, which is written to namespace, is in one of the namespaces and of one of the kinds. A Namespace is in
// itself, as it is for the namespaceSelector of a webhook.
func inScope(namespaces, kinds []string, o *Object, namespace string) bool {
	kind := o.Kind.GroupKind()
	switch {
	case kind == GroupKind{"", "Namespace"}:
		namespace = o.Name
	case namespace == "":
		namespace = o.Namespace
	}
	return anyMatch(namespaces, namespace) && anyMatch(kinds, kind.Kind, kind.String())
}

// mode sets the first mode that covers r.
func (e *Engine) mode(r *Result, subject *Object, namespace string) {
	for i := range e.modes {
		m := &e.modes[i]
		if anyMatch(m.Policies, r.Policy.Name) && inScope(m.Namespaces, m.Kinds, subject, namespace) {
			r.Mode = m
			return
		}
	}
}

// Expired says that x no longer holds.
func (x *Exemption) Expired(now time.Time) bool { return !x.Until.IsZero() && !now.Before(x.Until) }

// anyMatch says whether one of the patterns matches one of the names in full; no patterns match everything. Patterns were
// checked when the configuration was read: a bad one matches nothing.
func anyMatch(patterns []string, names ...string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			ok, err := path.Match(p, name)
			return err == nil && ok
		})
	})
}
