package policies

import (
	"path"
	"slices"
	"strings"
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

// mode sets the first mode that covers r. A mode of a kind covers its subresources: the object of deployments/scale is a Scale.
func (e *Engine) mode(r *Result, c *Change) {
	subject := c.Subject()
	for i := range e.modes {
		m := &e.modes[i]
		if anyMatch(m.Policies, r.Policy.Name) &&
			(inScope(m.Namespaces, m.Kinds, subject, c.Namespace) || c.Resource.Subresource != "" && ofResource(m.Kinds, c.Resource) && inScope(m.Namespaces, nil, subject, c.Namespace)) {
			r.Mode = m
			return
		}
	}
}

// ofResource says whether one of the patterns of kinds matches the kind of a resource, of which the plural is known: kubectl's name for
// it, in lower case and with s, es or ies.
func ofResource(kinds []string, r Resource) bool {
	return slices.ContainsFunc(kinds, func(kind string) bool {
		name, group, named := strings.Cut(kind, ".")
		if named && !anyMatch([]string{group}, r.Group) {
			return false
		}
		name = strings.ToLower(name)
		plurals := []string{name + "s", name + "es"}
		if stem, ok := strings.CutSuffix(name, "y"); ok {
			plurals = append(plurals, stem+"ies")
		}
		return slices.ContainsFunc(plurals, func(plural string) bool { return anyMatch([]string{plural}, r.Resource) })
	})
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
