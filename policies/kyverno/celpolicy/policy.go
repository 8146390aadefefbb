package celpolicy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/kyverno/notes"
	"gitgate.dev/gitgate/policies/strict"
)

// policy is a compiled document. It is immutable and safe for concurrent use.
type policy struct {
	doc     *policies.Object
	def     *document
	options *Options
	invalid bool // its values are wrong, and that was told
	ignored bool // it judges what is no manifest, and that was told

	programs     []*program
	ignoreErrors bool // of match conditions: failurePolicy is Ignore
}

// program is what judges some resources: the policy as it is written, or what Kyverno makes of it for controllers of Pods.
type program struct {
	policy      *policy
	matcher     *admission.Matcher // nil in mode JSON
	constraints *admissionv1.MatchResources
	templates   bool // it judges the Pods that are found in objects of the resources
	conditions  []condition
	variables   map[string]*admission.Expression
	validations []clause
	annotations []annotation
	exceptions  []compiledException
	watches     bool // its answer may differ between a creation and an update of the same object
}

type condition struct {
	name string
	*admission.Expression
}

type clause struct {
	rule       string // validations[0]
	expression *admission.Expression
	message    *admission.Expression // nil without one
	text       string                // the message without it
	reason     string
}

type annotation struct {
	key string
	*admission.Expression
}

// namespace is that of a NamespacedValidatingPolicy, which judges nothing outside it; "" for a ValidatingPolicy.
func (p *policy) namespace() string {
	switch {
	case p.doc.Kind.Kind != namespacedKind:
		return ""
	case p.doc.Namespace == "":
		return "default"
	default:
		return p.doc.Namespace
	}
}

// name is that of the policy among all.
func (p *policy) name() string {
	if ns := p.namespace(); ns != "" {
		return ns + "/" + p.doc.Name
	}
	return p.doc.Name
}

// compile compiles the policy and what is made of it. It returns all that is wrong, each at its place.
func (p *policy) compile(envs *environments, exceptions []*exception) []error {
	p.ignoreErrors = p.def.Spec.FailurePolicy == string(admissionv1.Ignore)
	env, err := envs.of(p.namespace() != "")
	if err != nil {
		return []error{err}
	}
	c := &compiler{policy: p, base: env, exceptions: exceptions}
	c.program(&p.def.Spec, false)
	if len(c.errs) > 0 || p.invalid || p.def.Spec.mode() != modeKubernetes {
		return c.errs
	}
	made, err := autogen(&p.def.Spec)
	if err != nil {
		return []error{strict.ErrorAt(p.doc, policies.Path{"spec"}, policies.AtKey, fmt.Errorf("policy %s cannot be made for controllers: %w", p.doc.Name, err))}
	}
	for _, m := range made {
		c.program(m.spec, m.templates)
	}
	return c.errs
}

// compiler compiles the programs of one policy.
type compiler struct {
	policy     *policy
	base       *celgo.Env
	exceptions []*exception
	excepted   []compiledException // compiled with the first program, for all: Kyverno makes nothing of them for controllers
	errs       []error
}

// program compiles one.
func (c *compiler) program(s *spec, templates bool) {
	p := &program{policy: c.policy, templates: templates}
	at := policies.Path{"spec"}
	before := len(c.errs)
	for i, m := range s.MatchConditions {
		p.conditions = append(p.conditions, condition{m.Name, c.expression(c.base, c.policy.doc, at.Append("matchConditions", i, "expression"), m.Expression, celgo.BoolType)})
	}
	env := c.base
	if len(s.Variables) > 0 {
		var types *provider
		var err error
		if env, types, err = composed(c.base); err != nil {
			c.errs = append(c.errs, err)
			return
		}
		p.variables = make(map[string]*admission.Expression, len(s.Variables))
		for i, v := range s.Variables {
			e := c.expression(env, c.policy.doc, at.Append("variables", i, "expression"), v.Expression)
			p.variables[v.Name] = e
			if e == nil {
				types.add(v.Name, celgo.DynType)
			} else {
				types.add(v.Name, e.Checked.OutputType())
			}
		}
	}
	for i := range s.Validations {
		p.validations = append(p.validations, c.clause(env, at.Append("validations", i), i, &s.Validations[i]))
	}
	for i, a := range s.AuditAnnotations {
		e := c.expression(env, c.policy.doc, at.Append("auditAnnotations", i, "valueExpression"), a.ValueExpression, celgo.StringType, celgo.NullType)
		p.annotations = append(p.annotations, annotation{a.Key, e})
	}
	if len(c.policy.programs) == 0 {
		c.except(env)
	}
	p.exceptions = c.excepted
	if s.mode() == modeKubernetes && s.MatchConstraints != nil && !c.policy.invalid {
		var err error
		p.constraints = c.policy.defaulted(s.MatchConstraints)
		if p.matcher, err = admission.NewMatcher(p.constraints, c.policy.options.API); err != nil {
			c.errs = append(c.errs, strict.ErrorAt(c.policy.doc, at.Append("matchConstraints"), policies.AtKey, err))
		}
	}
	if len(c.errs) > before || c.policy.invalid {
		return
	}
	p.watches = p.watchesUpdates()
	c.policy.programs = append(c.policy.programs, p)
}

// defaulted is m with the defaults of the API server. Without a host that knows the API only the versions that are named match.
func (p *policy) defaulted(m *admissionv1.MatchResources) *admissionv1.MatchResources {
	out := *m
	policy := admissionv1.Equivalent
	if m.MatchPolicy != nil {
		policy = *m.MatchPolicy
	}
	if p.options.API == nil {
		policy = admissionv1.Exact
	}
	out.MatchPolicy = &policy
	if m.NamespaceSelector == nil {
		out.NamespaceSelector = &metav1.LabelSelector{}
	}
	if m.ObjectSelector == nil {
		out.ObjectSelector = &metav1.LabelSelector{}
	}
	return &out
}

// expression compiles one that stands in doc. It returns nil when the expression is wrong, or blank, which was told.
func (c *compiler) expression(env *celgo.Env, doc *policies.Object, path policies.Path, source string, results ...*celgo.Type) *admission.Expression {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	e, errs := admission.Compile(doc, env, path, source, limits(), results...)
	c.errs = append(c.errs, errs...)
	if e != nil && c.policy.namespace() != "" {
		c.confined(doc, e)
	}
	return e
}

// confined refuses what a policy of a namespace may not ask for.
func (c *compiler) confined(doc *policies.Object, e *admission.Expression) {
	told := map[string]bool{}
	ast.PreOrderVisit(e.Checked.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.IdentKind || told[x.AsIdent()] {
			return
		}
		if name := x.AsIdent(); name == "globalContext" || name == "http" {
			told[name] = true
			at := e.Checked.NativeRep().SourceInfo().GetStartLocation(x.ID())
			pos := doc.LocateInside(e.Path, e.Source, at.Line(), at.Column())
			c.errs = append(c.errs, policies.ErrorAt(pos, fmt.Errorf("%s: %s.* is not allowed in namespaced policies", e.Path, name)))
		}
	}))
}

func (c *compiler) clause(env *celgo.Env, at policies.Path, i int, v *admissionv1.Validation) clause {
	out := clause{
		rule:       fmt.Sprintf("validations[%d]", i),
		expression: c.expression(env, c.policy.doc, at.Append("expression"), v.Expression, celgo.BoolType),
		text:       v.Message,
		message:    c.expression(env, c.policy.doc, at.Append("messageExpression"), v.MessageExpression, celgo.StringType),
	}
	if out.text == "" {
		out.text = fmt.Sprintf("CEL expression validation failed at index %d", i)
	}
	if v.Reason != nil {
		out.reason = string(*v.Reason)
	}
	return out
}

// except compiles the conditions of the exceptions that are about the policy.
func (c *compiler) except(env *celgo.Env) {
	for _, x := range c.exceptions {
		if !x.about(c.policy.doc) {
			continue
		}
		one := compiledException{exception: x}
		for i, m := range x.conditions {
			one.conditions = append(one.conditions, c.expression(env, x.doc, policies.Path{"spec", "matchConditions", i, "expression"}, m.Expression, celgo.BoolType))
		}
		c.excepted = append(c.excepted, one)
	}
}

// watchesUpdates says whether an expression asks for the old object or for the operation, or the rules do.
func (p *program) watchesUpdates() bool {
	uses := func(e *admission.Expression) bool { return e != nil && (e.UsesOld || e.UsesOperation) }
	for _, x := range p.exceptions {
		if slices.ContainsFunc(x.conditions, uses) {
			return true
		}
	}
	for _, e := range p.variables {
		if uses(e) {
			return true
		}
	}
	return slices.ContainsFunc(p.conditions, func(c condition) bool { return uses(c.Expression) }) ||
		slices.ContainsFunc(p.validations, func(v clause) bool { return uses(v.expression) }) ||
		p.matcher != nil && p.matcher.WatchesUpdates()
}

// describe makes the policy that the engine asks.
func (p *policy) describe() *policies.Policy {
	out := &policies.Policy{
		Name: p.name(), Kind: "kyverno", Origin: p.doc.Locate(policies.Path{"metadata", "name"}, policies.AtValue),
		Match: p.coarse(), Action: p.action(),
	}
	notes.Describe(p.def.Metadata.Annotations, out)
	for i := range p.def.Spec.Validations {
		out.Rules = append(out.Rules, fmt.Sprintf("validations[%d]", i))
	}
	for _, program := range p.programs {
		if program.asksForResources() {
			out.Refers = []policies.GroupKind{{Group: "*", Kind: "*"}}
		}
	}
	out.Judge = func(ctx context.Context, c *policies.Change) (policies.Finding, error) { return p.judge(ctx, c) }
	return out
}

// coarse is what the engine may decide by before any request is looked at.
func (p *policy) coarse() policies.Match {
	out := policies.Match{NoPods: true}
	for _, program := range p.programs {
		if program.matcher == nil {
			out.Plain = policies.OnlyPlain // mode JSON
			continue
		}
		one := admission.Coarse(program.constraints)
		out.Resources = append(out.Resources, one.Resources...)
		for _, op := range one.Operations {
			if !slices.Contains(out.Operations, op) {
				out.Operations = append(out.Operations, op)
			}
		}
	}
	return out
}

// action is the strongest of validationActions. A policy that is not asked at admission refuses nothing: its violations are
// recorded, as Kyverno's reports do.
func (p *policy) action() policies.Action {
	actions := p.def.Spec.ValidationActions
	switch {
	case !p.def.Spec.admitted():
		return policies.Audit
	case len(actions) == 0 || slices.Contains(actions, admissionv1.Deny):
		return policies.Deny
	case slices.Contains(actions, admissionv1.Warn):
		return policies.Warn
	default:
		return policies.Audit
	}
}

// asksForResources says whether an expression asks for other objects.
func (p *program) asksForResources() bool {
	found := false
	look := func(e *admission.Expression) {
		ast.PreOrderVisit(e.Checked.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
			found = found || x.Kind() == ast.IdentKind && x.AsIdent() == "resource"
		}))
	}
	for _, e := range p.variables {
		look(e)
	}
	for _, c := range p.conditions {
		look(c.Expression)
	}
	for _, v := range p.validations {
		look(v.expression)
	}
	for _, a := range p.annotations {
		look(a.Expression)
	}
	for _, x := range p.exceptions {
		for _, e := range x.conditions {
			look(e)
		}
	}
	return found
}
