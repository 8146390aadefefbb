package celpolicy

import (
	"context"
	"errors"
	"fmt"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// judge answers for a change. A door that does not know whether the object exists already is told of what both its creation and
// its update would break; what only one of them may is left to a door that knows.
func (p *policy) judge(ctx context.Context, c *policies.Change) (policies.Finding, error) {
	if p.def.Spec.mode() != modeKubernetes {
		return p.programs[0].payload(ctx, c)
	}
	r, err := admission.RequestOf(c)
	if err != nil {
		return policies.Finding{}, err
	}
	if ns := p.namespace(); ns != "" && r.Namespace != ns {
		return policies.Finding{Skipped: "it is a policy of namespace " + ns}, nil
	}
	var found policies.Finding
	skipped := ""
	asked := false
	for _, program := range p.programs {
		f, err := program.judge(ctx, r)
		if err != nil {
			return policies.Finding{}, err
		}
		if f.Skipped != "" {
			if skipped == "" || f.Skipped != unmatched {
				skipped = f.Skipped
			}
			continue
		}
		asked = true
		found.Violations = append(found.Violations, f.Violations...)
		found.Evidence = append(found.Evidence, f.Evidence...)
	}
	if !asked {
		return policies.Finding{Skipped: skipped}, nil
	}
	return found, nil
}

// unmatched is why a policy has nothing to say that does not match.
const unmatched = "its constraints do not match it"

func (p *program) judge(ctx context.Context, r *admission.Request) (policies.Finding, error) {
	finding, err := p.answer(ctx, r)
	if err != nil || len(finding.Violations) > 0 {
		return finding, err
	}
	if c := r.Change; p.watches && c.Operation == policies.Create && !c.Knows.Has(policies.KnowsOld) {
		updated, err := p.answer(ctx, r.AsUpdate())
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
func (p *program) answer(ctx context.Context, r *admission.Request) (policies.Finding, error) {
	matched, err := p.matcher.Match(r)
	if err != nil {
		return policies.Finding{}, err
	}
	if matched.No != "" {
		return policies.Finding{Skipped: unmatched}, nil
	}
	if matched.Unknown&admission.NeedVersions != 0 {
		// As what the policy would see the object is not known, so that nothing can be evaluated.
		return policies.Finding{}, matched.Unknown.Err(r, "")
	}
	in, err := inputsOf(r, matched.As, p.policy.options.Convert)
	if err != nil {
		return policies.Finding{}, err
	}
	if p.templates {
		return p.each(ctx, r, in, matched.Unknown)
	}
	return p.evaluate(ctx, r, in, matched.Unknown).finding(nil)
}

// payload judges what is no Kubernetes object: it is the variable "object", and nothing else is known.
func (p *program) payload(ctx context.Context, c *policies.Change) (policies.Finding, error) {
	if c.Object == nil {
		return policies.Finding{Skipped: unmatched}, nil
	}
	r, err := admission.RequestOf(c)
	if err != nil {
		return policies.Finding{}, err
	}
	return p.evaluate(ctx, r, &inputs{content: c.Object.Map(), object: c.Object.Value(), root: "object"}, 0).finding(nil)
}

// result is what a program says of a request.
type result struct {
	ev          *evaluation
	skipped     string
	conditional unknowns // what it hangs on whether the program applies at all
	unknown     unknowns // what the undecided validations hang on
	undecided   []string
	violations  []policies.Violation
	err         error
	evidence    []policies.Evidence
}

// finding weighs the result: a violation that stands whatever the door does not know comes first, then what could not be
// evaluated, then what hangs on something unknown. prefix is where the Pod that was judged stands in the object.
func (o *result) finding(prefix policies.Path) (policies.Finding, error) {
	broken := o.err != nil || len(o.violations) > 0 || len(o.unknown) > 0
	switch {
	case broken && len(o.conditional) > 0:
		return policies.Finding{}, o.ev.need(append(o.conditional, o.unknown...))
	case len(o.violations) > 0:
		out := policies.Finding{Violations: o.violations, Evidence: o.evidence}
		for i := range out.Violations {
			if prefix != nil {
				v := &out.Violations[i]
				v.Message = fmt.Sprintf("%s (pod template at %s)", v.Message, prefix)
				v.Path = prefix.Append(v.Path...)
			}
		}
		for _, path := range o.undecided {
			out.Evidence = append(out.Evidence, admission.Undecided(fmt.Errorf("%s: %w", path, o.ev.need(o.unknown))))
		}
		return out, nil
	case o.err != nil && prefix != nil:
		return policies.Finding{}, fmt.Errorf("%w (pod template at %s)", o.err, prefix)
	case o.err != nil:
		return policies.Finding{}, o.err
	case len(o.unknown) > 0:
		return policies.Finding{}, o.ev.need(o.unknown)
	case o.skipped != "":
		return policies.Finding{Skipped: o.skipped, Evidence: o.evidence}, nil
	}
	return policies.Finding{Evidence: o.evidence}, nil
}
