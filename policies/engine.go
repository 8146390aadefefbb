package policies

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Engine asks policies about changes. It is immutable and safe for concurrent use.
type Engine struct {
	policies   []*Policy
	exemptions []Exemption
	modes      []Mode
	now        func() time.Time

	plans     sync.Map // target -> *plan: which policies can match, found once
	planCount atomic.Int64
}

// maxPlans bounds what requests of invented kinds can make the engine remember.
const maxPlans = 4096

// plan is what one combination of kind, resource and operation meets.
type plan struct {
	ask    []*Policy
	pods   []*Policy // asked of the workload's Pod
	update []*Policy // would be asked if this were an update
}

// New makes an engine of policies, which are asked in the given order. It refuses an empty list, and a policy that has no name,
// no Judge, or the name of another.
func New(policies []*Policy, exemptions []Exemption, now func() time.Time) (*Engine, error) {
	if len(policies) == 0 {
		return nil, errors.New("policies: none given, so nothing could be refused")
	}
	seen := map[string]*Policy{}
	var errs []error
	for _, p := range policies {
		switch other := seen[p.Name]; {
		case p.Name == "":
			errs = append(errs, ErrorAt(p.Origin, errors.New("policy has no name")))
		case p.Judge == nil:
			errs = append(errs, ErrorAt(p.Origin, fmt.Errorf("policy %s cannot judge", p.Name)))
		case other != nil:
			errs = append(errs, ErrorAt(p.Origin, fmt.Errorf("policy %s is declared twice, also at %s:%d", p.Name, other.Origin.File, other.Origin.Line)))
		default:
			seen[p.Name] = p
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if now == nil {
		now = time.Now
	}
	return &Engine{policies: policies, exemptions: exemptions, now: now}, nil
}

// WithModes returns an engine that asks the same and acts by modes too.
func (e *Engine) WithModes(modes []Mode) *Engine {
	return &Engine{policies: e.policies, exemptions: e.exemptions, modes: modes, now: e.now}
}

// Policies lists what the engine asks. The slice is not to be changed.
func (e *Engine) Policies() []*Policy { return e.policies }

// Refers lists the kinds of other objects that some policy looks at: what Change.Set has to hold. {"*","*"} means all.
func (e *Engine) Refers() []GroupKind {
	var out []GroupKind
	seen := map[GroupKind]bool{}
	for _, p := range e.policies {
		for _, gk := range p.Refers {
			if !seen[gk] {
				seen[gk] = true
				out = append(out, gk)
			}
		}
	}
	return out
}

// Decide asks every policy that c concerns, once each, and also asks policies written for Pods about the Pod that a workload
// would make. It returns no error: what could not be judged is a Result.
func (e *Engine) Decide(ctx context.Context, c *Change) Decision {
	if c.Set == nil {
		c.Set = NewSet()
	}
	subject := c.Subject()
	d := Decision{Subject: RefOf(subject), Operation: c.Operation}
	plan := e.plan(c)
	d.Results = make([]Result, 0, len(plan.ask)+len(plan.pods)+len(plan.update))
	for _, p := range plan.ask {
		d.Results = append(d.Results, e.ask(ctx, p, c, nil))
	}
	if len(plan.pods) > 0 {
		if pod, prefix := podOf(c); pod != nil {
			for _, p := range plan.pods {
				r := e.ask(ctx, p, pod, prefix)
				if r.Outcome == Skipped && p.Match.PodsToo {
					continue // no part of it is for this Pod; what it says of the workload stands already
				}
				d.Results = append(d.Results, r)
			}
		}
	}
	if !c.Knows.Has(KnowsOld) {
		for _, p := range plan.update {
			d.Results = append(d.Results, Result{Policy: p, Outcome: Deferred, Missing: strings.Join(KnowsOld.Names(), ", ")})
		}
	}
	for i := range d.Results {
		e.exempt(&d.Results[i], subject, c.Namespace)
		e.mode(&d.Results[i], c)
	}
	hideSecrets(c, d.Results)
	return d
}

func (e *Engine) plan(c *Change) *plan {
	t := target{c.Subject().Kind, c.Resource, c.Operation, c.Plain}
	if known, ok := e.plans.Load(t); ok {
		return known.(*plan)
	}
	updated := t
	updated.operation = Update
	pod := target{GroupVersionKind{"", "v1", "Pod"}, Resource{Version: "v1", Resource: "pods"}, Create, false}
	_, makesPods := templateOf(t.kind.GroupKind())
	writes := !t.plain && t.resource.Subresource == "" && (t.operation == Create || t.operation == Update)
	out := &plan{}
	for _, p := range e.policies {
		switch {
		case p.Match.matches(t):
			out.ask = append(out.ask, p)
			if makesPods && writes && p.Match.PodsToo && p.Match.matches(pod) {
				out.pods = append(out.pods, p)
			}
		case makesPods && writes && !p.Match.NoPods && p.Match.namesPods() && p.Match.matches(pod):
			out.pods = append(out.pods, p)
		case t.operation == Create && p.Match.matches(updated):
			out.update = append(out.update, p)
		}
	}
	if e.planCount.Load() < maxPlans {
		if _, loaded := e.plans.LoadOrStore(t, out); !loaded {
			e.planCount.Add(1)
		}
	}
	return out
}

// ask puts c to p. prefix is where the Pod that c creates stands in its workload; nil when c is what was written.
func (e *Engine) ask(ctx context.Context, p *Policy, c *Change, prefix Path) Result {
	r := Result{Policy: p, Pod: prefix != nil}
	if missing := p.Needs &^ c.Knows; missing != 0 {
		r.Outcome, r.Missing = Deferred, strings.Join(missing.Names(), ", ")
		return r
	}
	finding, err := judge(ctx, p, c)
	var need *NeedError
	switch {
	case errors.As(err, &need):
		r.Outcome, r.Missing = Deferred, need.What
	case err != nil:
		r.Outcome, r.Err = Failed, err
	case len(finding.Violations) > 0:
		r.Outcome, r.Finding = Violated, finding
		for i := range finding.Violations {
			v := &finding.Violations[i]
			if v.Pos == (Position{}) {
				v.Pos = c.Subject().Locate(v.Path, v.At)
			}
			if prefix != nil {
				v.Path = inWorkload(prefix, v.Path)
			}
		}
	case finding.Skipped != "":
		r.Outcome, r.Finding = Skipped, finding
	default:
		r.Outcome, r.Finding = Passed, finding
	}
	return r
}

// PanicError is the error of a policy that panicked. Stack is for logs, never for the author of a change.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("policy panicked: %v", e.Value) }

func judge(ctx context.Context, p *Policy, c *Change) (f Finding, err error) {
	defer func() {
		if v := recover(); v != nil {
			f, err = Finding{}, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if err := ctx.Err(); err != nil {
		return Finding{}, fmt.Errorf("no time left to judge: %w", context.Cause(ctx))
	}
	return p.Judge(ctx, c)
}
