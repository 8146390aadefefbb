package cel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"gitgate.dev/gitgate/policies"
)

// opinion is what a policy says of a request with one parameter object (or none), whatever its bindings make of it.
type opinion struct {
	skipped     string   // the match condition that is not met, or why errors are ignored; "" when it judged
	conditional needs    // what it hangs on whether the policy applies at all
	unknown     needs    // what the undecided validations hang on
	undecided   []string // their paths
	violations  []policies.Violation
	errs        []error // what could not be evaluated, under failurePolicy Fail
	ignored     []error // the same under failurePolicy Ignore
	annotations []policies.Evidence
}

// evaluation is one run of a policy's expressions.
type evaluation struct {
	ctx    context.Context
	policy *policy
	act    *activation
	budget int64
}

var (
	errBudget = errors.New("validation failed due to running out of cost budget, no further validation rules will be run")
	errNoCost = errors.New("runtime cost could not be calculated")
)

// evaluate follows validator.Validate of the API server (k8s.io/apiserver/pkg/admission/plugin/policy/validating). Its error
// means that time ran out.
func (p *policy) evaluate(ctx context.Context, in *inputs, params any) (*opinion, error) {
	o := &opinion{}
	if len(p.conditions) > 0 {
		// Match conditions see no namespaceObject, and may not use variables.
		conditions := &evaluation{ctx, p, &activation{inputs: in, request: in.unmatched, params: params}, celconfig.RuntimeCELCostBudgetMatchConditions}
		matched := conditions.matchConditions(o)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no time left to judge: %w", context.Cause(ctx))
		}
		if !matched {
			return o, nil
		}
	}
	act := &activation{inputs: in, request: in.request, namespace: in.namespace, params: params}
	if len(p.variables) > 0 {
		act.variables = &variables{ctx: ctx, act: act, compiled: p.variables, states: make(map[string]*variableState, len(p.variables))}
	}
	if act.begin(); !p.validate(ctx, o, act) {
		act.begin()
		annotations := &evaluation{ctx, p, act, celconfig.RuntimeCELCostBudget}
		annotations.auditAnnotations(o)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no time left to judge: %w", context.Cause(ctx))
	}
	if len(o.ignored) > 0 && len(o.violations) == 0 && o.unknown == 0 {
		o.skipped = "failurePolicy is Ignore, and it could not be evaluated: " + errors.Join(o.ignored...).Error()
	}
	return o, nil
}

// run evaluates e. err is the expression's own failure; fatal says that nothing more can be evaluated.
func (ev *evaluation) run(e *expression) (value ref.Val, err, fatal error) {
	if ev.act.lacks(e) {
		return unknown(needAssigned), nil, nil
	}
	value, details, err := e.program.ContextEval(ev.ctx, ev.act)
	if v := ev.act.variables; v != nil {
		if !ev.pay(v.take()) {
			return nil, nil, errBudget
		}
	}
	cost := details.ActualCost()
	if cost == nil {
		return nil, nil, fmt.Errorf("%w for expression: %s, no further expression will be run", errNoCost, e.source)
	}
	if *cost > math.MaxInt64 || !ev.pay(int64(*cost)) {
		return nil, nil, errBudget
	}
	if err != nil {
		return nil, fmt.Errorf("expression '%s' resulted in error: %w", e.source, err), nil
	}
	return value, nil, nil
}

func (ev *evaluation) pay(cost int64) bool {
	ev.budget -= cost
	return ev.budget >= 0
}

// fail notes an error as the failure policy wants it.
func (ev *evaluation) fail(o *opinion, path policies.Path, err error) {
	err = fmt.Errorf("%s: %w", path, err)
	if ev.policy.ignoreErrors {
		o.ignored = append(o.ignored, err)
	} else {
		o.errs = append(o.errs, err)
	}
}

// matchConditions says whether the policy has to be asked (webhook/matchconditions, matcher.go). One that is not met decides,
// whatever becomes of the others.
func (ev *evaluation) matchConditions(o *opinion) bool {
	var errs []error
	for i, e := range ev.policy.conditions {
		value, err, fatal := ev.run(e)
		if fatal != nil {
			o.conditional = 0
			ev.conditionErrors(o, []error{fatal})
			return false
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.path, err))
			continue
		}
		if u, ok := value.(*types.Unknown); ok {
			o.conditional |= needsOf(u)
			continue
		}
		if value == types.False {
			*o = opinion{skipped: fmt.Sprintf("match condition %s is not met", ev.policy.conditionNames[i])}
			return false
		}
	}
	if len(errs) == 0 {
		return true
	}
	ev.conditionErrors(o, errs)
	return false
}

func (ev *evaluation) conditionErrors(o *opinion, errs []error) {
	if ev.policy.ignoreErrors {
		o.skipped = "failurePolicy is Ignore, and its match conditions could not be evaluated: " + errors.Join(errs...).Error()
	} else {
		o.errs = errs
	}
}

// validate runs the validations and, for those that fail, their messages. It says whether it had to stop.
func (p *policy) validate(ctx context.Context, o *opinion, act *activation) (stopped bool) {
	ev := &evaluation{ctx, p, act, celconfig.RuntimeCELCostBudget}
	found := *o
	var failed []int
	var passed int
	for i := range p.validations {
		v := &p.validations[i]
		value, err, fatal := ev.run(v.expression)
		switch {
		case fatal != nil:
			// As the API server has it: what was found so far is dropped for the error.
			ev.fail(o, v.expression.path, fatal)
			return true
		case err != nil:
			ev.fail(&found, v.expression.path, err)
		default:
			if u, ok := value.(*types.Unknown); ok {
				found.unknown |= needsOf(u)
				found.undecided = append(found.undecided, v.expression.path.String())
			} else if value != types.True {
				failed = append(failed, i)
			} else {
				passed++
			}
		}
	}
	messages, err := ev.messages(failed)
	if err != nil {
		// Without its budget the API server takes every validation that did not fail by itself for an error.
		if len(failed)+passed > 0 {
			ev.fail(&found, policies.Path{"spec", "validations"}, fmt.Errorf("failed messageExpression: %w", err))
		}
		*o = found
		return false
	}
	for n, i := range failed {
		v := &p.validations[i]
		found.violations = append(found.violations, policies.Violation{
			Rule: v.rule, Message: messages[n], Reason: v.reason, Path: p.blame(ctx, v.expression, act),
			Fix: strings.TrimSpace(p.def.Annotations["gitgate.dev/fix"]),
		})
	}
	*o = found
	return false
}

// messages returns the messages of failed validations. The API server evaluates the message of every validation, failed or not,
// on what the validations left of the budget; that makes a difference only where it could run out.
func (ev *evaluation) messages(failed []int) ([]string, error) {
	p := ev.policy
	all := int64(p.messageCount+len(p.variables))*celconfig.PerCallLimit > ev.budget
	if len(failed) == 0 && !all {
		return nil, nil
	}
	ev.act.begin()
	messages := make([]string, len(failed))
	next := 0
	for i := range p.validations {
		v := &p.validations[i]
		wanted := next < len(failed) && failed[next] == i
		if !wanted && !all {
			continue
		}
		message := ""
		if v.message != nil {
			value, err, fatal := ev.run(v.message)
			if fatal != nil {
				return nil, fatal
			}
			if err == nil {
				message = usable(value)
			}
		}
		if wanted {
			if message == "" {
				message = v.text
			}
			messages[next] = message
			next++
		}
	}
	return messages, nil
}

// usable is the text of a message expression's value, or "" for one that the API server would not show: no string, blank, too
// long or of several lines.
func usable(value ref.Val) string {
	s, ok := value.(types.String)
	if !ok {
		return ""
	}
	text := strings.TrimSpace(string(s))
	if len(text) > celconfig.MaxEvaluatedMessageExpressionSizeBytes || strings.Contains(text, "\n") {
		return ""
	}
	return text
}

// maxAnnotation is how much of an audit annotation's value is kept (validating/dispatcher.go).
const maxAnnotation = 10 * 1024

// auditAnnotations evaluates the annotations, which become evidence.
func (ev *evaluation) auditAnnotations(o *opinion) {
	for _, a := range ev.policy.annotations {
		value, err, fatal := ev.run(a.expression)
		if fatal != nil {
			// As the API server has it: the error stands for the whole policy.
			*o = opinion{conditional: o.conditional}
			ev.fail(o, a.expression.path, fatal)
			return
		}
		if err != nil {
			if ev.policy.ignoreErrors {
				// It leaves the annotation out, and nothing else.
				o.annotations = append(o.annotations, undecided(fmt.Errorf("%s: %w", a.expression.path, err)))
			} else {
				ev.fail(o, a.expression.path, err)
			}
			continue
		}
		text, ok := value.(types.String)
		if !ok {
			continue // null leaves the annotation out, and what is unknown can be told at another door
		}
		if trimmed := strings.TrimSpace(string(text)); trimmed != "" {
			o.annotations = append(o.annotations, policies.Evidence{
				Kind: "audit-annotation", Value: ev.policy.name + "/" + a.key + "=" + strings.ToValidUTF8(trimmed[:min(len(trimmed), maxAnnotation)], ""),
			})
		}
	}
}

// undecided is the evidence of what could not be judged, beside a judgement that does not hang on it.
func undecided(err error) policies.Evidence {
	return policies.Evidence{Kind: "undecided", Value: err.Error()}
}
