package rego

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// suite is all packages compiled together. It is immutable and safe for concurrent use.
type suite struct {
	all      sources
	compiler *ast.Compiler
	packages []*pkg
	data     *document
	wanted   wanted // of other objects, by any package
	file     bool   // some package looks at the file
	values   cache.InterQueryValueCache
	writes   bool // some rule writes into a copy of its input: see opa.Writes
	strict   bool
	timeout  time.Duration

	plans     sync.Map // asked -> *plan
	planCount atomic.Int64
	planned   atomic.Uint64 // plans that were made, also those that were not kept
	passed    passed
}

// maxPlans bounds what objects of invented kinds can make a suite remember.
const maxPlans = 4096

// plan is what is asked about objects of one kind.
type plan struct {
	queries []query
	objects []query // those of packages that see the object itself, and need nothing that is not known
	// together asks all of these in one conjunction; nil when there are not several.
	together ast.Body
	// alone says that all of them look at the object and at nothing else, and that they are many: see passed.
	alone  bool
	number uint64 // of the plan, which no other of the suite has
}

// query is what is asked of one package about objects of one kind: the units that can hold for it, in one conjunction in which
// each is evaluated once. All of them are sets, so none can make another undefined.
type query struct {
	index  int // of the package
	units  []*unit
	body   ast.Body
	joined bool // it is part of what is asked together
}

// answers are the findings of every package on one change.
type answers []answer

type answer struct {
	finding policies.Finding
	err     error
}

type answersKey struct{ *suite }

// judge takes the part of one package of what all packages say of c.
func (s *suite) judge(ctx context.Context, c *policies.Change, index int) (policies.Finding, error) {
	if s.packages[index].combine {
		return s.judgeCombined(ctx, c, index)
	}
	v, err := c.Derive(answersKey{s}, func() (any, error) { return s.evaluate(ctx, c), nil })
	if err != nil {
		return policies.Finding{}, err
	}
	a := v.(answers)[index]
	return a.finding, a.err
}

// evaluate asks every package that can have something to say of c. The packages share what they compute, and nothing else: an
// error of one, or its time, is its own.
func (s *suite) evaluate(ctx context.Context, c *policies.Change) answers {
	out := make(answers, len(s.packages))
	if c.Workload != nil {
		for i := range out {
			out[i].finding.Skipped = "what it says of Pods it says of " + c.Workload.Kind.Kind + "s too"
		}
	}
	plan := s.plan(c)
	var known digest
	remembers := plan.alone && c.Subject().Origin.File == ""
	if remembers {
		if known, remembers = plan.digestOf(c.Subject()); remembers && s.passed.has(known) {
			for _, q := range plan.queries {
				out[q.index] = answer{}
			}
			return out
		}
	}
	in := &inputs{change: c, strict: s.writes}
	txn := &opa.View{Root: s.data.value.Value.(ast.Object), Extra: s.extra(c)}
	together := s.askTogether(ctx, c, plan, in, txn, out)
	for _, q := range plan.queries {
		if !together || !q.joined {
			out[q.index] = s.ask(ctx, c, q, in, txn)
		}
	}
	if remembers && !slices.ContainsFunc(plan.queries, func(q query) bool { return out[q.index].says() }) {
		s.passed.remember(known)
	}
	return out
}

// says whether there is anything in the answer.
func (a answer) says() bool {
	return a.err != nil || len(a.finding.Violations) > 0 || len(a.finding.Evidence) > 0 || a.finding.Skipped != ""
}

// askTogether puts the queries of all packages that see the object itself as one, which costs a part of what they cost one by one, and
// says whether it did. It did not when any of them cannot be asked or fails on the way: then each is asked by itself, so that what
// went wrong, and the time it takes, is the one package's own.
func (s *suite) askTogether(ctx context.Context, c *policies.Change, plan *plan, in *inputs, txn *opa.View, out answers) bool {
	if plan.together == nil {
		return false
	}
	var seen *input
	for _, q := range plan.objects {
		var err error
		if seen, err = in.of(s.packages[q.index], c.Operation); err != nil {
			return false
		}
	}
	bindings, undefined, err := s.run(ctx, plan.together, seen, txn)
	if err != nil || len(undefined) > 0 {
		seen.forget() // the packages are to meet it themselves
		return false
	}
	for _, q := range plan.objects {
		finding, err := read(s.packages[q.index], q, bindings, seen.term.Value, c.Subject().Origin.File)
		out[q.index] = answer{finding, err}
	}
	return true
}

// ask puts a query to its package.
func (s *suite) ask(ctx context.Context, c *policies.Change, q query, in *inputs, txn *opa.View) answer {
	p := s.packages[q.index]
	if err := p.needs.missing(c); err != nil {
		return answer{err: err}
	}
	once := func(op policies.Operation) answer {
		seen, err := in.of(p, op)
		if err != nil {
			return answer{err: err}
		}
		bindings, undefined, err := s.run(ctx, q.body, seen, txn)
		if err != nil {
			return answer{err: s.failure(p, err)}
		}
		object, err := in.subject()
		if err != nil {
			return answer{err: err}
		}
		finding, err := read(p, q, bindings, object.term.Value, c.Subject().Origin.File)
		if err == nil {
			finding.Evidence = append(finding.Evidence, s.undefined(undefined)...)
		}
		return answer{finding, err}
	}
	a := once(c.Operation)
	if a.err != nil || len(a.finding.Violations) > 0 || !p.needs.unsettled(c) {
		return a
	}
	// It holds for a new object. Whether this one is new is not known: it has to hold for an old one too.
	if b := once(policies.Update); b.err != nil || len(b.finding.Violations) > 0 {
		return answer{err: &policies.NeedError{Facts: policies.KnowsOld, What: "whether " + c.Subject().String() + " is there already"}}
	}
	return a
}

// asked is what a plan depends on: the kind of the object and, for the Pod that a workload would make, the workload's; and what is
// known of the change, as needs.missing looks at it.
type asked struct {
	kind, workload policies.GroupVersionKind
	subresource    string
	operation      policies.Operation
	plain          bool // a document of any sort
	knows          policies.Facts
	options, file  bool
}

// plan is what is asked about such objects. A workload's Pod is asked about by the units that are written for Pods and not for
// the workload itself.
func (s *suite) plan(c *policies.Change) *plan {
	of := asked{kind: c.Subject().Kind, subresource: c.Resource.Subresource, operation: c.Operation, plain: c.Plain,
		knows: c.Knows, options: c.Options != nil, file: c.Subject().Origin.File != ""}
	if c.Workload != nil {
		of.workload = c.Workload.Kind
	}
	if known, ok := s.plans.Load(of); ok {
		return known.(*plan)
	}
	out := &plan{number: s.planned.Add(1)}
	for i, p := range s.packages {
		if p.combine || !p.asksAt(of.operation) || of.plain && p.isReview() {
			continue
		}
		var units []*unit
		for _, u := range p.units {
			if c.Workload == nil && u.fits(of.kind, of.subresource) ||
				c.Workload != nil && u.kinds != nil && u.fits(of.kind, "") && !u.fits(of.workload, "") {
				units = append(units, u)
			}
		}
		if len(units) > 0 {
			out.queries = append(out.queries, queryOf(i, p, units))
		}
	}
	for i := range out.queries {
		q := &out.queries[i]
		p := s.packages[q.index]
		if q.joined = !p.isReview() && p.needs.missing(c) == nil; q.joined {
			out.objects = append(out.objects, *q)
		}
	}
	out.alone = len(out.queries) >= fewest && !slices.ContainsFunc(out.queries, func(q query) bool { return !s.packages[q.index].alone() })
	if len(out.objects) > 1 {
		for _, q := range out.objects {
			for _, e := range q.body {
				out.together.Append(e.Copy())
			}
		}
	}
	if s.planCount.Load() < maxPlans {
		if _, loaded := s.plans.LoadOrStore(of, out); !loaded {
			s.planCount.Add(1)
		}
	}
	return out
}

// queryOf asks units of a package, which is the index-th.
func queryOf(index int, p *pkg, units []*unit) query {
	q := query{index: index, units: units}
	var exprs []*ast.Expr
	for i, u := range units {
		exprs = append(exprs, ast.Equality.Expr(ast.NewTerm(q.unitVar(i)), ast.NewTerm(u.ref)))
	}
	if p.exceptions != nil {
		exprs = append(exprs, ast.Equality.Expr(ast.NewTerm(q.exceptionsVar()), ast.NewTerm(p.exceptions.ref)))
	}
	q.body = ast.NewBody(exprs...)
	return q
}

// The variables of a query's answers have names of their own, so that queries can be one.

func (q query) exceptionsVar() ast.Var { return ast.Var("exceptions" + strconv.Itoa(q.index)) }

func (q query) unitVar(i int) ast.Var {
	return ast.Var("unit" + strconv.Itoa(q.index) + "of" + strconv.Itoa(i))
}

// input is what packages of one kind of input see, and what they have computed of it.
type input struct {
	term    *ast.Term
	virtual topdown.VirtualCache
}

// forget drops what was computed. What a query that failed leaves behind may be half of a rule's value: of a rule that has two, the first, which
// the next query would take for the only one.
func (in *input) forget() { in.virtual = topdown.NewVirtualCache() }

// inputs makes the inputs of one change, each at most once.
type inputs struct {
	change  *policies.Change
	strict  bool // of what was made as a whole, not as far as somebody looks
	object  *input
	reviews map[policies.Operation]*input
}

// subject is the object that the change is about.
func (in *inputs) subject() (*input, error) {
	if in.object != nil {
		return in.object, nil
	}
	read := opa.Lazy
	if in.strict {
		read = opa.Named
	}
	t, err := read(in.change.Subject())
	if err != nil {
		return nil, err
	}
	in.object = &input{term: t, virtual: topdown.NewVirtualCache()}
	return in.object, nil
}

func (in *inputs) of(p *pkg, op policies.Operation) (*input, error) {
	if !p.isReview() {
		return in.subject()
	}
	if known := in.reviews[op]; known != nil {
		return known, nil
	}
	t, err := reviewOf(in.change, op)
	if err != nil {
		return nil, err
	}
	if in.reviews == nil {
		in.reviews = map[policies.Operation]*input{}
	}
	in.reviews[op] = &input{term: t, virtual: topdown.NewVirtualCache()}
	return in.reviews[op], nil
}

// run evaluates a body and returns its one answer, and the builtins that failed on the way.
func (s *suite) run(ctx context.Context, body ast.Body, in *input, data *opa.View) (topdown.QueryResult, []topdown.Error, error) {
	answer, undefined, err := opa.Query{
		Compiler: s.compiler, Body: body, Input: in.term, Data: data, Virtual: in.virtual, Values: s.values, Strict: s.strict, Timeout: s.timeout,
	}.Run(ctx)
	if err != nil {
		in.forget()
	}
	return answer, undefined, err
}

// maxUndefined bounds how many failed builtins are recorded.
const maxUndefined = 5

// undefined records the builtins that failed, and so made what they stand in undefined: the policy may not have meant that.
func (s *suite) undefined(list []topdown.Error) []policies.Evidence {
	var out []policies.Evidence
	for _, e := range list {
		text := policies.ErrorAt(s.all.position(e.Location), errors.New(message(&ast.Error{Message: e.Message}))).Error()
		one := policies.Evidence{Kind: "undefined", Value: cut(text, maxMessage)}
		if len(out) < maxUndefined && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}

// failure is the error of a package that could not be evaluated, at the place in its source where that happened.
func (s *suite) failure(p *pkg, err error) error {
	var e *topdown.Error
	if !errors.As(err, &e) {
		return policies.ErrorAt(s.all.position(p.origin), fmt.Errorf("package %s: %w", p.path, err))
	}
	at := e.Location
	if at == nil {
		at = p.origin
	}
	if e.Code == topdown.ConflictErr {
		at = firstOf(s.compiler, at)
	}
	return policies.ErrorAt(s.all.position(at), errors.New(message(&ast.Error{Message: e.Message})))
}

// firstOf is where the rule that is defined at a place is defined first: OPA tells of a conflict at any of the definitions.
func firstOf(c *ast.Compiler, at *ast.Location) *ast.Location {
	m := c.Modules[at.File]
	if m == nil {
		return at
	}
	for _, rule := range m.Rules {
		if rule.Location.Compare(at) != 0 && rule.Head.Location.Compare(at) != 0 {
			continue
		}
		for _, other := range c.GetRulesExact(rule.Ref().GroundPrefix()) {
			if other.Location.Compare(at) < 0 {
				at = other.Location
			}
		}
		break
	}
	return at
}
