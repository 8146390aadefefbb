package bundle

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policies"
)

// exemptions turns `exempt:` into what the engine asks. A pattern that no policy or rule has is an error: it was meant for one.
func (l *loader) exemptions(all []*policies.Policy, now time.Time) []policies.Exemption {
	var out []policies.Exemption
	known := len(l.errs) == 0 // else some policies are missing, and a name could be one of theirs
	named := l.named(all)
	for i, x := range l.config.Exempt {
		e := policies.Exemption{
			Policies:   l.withMembers(x.Policies),
			Namespaces: x.Namespaces,
			Kinds:      x.Kinds,
			Names:      x.Names,
			Reason:     x.Reason,
			Pos:        l.config.Position("exempt", i),
		}
		if !x.Until.IsZero() {
			e.Until = x.Until.AddDate(0, 0, 1)
		}
		if known {
			for j, pattern := range x.Policies {
				meant := l.withMembers([]string{pattern})
				if !slices.ContainsFunc(named, func(p *policies.Policy) bool {
					return slices.ContainsFunc(meant, func(pattern string) bool { return concerns(pattern, p) })
				}) {
					var names []string
					for _, p := range all {
						names = append(names, p.Name)
					}
					l.fail(l.config.Position("exempt", i, "policies", j), fmt.Errorf("no policy or rule is named %q: %s", pattern, expectedName(pattern, names)))
				}
			}
		}
		if e.Expired(now) {
			l.warnings = append(l.warnings, Warning{l.config.Position("exempt", i, "until"),
				fmt.Sprintf("exempt[%d] has expired: its last day was %s; renew or remove it", i, x.Until.Format(time.DateOnly))})
		}
		out = append(out, e)
	}
	return out
}

// modes turns `modes:` into what the engine acts by. A pattern that no policy has is an error.
func (l *loader) modes(all []*policies.Policy) []policies.Mode {
	var out []policies.Mode
	known := len(l.errs) == 0
	named := l.named(all)
	for i, m := range l.config.Modes {
		out = append(out, policies.Mode{Policies: l.withMembers(m.Policies), Namespaces: m.Namespaces, Kinds: m.Kinds, Action: m.Action, Pos: l.config.Position("modes", i)})
		for j, pattern := range m.Policies {
			meant := l.withMembers([]string{pattern})
			if known && !slices.ContainsFunc(named, func(p *policies.Policy) bool {
				return slices.ContainsFunc(meant, func(pattern string) bool { ok, _ := path.Match(pattern, p.Name); return ok })
			}) {
				var names []string
				for _, p := range all {
					names = append(names, p.Name)
				}
				l.fail(l.config.Position("modes", i, "policies", j), fmt.Errorf("no policy is named %q: %s", pattern, expectedName(pattern, names)))
			}
		}
	}
	return out
}

// named is all, and a policy of each name that a kind has under other flags.
func (l *loader) named(all []*policies.Policy) []*policies.Policy {
	out := slices.Clone(all)
	for _, k := range l.kinds {
		for _, name := range k.Also {
			out = append(out, &policies.Policy{Name: name})
		}
	}
	return out
}

// concerns says whether pattern can match p or one of its rules. The rules of a policy that does not tell them beforehand may
// have any name.
func concerns(pattern string, p *policies.Policy) bool {
	if ok, _ := path.Match(pattern, p.Name); ok {
		return true
	}
	for _, rule := range p.Rules {
		if ok, _ := path.Match(pattern, p.Name+"/"+rule); ok {
			return true
		}
	}
	if cut := strings.LastIndexByte(pattern, '/'); len(p.Rules) == 0 && cut > 0 {
		ok, _ := path.Match(pattern[:cut], p.Name)
		return ok
	}
	return false
}
