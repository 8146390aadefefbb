package celpolicy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// evaluation is one run of a program about one request. It is what expressions see: the activation of CEL.
type evaluation struct {
	*inputs
	ctx        context.Context
	program    *program
	change     *policies.Change
	request    *admission.Request
	exceptions map[string]any
	variables  *variables
	needs      []*policies.NeedError // what was found to be unknown; see lack
}

// evaluate follows Policy.evaluateWithData of Kyverno (pkg/cel/policies/vpol/compiler). What comes after the first validation that
// fails is evaluated too, so that all is told; it changes no verdict. needs is what it hangs on whether the program applies.
func (p *program) evaluate(ctx context.Context, r *admission.Request, in *inputs, needs admission.Needs) *result {
	ev := &evaluation{inputs: in, ctx: ctx, program: p, change: r.Change, request: r}
	out := &result{ev: ev}
	if needs != 0 {
		out.conditional = append(out.conditional, int64(needs))
	}
	if ev.excepted(out) || !ev.matches(out) {
		return ev.timed(out)
	}
	if len(p.variables) > 0 {
		ev.variables = &variables{ev: ev, values: make(map[string]ref.Val, len(p.variables))}
	}
	ev.validate(out)
	ev.annotate(out)
	return ev.timed(out)
}

// timed makes an error of time that ran out, whatever the expressions made of it.
func (ev *evaluation) timed(out *result) *result {
	if ev.ctx.Err() != nil {
		return &result{ev: ev, err: fmt.Errorf("no time left to judge: %w", context.Cause(ev.ctx))}
	}
	return out
}

// run evaluates an expression.
func (ev *evaluation) run(e *admission.Expression) (ref.Val, error) {
	if ev.lacks(e) {
		return admission.Unknown(admission.NeedAssigned), nil
	}
	v, _, err := e.Program.ContextEval(ev.ctx, ev)
	return v, err
}

// holds evaluates conditions, all of which have to hold (Policy.match). One that does not decides, whatever becomes of the others.
func (ev *evaluation) holds(n int, at func(int) *admission.Expression) (yes bool, failed int, unknown unknowns, err error) {
	var errs []error
	for i := range n {
		e := at(i)
		v, err := ev.run(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Path, err))
			continue
		}
		if u, ok := v.(*types.Unknown); ok {
			unknown = append(unknown, u.IDs()...)
			continue
		}
		if v != types.True {
			return false, i, nil, nil
		}
	}
	if len(errs) == 0 {
		return true, 0, unknown, nil
	}
	if ev.program.policy.ignoreErrors {
		return false, -1, unknown, nil
	}
	return false, -1, unknown, errors.Join(errs...)
}

// excepted says whether exceptions let the request be, and sets what expressions see of those that except something only.
func (ev *evaluation) excepted(out *result) bool {
	images, values := []string{}, []string{}
	var told *compiledException
	var names []string
	full := false
	now := ev.program.policy.options.now()
	for i := range ev.program.exceptions {
		x := &ev.program.exceptions[i]
		if x.expired(now) {
			continue
		}
		yes, _, unknown, err := ev.holds(len(x.conditions), func(i int) *admission.Expression { return x.conditions[i] })
		switch {
		case err != nil && full:
			continue // it is excepted already
		case err != nil:
			out.err = fmt.Errorf("exception %s: %w", x.name, err)
			return true
		case yes && len(unknown) > 0:
			out.conditional = append(out.conditional, unknown...)
			continue
		case !yes:
			continue
		}
		if names = append(names, x.name); told == nil || x.priority > max(told.priority, 0) {
			told = x
		}
		if x.full() {
			full = true
		} else {
			images, values = append(images, x.images...), append(values, x.values...)
		}
	}
	if full {
		text := "it is excepted by policy exception " + strings.Join(names, ", ")
		if out.evidence = append(out.evidence, policies.Evidence{Kind: "exception", Value: text}); !told.passes {
			out.skipped = text
		}
		return true
	}
	ev.exceptions = map[string]any{"allowedImages": images, "allowedValues": values}
	return false
}

// expired says that an exception does not hold any longer.
func (x *exception) expired(now time.Time) bool { return !x.expires.IsZero() && now.After(x.expires) }

// matches evaluates the policy's match conditions.
func (ev *evaluation) matches(out *result) bool {
	conditions := ev.program.conditions
	yes, failed, unknown, err := ev.holds(len(conditions), func(i int) *admission.Expression { return conditions[i].Expression })
	out.conditional = append(out.conditional, unknown...)
	switch {
	case err != nil:
		out.err = err
		return false
	case yes:
		return true
	case failed < 0:
		out.skipped = "failurePolicy is Ignore, and its match conditions could not be evaluated"
	default:
		out.skipped = fmt.Sprintf("match condition %s is not met", conditions[failed].name)
	}
	return false
}

// validate runs the validations. The first that is not true decides whether the request breaks the policy or cannot be judged.
func (ev *evaluation) validate(out *result) {
	for i := range ev.program.validations {
		v := &ev.program.validations[i]
		value, err := ev.run(v.expression)
		if err != nil {
			err = fmt.Errorf("%s: %w", v.expression.Path, err)
			if len(out.violations) == 0 {
				if out.err = err; len(out.unknown) == 0 {
					return
				}
				continue
			}
			out.evidence = append(out.evidence, admission.Undecided(err))
			continue
		}
		if u, ok := value.(*types.Unknown); ok {
			out.unknown = append(out.unknown, u.IDs()...)
			out.undecided = append(out.undecided, v.expression.Path.String())
			continue
		}
		if value == types.True {
			continue
		}
		if out.err != nil {
			return
		}
		out.violations = append(out.violations, policies.Violation{
			Rule: v.rule, Message: ev.message(v), Reason: v.reason, Path: ev.blame(v.expression), Fix: ev.program.policy.fix(),
		})
	}
}

// message is what is told of a validation that failed.
func (ev *evaluation) message(v *clause) string {
	if v.message == nil {
		return v.text
	}
	value, err := ev.run(v.message)
	if err != nil {
		return fmt.Sprintf("failed to evaluate message expression: %v", err)
	}
	text, ok := value.(types.String)
	if !ok || text == "" {
		return v.text
	}
	return string(text)
}

// blame finds the field that made a validation false.
func (ev *evaluation) blame(e *admission.Expression) policies.Path {
	return admission.Blame(ev.ctx, e, admission.Surroundings{Activation: ev, Variables: ev.program.variables, Root: ev.root, Content: ev.content})
}

func (p *policy) fix() string {
	return strings.TrimSpace(p.def.Metadata.Annotations["gitgate.dev/fix"])
}

// annotate evaluates audit annotations, which become evidence. One that cannot be evaluated makes an error of the whole, as in
// Kyverno, but takes back no violation: both refuse.
func (ev *evaluation) annotate(out *result) {
	for _, a := range ev.program.annotations {
		value, err := ev.run(a.Expression)
		switch {
		case err == nil:
			if text, ok := value.(types.String); ok && text != "" {
				name := ev.program.policy.name() + "/" + a.key
				out.evidence = append(out.evidence, policies.Evidence{Kind: "audit-annotation", Value: name + "=" + shorten(string(text))})
			}
		case len(out.violations) > 0:
			out.evidence = append(out.evidence, admission.Undecided(fmt.Errorf("%s: %w", a.Path, err)))
		case out.err == nil && len(out.unknown) == 0:
			out.err = fmt.Errorf("%s: %w", a.Path, err)
		}
	}
}

// maxAnnotation is how much of an audit annotation's value is kept.
const maxAnnotation = 10 * 1024

func shorten(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxAnnotation)], "") }

// unknowns are what unknown values hang on: bits of admission.Needs, or from firstNeed on an index of evaluation.needs.
type unknowns []int64

const firstNeed = 1 << 32

// lack is the value of what is not known here. It is said by name if the answer hangs on it.
func (ev *evaluation) lack(facts policies.Facts, what string) ref.Val {
	if ev.program.policy.options.Answers != nil {
		return types.NewErr("%s is not given by the test", what)
	}
	ev.needs = append(ev.needs, &policies.NeedError{Facts: facts, What: what})
	return types.NewUnknown(firstNeed+int64(len(ev.needs)-1), nil)
}

// need is the error of an answer that hangs on something unknown.
func (ev *evaluation) need(ids unknowns) error {
	var bits admission.Needs
	var facts policies.Facts
	var what []string
	for _, id := range ids {
		if id < firstNeed {
			bits |= admission.Needs(id)
			continue
		}
		n := ev.needs[id-firstNeed]
		if facts |= n.Facts; !slices.Contains(what, n.What) {
			what = append(what, n.What)
		}
	}
	var known *policies.NeedError
	if bits != 0 && errors.As(bits.Err(ev.request, ""), &known) {
		facts |= known.Facts
		what = append([]string{known.What}, what...)
	}
	return &policies.NeedError{Facts: facts, What: strings.Join(what, ", ")}
}
