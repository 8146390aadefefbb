package kyverno

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/kyverno/notes"
)

// policy is a compiled ClusterPolicy or Policy. It is immutable and safe for concurrent use.
type policy struct {
	doc          *policies.Object
	queries      *queries
	name         string
	namespace    string // of a Policy, which judges nothing outside it; "" for a ClusterPolicy
	annotations  map[string]string
	rules        []*compiled
	exceptions   []*exception
	one          bool // the first rule that says something is the last
	ignoreErrors bool
	conditions   *admission.Program // that a change has to meet for the policy to be asked; nil for none
	trial        *Trial             // what a test gives; nil otherwise
}

// except keeps the exceptions that are about p.
func (p *policy) except(all []*exception) {
	for _, x := range all {
		if slices.ContainsFunc(p.rules, func(r *compiled) bool { return x.names(p.name, r.name) }) {
			p.exceptions = append(p.exceptions, x)
		}
	}
}

// split makes the policies that the engine asks, one an action.
func (p *policy) split() []*policies.Policy {
	var actions []policies.Action
	for _, r := range p.rules {
		for _, a := range r.action.all() {
			if !slices.Contains(actions, a) {
				actions = append(actions, a)
			}
		}
	}
	slices.Sort(actions)
	var out []*policies.Policy
	for i, action := range actions {
		one := &policies.Policy{
			Name: p.name, Kind: "kyverno", Origin: p.doc.Locate(policies.Path{"metadata", "name"}, policies.AtValue),
			Match: p.coarse(action), Action: action, Refers: p.refers(),
		}
		if i > 0 {
			one.Name += "/" + action.String()
		}
		notes.Describe(p.annotations, one)
		for _, r := range p.rules {
			if slices.Contains(r.action.all(), action) {
				one.Rules = append(one.Rules, r.name)
			}
		}
		one.Judge = func(ctx context.Context, c *policies.Change) (policies.Finding, error) {
			return p.judge(ctx, c, action)
		}
		out = append(out, one)
	}
	return out
}

// coarse is what the engine may decide by before a request is looked at.
func (p *policy) coarse(action policies.Action) policies.Match {
	out := policies.Match{NoPods: true}
	add := func(ops ...policies.Operation) {
		for _, op := range ops {
			if !slices.Contains(out.Operations, op) {
				out.Operations = append(out.Operations, op)
			}
		}
	}
	for _, r := range p.rules {
		if !slices.Contains(r.action.all(), action) {
			continue
		}
		r.match.coarse(&out)
		ops := r.match.operations()
		switch {
		case ops != nil:
			add(ops...)
		case r.cel != nil:
			add(policies.Create, policies.Update, policies.Delete, policies.Connect)
		case r.standard != nil || r.body.pattern != nil || r.body.anyPattern != nil:
			add(policies.Create, policies.Update, policies.Connect)
		default:
			add(policies.Create, policies.Update, policies.Delete, policies.Connect)
		}
	}
	return out
}

// refers lists the kinds that context entries and parameters are taken from.
func (p *policy) refers() []policies.GroupKind {
	var needs func(b *body) bool
	fromMap := func(e *entry) bool { return e.ConfigMap != nil }
	needs = func(b *body) bool {
		return b != nil && (slices.ContainsFunc(b.context, fromMap) || slices.ContainsFunc(b.loops, func(l *loop) bool { return needs(l.body) }))
	}
	var out []policies.GroupKind
	if slices.ContainsFunc(p.rules, func(r *compiled) bool { return slices.ContainsFunc(r.context, fromMap) || needs(r.body) }) {
		out = append(out, policies.GroupKind{Kind: "ConfigMap"})
	}
	for _, r := range p.rules {
		if r.cel != nil && r.cel.params != nil && !slices.Contains(out, r.cel.params.kind.GroupKind()) {
			out = append(out, r.cel.params.kind.GroupKind())
		}
	}
	return out
}

// ruled is what a rule says of a change.
type ruled struct {
	rule   *compiled
	action policies.Action
	verdict
}

type verdictsKey struct{ policy *policy }

// judge asks the rules whose violations lead to an action in the namespace of the change. All rules are asked once a change.
func (p *policy) judge(ctx context.Context, c *policies.Change, action policies.Action) (policies.Finding, error) {
	v, err := c.Derive(verdictsKey{p}, func() (any, error) { return p.ask(ctx, c, nil), nil })
	if err != nil {
		return policies.Finding{}, err
	}
	var f policies.Finding
	var errs []error
	var need *policies.NeedError
	judged, skips := false, []string(nil)
	for _, r := range v.([]ruled) {
		if r.action != action {
			continue
		}
		switch r.status {
		case passed:
			judged = true
		case skipped:
			skips = append(skips, r.message)
		case failed:
			f.Violations = append(f.Violations, policies.Violation{Rule: r.rule.name, Message: r.message, Path: r.path})
		default:
			var n *policies.NeedError
			if errors.As(r.err, &n) {
				if need == nil {
					need = n
				}
				continue
			}
			errs = append(errs, fmt.Errorf("rule %s: %w", r.rule.name, r.err))
		}
	}
	switch {
	case len(f.Violations) > 0:
		for _, err := range errs {
			f.Evidence = append(f.Evidence, policies.Evidence{Kind: "error", Value: err.Error()})
		}
		return f, nil
	case len(errs) > 0 && !p.ignoreErrors:
		return policies.Finding{}, errors.Join(errs...)
	case need != nil:
		return policies.Finding{}, need
	}
	for _, err := range errs {
		f.Evidence = append(f.Evidence, policies.Evidence{Kind: "error", Value: err.Error()})
	}
	if !judged {
		if f.Skipped = strings.Join(slices.Compact(skips), "; "); f.Skipped == "" {
			f.Skipped = "no rule matches it"
		}
	}
	return f, nil
}

// ask asks all rules that match a change. data is what expressions see of the request; nil for what the change says.
func (p *policy) ask(ctx context.Context, c *policies.Change, data map[string]any) []ruled {
	o := c.Subject()
	about := subject{change: c, object: o, trial: p.trial}
	if p.namespace != "" && (p.namespace != namespaceOf(c) || o.Kind.Kind == "Namespace") {
		return nil
	}
	var s *scope
	var out []ruled
	asked, err := p.meets(ctx, c)
	if err != nil {
		return undecided(about, p.rules, err)
	}
	if asked.no() {
		return nil
	}
	for i, r := range p.rules {
		if ctx.Err() != nil {
			return append(out, undecided(about, p.rules[i:], fmt.Errorf("no time left to judge: %w", context.Cause(ctx)))...)
		}
		match := r.matches(about).both(asked)
		if match.no() {
			continue
		}
		if s == nil {
			s = newScope(c, p.queries, p.namespace, data)
		}
		action, need := r.action.of(c)
		v := p.inside(r, s, func(in *scope) verdict { return p.verdict(ctx, r, in, about, match) })
		if v.status == failed && need != nil {
			v = broken(need)
		}
		if v.status == skipped {
			v.message = fmt.Sprintf("rule %s: %s", r.name, v.message)
		}
		out = append(out, ruled{r, action, v})
		if p.one && (v.status == passed || v.status == failed) {
			break
		}
	}
	return out
}

// undecided is the answer of the rules that match, or may, and could not be asked: under each action that they may lead to, so that
// no policy made of them takes it for a yes.
func undecided(about subject, rules []*compiled, err error) []ruled {
	var out []ruled
	for _, r := range rules {
		if r.matches(about).no() {
			continue
		}
		actions := r.action.all()
		slices.Sort(actions)
		for _, a := range slices.Compact(actions) {
			out = append(out, ruled{r, a, broken(err)})
		}
	}
	return out
}

// inside asks with the context of a rule.
func (p *policy) inside(r *compiled, s *scope, ask func(*scope) verdict) verdict {
	s.given = p.trial.of(p.shortName(), r.name)
	in, err := s.inner(r.context)
	if err != nil {
		return broken(err)
	}
	return ask(in)
}

// shortName is the policy's name without its namespace.
func (p *policy) shortName() string { return strings.TrimPrefix(p.name, p.namespace+"/") }

func (r *compiled) matches(about subject) answer {
	out := r.match.matches(about)
	if r.exclude == nil || out.no() {
		return out
	}
	return out.both(r.exclude.matches(about).opposite())
}

// verdict asks one rule that matches, or may.
func (p *policy) verdict(ctx context.Context, r *compiled, s *scope, about subject, match answer) verdict {
	if match.need != nil && match.need.Facts == policies.KnowsOld {
		// It is only about updates, and this may be one: what it would say of the new object alone says nothing.
		return broken(match.need)
	}
	v := p.rule(ctx, r, s, about)
	if (v.status == failed || v.status == errored) && match.need != nil {
		return broken(match.need)
	}
	if v.status == failed && r.enforced && r.tolerates && p.brokenBefore(ctx, r, about.change) {
		return verdict{status: skipped, message: "what it was before broke the rule too, which the rule tolerates"}
	}
	return v
}

// rule asks one rule, exceptions included.
func (p *policy) rule(ctx context.Context, r *compiled, s *scope, about subject) verdict {
	ok, _, err := s.hold(r.preconditions)
	switch {
	case err != nil:
		return broken(fmt.Errorf("preconditions: %w", err))
	case !ok:
		return verdict{status: skipped, message: "preconditions are not met"}
	}
	var more []podStandard
	var need *policies.NeedError
	for _, x := range p.exceptions {
		if !x.names(p.name, r.name) {
			continue
		}
		a, err := x.holds(s, about)
		switch {
		case err != nil:
			return broken(err)
		case a.need != nil:
			need = a.need
		case a.yes && (len(x.standards) == 0 || r.standard == nil):
			return verdict{status: skipped, message: "exception " + x.name + " takes it out"}
		case a.yes:
			more = append(more, x.standards...)
		}
	}
	var v verdict
	switch {
	case r.cel != nil:
		v = r.cel.judge(ctx, about.change)
	case r.standard == nil:
		v = round{rule: r, scope: s}.judge(r.body)
	case about.change.Operation == policies.Delete:
		v = verdict{status: skipped, message: "it judges nothing that is deleted", silent: true}
	default:
		v = r.standard.judge(r, about.object, more)
	}
	if v.status == failed && need != nil {
		return broken(need)
	}
	return v
}

type beforeKey struct{}

// stranger is who made the object that is there already, for rules that match by who makes a change: nobody that they name. That
// it broke such a rule then is not known, so that the rule does not tolerate it now (pkg/engine/handlers/validation of Kyverno).
func stranger() *policies.Actor {
	return &policies.Actor{User: "kyverno:kyverno-invalid-controller", UID: "kyverno:invaliduid", Groups: []string{"kyverno:invalidgroup"}}
}

// brokenBefore says whether the object before an update broke the rule as well, had it been made then.
func (p *policy) brokenBefore(ctx context.Context, r *compiled, c *policies.Change) bool {
	if c.Operation != policies.Update || c.Old == nil || c.Object == nil {
		return false
	}
	made, err := c.Derive(beforeKey{}, func() (any, error) {
		return &policies.Change{
			Operation: policies.Create, Object: c.Old, Resource: c.Resource, Namespaced: c.Namespaced, Actor: c.Actor,
			Namespace: c.Namespace, Holder: c.Holder, DryRun: c.DryRun, Options: c.Options, Knows: c.Knows, Set: c.Set,
		}, nil
	})
	if err != nil {
		return false
	}
	before := made.(*policies.Change)
	about := subject{change: before, object: c.Old, trial: p.trial, by: stranger()}
	if !r.matches(about).yes {
		return false
	}
	var data map[string]any
	if p.trial != nil {
		if _, data, err = p.trial.change(before, p.shortName(), policies.Create); err != nil {
			return false
		}
	}
	s := newScope(before, p.queries, p.namespace, data)
	about.by = nil
	return p.inside(r, s, func(in *scope) verdict { return p.rule(ctx, r, in, about) }).status == failed
}
