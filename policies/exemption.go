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
	if namespace == "" {
		namespace = o.Namespace
	}
	kind := o.Kind.GroupKind()
	return anyMatch(x.Policies, policy, policy+"/"+rule) &&
		anyMatch(x.Namespaces, namespace) &&
		anyMatch(x.Kinds, kind.Kind, kind.String()) &&
		anyMatch(x.Names, o.Name)
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
