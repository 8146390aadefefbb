package admission

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

// Opinion is what a policy says of a request with one parameter object (or none), whatever its bindings make of it.
type Opinion struct {
	Skipped     string   // the match condition that is not met, or why errors are ignored; "" when it judged
	Conditional Needs    // what it hangs on whether the policy applies at all
	Unknown     Needs    // what the undecided validations hang on
	Undecided   []string // their paths
	Violations  []policies.Violation
	Errs        []error // what could not be evaluated, under failurePolicy Fail
	Ignored     []error // the same under failurePolicy Ignore
	Annotations []policies.Evidence
}

// evaluation is one run of a policy's expressions.
type evaluation struct {
	ctx     context.Context
	program *Program
	act     *activation
	budget  int64
}

var (
	errBudget = errors.New("validation failed due to running out of cost budget, no further validation rules will be run")
	errNoCost = errors.New("runtime cost could not be calculated")
)

// Evaluate follows validator.Validate of the API server (k8s.io/apiserver/pkg/admission/plugin/policy/validating). Its error
// means that time ran out.
func (p *Program) Evaluate(ctx context.Context, in *Inputs, params any) (*Opinion, error) {
	o := &Opinion{}
	if len(p.conditions) > 0 {
		// Match conditions see no namespaceObject and, mostly, no variables.
		act := &activation{Inputs: in, request: in.Unmatched, params: params}
		if p.composed {
			act.compose(ctx, p)
		}
		act.begin()
		conditions := &evaluation{ctx, p, act, celconfig.RuntimeCELCostBudgetMatchConditions}
		matched := conditions.matchConditions(o)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no time left to judge: %w", context.Cause(ctx))
		}
		if !matched {
			return o, nil
		}
	}
	act := &activation{Inputs: in, request: in.Request, namespace: in.Namespace, params: params}
	act.compose(ctx, p)
	if act.begin(); !p.validate(ctx, o, act) {
		act.begin()
		annotations := &evaluation{ctx, p, act, celconfig.RuntimeCELCostBudget}
		annotations.auditAnnotations(o)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no time left to judge: %w", context.Cause(ctx))
	}
	if len(o.Ignored) > 0 && len(o.Violations) == 0 && o.Unknown == 0 {
		o.Skipped = "failurePolicy is Ignore, and it could not be evaluated: " + errors.Join(o.Ignored...).Error()
	}
	return o, nil
}

// run evaluates e. err is the expression's own failure; fatal says that nothing more can be evaluated.
func (ev *evaluation) run(e *Expression) (value ref.Val, err, fatal error) {
	if ev.act.Lacks(e) {
		return Unknown(NeedAssigned), nil, nil
	}
	value, details, err := e.Program.ContextEval(ev.ctx, ev.act)
	if v := ev.act.variables; v != nil {
		if !ev.pay(v.take()) {
			return nil, nil, errBudget
		}
	}
	cost := details.ActualCost()
	if cost == nil {
		return nil, nil, fmt.Errorf("%w for expression: %s, no further expression will be run", errNoCost, e.Source)
	}
	if *cost > math.MaxInt64 || !ev.pay(int64(*cost)) {
		return nil, nil, errBudget
	}
	if err != nil {
		return nil, fmt.Errorf("expression '%s' resulted in error: %w", e.Source, err), nil
	}
	return value, nil, nil
}

func (ev *evaluation) pay(cost int64) bool {
	ev.budget -= cost
	return ev.budget >= 0
}

// fail notes an error as the failure policy wants it.
func (ev *evaluation) fail(o *Opinion, path policies.Path, err error) {
	err = fmt.Errorf("%s: %w", path, err)
	if ev.program.ignoreErrors {
		o.Ignored = append(o.Ignored, err)
	} else {
		o.Errs = append(o.Errs, err)
	}
}

// matchConditions says whether the policy has to be asked (webhook/matchconditions, matcher.go). One that is not met decides,
// whatever becomes of the others.
func (ev *evaluation) matchConditions(o *Opinion) bool {
	var errs []error
	for i, e := range ev.program.conditions {
		value, err, fatal := ev.run(e)
		if fatal != nil {
			o.Conditional = 0
			ev.conditionErrors(o, []error{fatal})
			return false
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Path, err))
			continue
		}
		if u, ok := value.(*types.Unknown); ok {
			o.Conditional |= NeedsOf(u)
			continue
		}
		if value == types.False {
			*o = Opinion{Skipped: fmt.Sprintf("match condition %s is not met", ev.program.conditionNames[i])}
			return false
		}
	}
	if len(errs) == 0 {
		return true
	}
	ev.conditionErrors(o, errs)
	return false
}

func (ev *evaluation) conditionErrors(o *Opinion, errs []error) {
	if ev.program.ignoreErrors {
		o.Skipped = "failurePolicy is Ignore, and its match conditions could not be evaluated: " + errors.Join(errs...).Error()
	} else {
		o.Errs = errs
	}
}

// validate runs the validations and, for those that fail, their messages. It says whether it had to stop.
func (p *Program) validate(ctx context.Context, o *Opinion, act *activation) (stopped bool) {
	ev := &evaluation{ctx, p, act, p.budget}
	found := *o
	var failed []int
	var passed int
	for i := range p.validations {
		v := &p.validations[i]
		value, err, fatal := ev.run(v.expression)
		switch {
		case fatal != nil:
			// As the API server has it: what was found so far is dropped for the error.
			ev.fail(o, v.expression.Path, fatal)
			return true
		case err != nil:
			ev.fail(&found, v.expression.Path, err)
		default:
			if u, ok := value.(*types.Unknown); ok {
				found.Unknown |= NeedsOf(u)
				found.Undecided = append(found.Undecided, v.expression.Path.String())
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
			ev.fail(&found, p.validationsAt, fmt.Errorf("failed messageExpression: %w", err))
		}
		*o = found
		return false
	}
	for n, i := range failed {
		v := &p.validations[i]
		found.Violations = append(found.Violations, policies.Violation{
			Rule: v.rule, Message: messages[n], Reason: v.reason, Path: act.blame(ctx, p, v.expression),
			Fix: p.fix,
		})
	}
	*o = found
	return false
}

// messages returns the messages of failed validations. The API server evaluates the message of every validation, failed or not,
// on what the validations left of the budget; that makes a difference only where it could run out.
func (ev *evaluation) messages(failed []int) ([]string, error) {
	p := ev.program
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
func (ev *evaluation) auditAnnotations(o *Opinion) {
	for _, a := range ev.program.annotations {
		value, err, fatal := ev.run(a.expression)
		if fatal != nil {
			// As the API server has it: the error stands for the whole policy.
			*o = Opinion{Conditional: o.Conditional}
			ev.fail(o, a.expression.Path, fatal)
			return
		}
		if err != nil {
			if ev.program.ignoreErrors {
				// It leaves the annotation out, and nothing else.
				o.Annotations = append(o.Annotations, Undecided(fmt.Errorf("%s: %w", a.expression.Path, err)))
			} else {
				ev.fail(o, a.expression.Path, err)
			}
			continue
		}
		text, ok := value.(types.String)
		if !ok {
			continue // null leaves the annotation out, and what is unknown can be told at another door
		}
		if trimmed := strings.TrimSpace(string(text)); trimmed != "" {
			o.Annotations = append(o.Annotations, policies.Evidence{
				Kind: "audit-annotation", Value: ev.program.name + "/" + a.key + "=" + strings.ToValidUTF8(trimmed[:min(len(trimmed), maxAnnotation)], ""),
			})
		}
	}
}

// Undecided is the evidence of what could not be judged, beside a judgement that does not hang on it.
func Undecided(err error) policies.Evidence {
	return policies.Evidence{Kind: "undecided", Value: err.Error()}
}
