package kyverno

import (
	"fmt"
	"slices"

	"github.com/kyverno/kyverno/ext/wildcard"

	"gitgate.dev/gitgate/policies"
)

// exception is a PolicyException, compiled.
type exception struct {
	name       string // namespace/name
	match      *matcher
	conditions *conditions
	exceptions []excepted
	standards  []podStandard
}

func (c *compiler) exception(d *exceptionDocument) *exception {
	at := policies.Path{"spec"}
	out := &exception{name: d.Metadata.Namespace + "/" + d.Metadata.Name, conditions: d.Spec.Conditions, exceptions: d.Spec.Exceptions, standards: d.Spec.PodSecurity}
	var errs []error
	if len(d.Spec.Match.Any)+len(d.Spec.Match.All) == 0 {
		c.wrong(at.Append("match"), policies.AtKey, fmt.Errorf("exception %s matches nothing: expected match.any or match.all", d.Metadata.Name))
	}
	out.match, errs = newMatcher(c.doc, at.Append("match"), &d.Spec.Match)
	c.errs = append(c.errs, errs...)
	out.match.exception = true
	c.conditions(at.Append("conditions"), d.Spec.Conditions)
	c.standards(at.Append("podSecurity"), d.Spec.PodSecurity)
	for i, e := range d.Spec.Exceptions {
		if e.PolicyName == "" || len(e.RuleNames) == 0 {
			c.wrong(at.Append("exceptions", i), policies.AtKey, fmt.Errorf("exception %s excepts nothing: expected policyName and ruleNames", d.Metadata.Name))
		}
	}
	if len(d.Spec.Exceptions) == 0 {
		c.wrong(at, policies.AtKey, fmt.Errorf("exception %s excepts nothing: expected spec.exceptions", d.Metadata.Name))
	}
	return out
}

// names says whether x is about a rule.
func (x *exception) names(policy, rule string) bool {
	return slices.ContainsFunc(x.exceptions, func(e excepted) bool {
		return e.PolicyName == policy && wildcard.CheckPatterns(e.RuleNames, rule)
	})
}

// holds says whether x excepts a change.
func (x *exception) holds(s *scope, about subject) (answer, error) {
	a := x.match.matches(about)
	if a.no() || x.conditions == nil {
		return a, nil
	}
	ok, _, err := s.hold(x.conditions)
	if err != nil {
		return no, fmt.Errorf("exception %s: %w", x.name, err)
	}
	return a.both(answer{yes: ok}), nil
}
