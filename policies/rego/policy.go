package rego

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// policies makes one policy of each package.
func (s *suite) policies(notes *annotations) ([]*policies.Policy, error) {
	out := make([]*policies.Policy, 0, len(s.packages))
	var errs []error
	for i, p := range s.packages {
		own := notes.ofPackage(p.path)
		found := &kinds{compiler: s.compiler, fields: objectKind, known: map[*ast.Rule]names{}}
		if p.isReview() {
			found.fields = reviewKind
		}
		p.combine = own.combine
		for _, u := range p.units {
			u.meta = notes.ofRule(p, u)
			u.at = s.all.position(u.rule.Location)
			switch {
			case p.combine:
			case u.meta.kinds != nil:
				u.kinds = u.meta.kinds
			case own.kinds != nil:
				u.kinds = own.kinds
			default:
				u.kinds = found.ofUnit(u)
			}
		}
		reached := reachOf(s.compiler, p)
		if err := refuseUnknowable(p, reached, s.all); err != nil {
			errs = append(errs, err)
		}
		p.needs = needsOf(s.compiler, p, reached)
		mine := wantsInventory(s.compiler, reached)
		s.wanted = s.wanted.and(mine)
		s.file = s.file || p.needs.file
		policy := s.policy(i, p, own)
		policy.Refers = mine.refers()
		if len(policy.Match.Operations) == 0 {
			policy.Match.Operations = operations(p, reached, p.needs)
		}
		p.operations = policy.Match.Operations
		if !p.isReview() {
			policy.Match.Plain = policies.AlsoPlain
		}
		if p.combine {
			policy.Match.NoPods = true
			policy.Refers = []policies.GroupKind{{Group: "*", Kind: "*"}}
		}
		out = append(out, policy)
	}
	if err := errors.Join(append(errs, notes.errs...)...); err != nil {
		return nil, err
	}
	// Last, because it changes the rules that were looked at until now.
	for _, p := range s.packages {
		for _, u := range p.units {
			placing{s.compiler, p.isReview()}.unit(u)
		}
	}
	return out, nil
}

func (s *suite) policy(index int, p *pkg, own metadata) *policies.Policy {
	out := &policies.Policy{
		Name:     p.path,
		Kind:     "rego",
		Doc:      doc(own, p),
		URL:      own.url,
		Severity: severity(own, p),
		Controls: controls(own, p),
		Rules:    ruleIDs(p),
		Origin:   s.all.position(p.origin),
		Files:    writtenIn(p),
		Match:    match(own, p),
		Action:   own.action,
		Needs:    p.needs.facts,
		Judge: func(ctx context.Context, c *policies.Change) (policies.Finding, error) {
			return s.judge(ctx, c, index)
		},
	}
	if own.name != "" {
		out.Name = own.name
	}
	return out
}

// doc is what the policy says of itself: the package's METADATA, or the rules' titles.
func doc(own metadata, p *pkg) string {
	parts := []string{own.title, own.description}
	if own.title == "" && own.description == "" {
		for _, u := range p.units {
			if u.meta.title != "" && !slices.Contains(parts, u.meta.title) {
				parts = append(parts, u.meta.title)
			}
		}
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	for i := range parts[:max(0, len(parts)-1)] {
		if !strings.HasSuffix(parts[i], ".") {
			parts[i] += "."
		}
	}
	return strings.Join(parts, " ")
}

var severities = []policies.Severity{policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical}

// severity is the package's, or the gravest of its rules'.
func severity(own metadata, p *pkg) policies.Severity {
	out := own.severity
	if out != "" {
		return out
	}
	for _, u := range p.units {
		if slices.Index(severities, u.meta.severity) > slices.Index(severities, out) {
			out = u.meta.severity
		}
	}
	return out
}

func controls(own metadata, p *pkg) []string {
	out := slices.Clone(own.controls)
	for _, u := range p.units {
		for _, c := range u.meta.controls {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

func ruleIDs(p *pkg) []string {
	var out []string
	for _, u := range p.units {
		if id := u.id(); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// writtenIn is the files that have rules of a package.
func writtenIn(p *pkg) []string {
	var out []string
	for _, u := range p.units {
		for _, rule := range u.all {
			if file := rule.Location.File; !slices.Contains(out, file) {
				out = append(out, file)
			}
		}
	}
	return out
}

// match is the union of what the package's rules are for.
func match(own metadata, p *pkg) policies.Match {
	m := policies.Match{Operations: own.operations}
	for _, u := range p.units {
		if u.kinds == nil {
			m.Kinds = nil
			break
		}
		for _, k := range u.kinds {
			if !slices.Contains(m.Kinds, k) {
				m.Kinds = append(m.Kinds, k)
			}
		}
	}
	m.PodsToo = slices.ContainsFunc(p.units, func(u *unit) bool {
		return slices.ContainsFunc(u.kinds, func(k policies.KindRule) bool { return k.Kind == "Pod" && (k.Group == "*" || k.Group == "") })
	})
	for _, u := range p.units {
		for _, op := range u.meta.operations {
			if !slices.Contains(m.Operations, op) {
				m.Operations = append(m.Operations, op)
			}
		}
	}
	return m
}

// id is how violations name the unit's rule.
func (u *unit) id() string {
	if u.meta.id != "" {
		return u.meta.id
	}
	return u.name
}

// fits says whether the unit can hold for an object of a kind.
func (u *unit) fits(kind policies.GroupVersionKind, subresource string) bool {
	if u.kinds == nil {
		return subresource == ""
	}
	return slices.ContainsFunc(u.kinds, func(k policies.KindRule) bool {
		return (k.Kind == "*" || k.Kind == kind.Kind) && (k.Group == "*" || k.Group == kind.Group) &&
			(k.Version == "" || k.Version == "*" || k.Version == kind.Version) && (k.Subresource == "*" || k.Subresource == subresource)
	})
}

// asksAt says whether the package is asked about an operation, as policies.Match does.
func (p *pkg) asksAt(op policies.Operation) bool {
	if len(p.operations) == 0 {
		return op == policies.Create || op == policies.Update
	}
	return slices.Contains(p.operations, op)
}

// holds is the message for a rule that gives none.
func (u *unit) holds() string {
	for _, s := range []string{u.meta.title, firstLine(u.meta.description)} {
		if s != "" {
			return s
		}
	}
	return "rule " + u.name + " holds, expected it not to"
}

// describe adds to a violation what the rule says of itself.
func (u *unit) describe(v *policies.Violation) {
	if v.Rule == "" {
		v.Rule = u.id()
	}
	if v.Fix == "" {
		v.Fix = u.meta.fix
	}
	if v.URL == "" {
		v.URL = u.meta.url
	}
	v.Warning = strings.HasPrefix(u.name, "warn") || u.meta.hasAction && u.meta.action != policies.Deny
}

// errorAt is an error of the rule, at its definition.
func (u *unit) errorAt(err error) error { return policies.ErrorAt(u.at, err) }

// reachOf is what the rules of a package look at.
func reachOf(c *ast.Compiler, p *pkg) *opa.Reach {
	r := opa.NewReach(c)
	for _, u := range p.units {
		r.Follow(c.GetRulesExact(u.ref))
	}
	if p.exceptions != nil {
		r.Follow(c.GetRulesExact(p.exceptions.ref))
	}
	return r
}
