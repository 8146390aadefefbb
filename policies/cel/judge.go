package cel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// bound is one policy with one binding: what the engine asks.
type bound struct {
	policy  *policy
	matcher *admission.Matcher // the binding's own; nil matches everything
	params  *params
}

// outcome is what a policy and a binding say of a request, before the door's knowledge is reckoned with.
type outcome struct {
	skipped     string
	conditional admission.Needs // what it hangs on whether policy and binding apply
	missing     string
	opinions    []*admission.Opinion
	evidence    []policies.Evidence
}

// judge answers for a change. A door that does not know whether the object exists already is told of what both its creation and
// its update would break; what only one of them may is left to a door that knows.
func (b *bound) judge(ctx context.Context, c *policies.Change) (policies.Finding, error) {
	if why := admission.Unasked(c.Resource); why != "" {
		return policies.Finding{Skipped: why}, nil
	}
	r, err := admission.RequestOf(c)
	if err != nil {
		return policies.Finding{}, err
	}
	finding, err := b.answer(ctx, r)
	if err != nil || len(finding.Violations) > 0 {
		return finding, err
	}
	if c.Operation == policies.Create && !c.Knows.Has(policies.KnowsOld) && b.policy.watchesUpdates {
		updated, err := b.answer(ctx, r.AsUpdate())
		var need *policies.NeedError
		switch {
		case errors.As(err, &need):
			return policies.Finding{}, err
		case err != nil || len(updated.Violations) > 0:
			return policies.Finding{}, admission.NeedOld.Err(r, "")
		case finding.Skipped != "":
			return updated, nil
		}
	}
	return finding, nil
}

// answer judges one request.
func (b *bound) answer(ctx context.Context, r *admission.Request) (policies.Finding, error) {
	o, err := b.ask(ctx, r)
	switch {
	case errors.Is(err, errNoParams):
		err = fmt.Errorf("%w: expected %s", err, b.params.describe(r))
		if !b.policy.ignoreErrors {
			return policies.Finding{Violations: []policies.Violation{{Rule: ruleParams, Message: err.Error(), Reason: "Invalid"}}}, nil
		}
		fallthrough
	case err != nil && b.policy.ignoreErrors && ctx.Err() == nil:
		return policies.Finding{Skipped: "failurePolicy is Ignore, and " + err.Error()}, nil
	case err != nil:
		return policies.Finding{}, err
	}
	return o.finding(r)
}

// ruleParams is the rule of a binding that denies what it finds no parameters for.
const ruleParams = "params"

// ask follows the API server's dispatcher (policy/validating, dispatcher.go): the policy's match, the binding's, the parameters,
// and an evaluation for each of them. Its error is one of configuration, to which the failure policy applies, or of time.
func (b *bound) ask(ctx context.Context, r *admission.Request) (*outcome, error) {
	o := &outcome{}
	matched, err := b.policy.matches(r)
	if err != nil {
		return nil, err
	}
	if matched.No != "" {
		o.skipped = matched.No
		return o, nil
	}
	binding, err := b.matcher.Match(r)
	if err != nil {
		return nil, err
	}
	if binding.No != "" {
		o.skipped = "the binding does not apply: " + binding.No
		return o, nil
	}
	o.conditional = matched.Unknown | binding.Unknown
	params, unknown, err := b.params.find(r)
	if err != nil {
		return nil, err
	}
	if unknown != 0 {
		o.conditional |= unknown
		o.missing = b.params.describe(r)
		return o, nil
	}
	if len(params) == 0 {
		o.skipped = "there is no " + b.params.describe(r)
		return o, nil
	}
	if o.conditional&admission.NeedVersions != 0 {
		// As what the policy would see the object is not known, so that nothing can be evaluated.
		return o, nil
	}
	if r.NamespaceMissing() {
		return nil, fmt.Errorf("namespaces %q not found", r.Namespace)
	}
	in, err := admission.InputsOf(r, matched.As, b.policy.convert)
	if err != nil {
		return nil, err
	}
	for _, param := range params {
		opinion, err := b.policy.opinionOf(ctx, r, in, param)
		if err != nil {
			return nil, err
		}
		o.opinions = append(o.opinions, opinion)
		if param != nil {
			o.evidence = append(o.evidence, policies.Evidence{Kind: "param", Value: param.String()})
		}
	}
	return o, nil
}

type matchKey struct {
	policy    *policy
	operation policies.Operation
}

// matches asks the policy's own constraints, once for all its bindings.
func (p *policy) matches(r *admission.Request) (admission.Answer, error) {
	if !p.shared {
		return p.matcher.Match(r)
	}
	v, err := r.Change.Derive(matchKey{p, r.Operation}, func() (any, error) { return p.matcher.Match(r) })
	if err != nil {
		return admission.Answer{}, err
	}
	return v.(admission.Answer), nil
}

type opinionKey struct {
	policy    *policy
	param     *policies.Object
	operation policies.Operation
}

// opinionOf evaluates the policy, once for all bindings that give it the same parameters.
func (p *policy) opinionOf(ctx context.Context, r *admission.Request, in *admission.Inputs, param *policies.Object) (*admission.Opinion, error) {
	evaluate := func() (*admission.Opinion, error) {
		params, err := p.paramsValue(r, param)
		if err != nil {
			return nil, err
		}
		return p.Evaluate(ctx, in, params)
	}
	if !p.shared {
		return evaluate()
	}
	v, err := r.Change.Derive(opinionKey{p, param, r.Operation}, func() (any, error) { return evaluate() })
	if err != nil {
		return nil, err
	}
	return v.(*admission.Opinion), nil
}

// paramsValue is the variable "params": the stored form of the object, in the version that the policy names.
func (p *policy) paramsValue(r *admission.Request, param *policies.Object) (any, error) {
	if param == nil {
		return nil, nil
	}
	want := paramGVK(p.def.Spec.ParamKind)
	switch {
	case param.Kind == want:
		return param.Settled(), nil
	case p.convert == nil:
		return nil, fmt.Errorf("parameters %s cannot be converted from %s to %s", param, param.Kind.APIVersion(), want.APIVersion())
	}
	m, err := p.convert(r.Change.Set, param, want)
	if err != nil {
		return nil, fmt.Errorf("parameters %s cannot be converted from %s to %s: %w", param, param.Kind.APIVersion(), want.APIVersion(), err)
	}
	return m, nil
}

// finding weighs the opinions. A violation that stands whatever the door does not know comes first, then what could not be
// evaluated, then what hangs on something unknown.
func (o *outcome) finding(r *admission.Request) (policies.Finding, error) {
	if o.skipped != "" {
		return policies.Finding{Skipped: o.skipped}, nil
	}
	out := policies.Finding{Evidence: o.evidence}
	var errs, others []error
	var unknown admission.Needs
	var skipped []string
	if len(o.opinions) == 0 {
		unknown = o.conditional
	}
	for _, opinion := range o.opinions {
		conditional := o.conditional | opinion.Conditional
		broken := len(opinion.Violations)+len(opinion.Errs) > 0 || opinion.Unknown != 0
		switch {
		case broken && conditional != 0:
			unknown |= conditional | opinion.Unknown
			continue
		case opinion.Skipped != "":
			skipped = append(skipped, opinion.Skipped)
		}
		for _, v := range opinion.Violations {
			if !slices.ContainsFunc(out.Violations, func(w policies.Violation) bool { return same(v, w) }) {
				out.Violations = append(out.Violations, v)
			}
		}
		errs = append(errs, opinion.Errs...)
		others = append(others, opinion.Ignored...)
		unknown |= opinion.Unknown
		for _, path := range opinion.Undecided {
			others = append(others, fmt.Errorf("%s: %w", path, opinion.Unknown.Err(r, "")))
		}
		out.Evidence = append(out.Evidence, opinion.Annotations...)
	}
	switch {
	case len(out.Violations) > 0:
		for _, err := range append(errs, others...) {
			out.Evidence = append(out.Evidence, admission.Undecided(err))
		}
		return out, nil
	case len(errs) > 0:
		return policies.Finding{}, errors.Join(errs...)
	case unknown != 0:
		return policies.Finding{}, unknown.Err(r, o.missing)
	case len(skipped) > 0 && len(skipped) == len(o.opinions):
		slices.Sort(skipped)
		out.Skipped = strings.Join(slices.Compact(skipped), "; ")
	}
	return out, nil
}

// same says that two parameter objects led to one and the same violation.
func same(v, w policies.Violation) bool {
	return v.Rule == w.Rule && v.Message == w.Message && v.Path.String() == w.Path.String()
}
