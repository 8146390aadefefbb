package cel

import (
	"fmt"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

// policy is a compiled ValidatingAdmissionPolicy. It is immutable and safe for concurrent use.
type policy struct {
	name           string
	def            *definition
	matcher        *matcher
	ignoreErrors   bool // failurePolicy is Ignore
	conditions     []*expression
	conditionNames []string
	variables      map[string]*expression
	validations    []clause
	messageCount   int // validations that have a message expression
	annotations    []annotation
	convert        Converter

	shared         bool // several bindings bind it, so that its answers are kept for the others
	watchesUpdates bool // its answer may differ between a creation and an update of the same object
}

type clause struct {
	rule       string // validations[0]
	expression *expression
	message    *expression // nil without one
	text       string      // the message when there is no better one
	reason     string
}

type annotation struct {
	key        string
	expression *expression
}

// compilePolicy compiles all expressions of a policy. The errors are all of them, each at its place. Of an invalid definition
// nothing but those errors is made.
func compilePolicy(d *definition, envs *environments, api API, convert Converter) (*policy, []error) {
	c, err := newCompiler(envs, d)
	if err != nil {
		return nil, []error{errorAt(d.doc, nil, policies.AtValue, err)}
	}
	p := &policy{name: d.Name, def: d, convert: convert, ignoreErrors: *d.Spec.FailurePolicy == admissionv1.Ignore}
	at := policies.Path{"spec"}
	for i, condition := range d.Spec.MatchConditions {
		p.conditions = append(p.conditions, c.compile(c.stateless, at.Append("matchConditions", i, "expression"), condition.Expression, celgo.BoolType))
		p.conditionNames = append(p.conditionNames, condition.Name)
	}
	p.variables = make(map[string]*expression, len(d.Spec.Variables))
	for i, v := range d.Spec.Variables {
		p.variables[v.Name] = c.variable(at.Append("variables", i, "expression"), v.Name, v.Expression)
	}
	for i := range d.Spec.Validations {
		p.validations = append(p.validations, c.clause(at.Append("validations", i), i, &d.Spec.Validations[i]))
		if p.validations[i].message != nil {
			p.messageCount++
		}
	}
	for i, a := range d.Spec.AuditAnnotations {
		e := c.compile(c.env(), at.Append("auditAnnotations", i, "valueExpression"), a.ValueExpression, celgo.StringType, celgo.NullType)
		p.annotations = append(p.annotations, annotation{a.Key, e})
	}
	if len(c.errs) > 0 || d.invalid {
		return nil, c.errs
	}
	if p.matcher, err = newMatcher(d.Spec.MatchConstraints, api); err != nil {
		return nil, []error{errorAt(d.doc, policies.Path{"spec", "matchConstraints"}, policies.AtKey, err)}
	}
	p.watchesUpdates = p.dependsOnUpdate()
	return p, nil
}

func (c *compiler) clause(at policies.Path, i int, v *admissionv1.Validation) clause {
	out := clause{
		rule:       fmt.Sprintf("validations[%d]", i),
		expression: c.compile(c.env(), at.Append("expression"), v.Expression, celgo.BoolType),
		text:       strings.TrimSpace(v.Message),
		reason:     string(metav1.StatusReasonInvalid),
	}
	if strings.TrimSpace(v.MessageExpression) != "" {
		out.message = c.message(at.Append("messageExpression"), v.MessageExpression)
	}
	if out.text == "" {
		out.text = "failed expression: " + strings.TrimSpace(v.Expression)
	}
	if v.Reason != nil {
		out.reason = string(*v.Reason)
	}
	return out
}

// dependsOnUpdate says whether an expression asks for the old object or for the operation, or the rules do.
func (p *policy) dependsOnUpdate() bool {
	all := slices.Clone(p.conditions)
	for _, e := range p.variables {
		all = append(all, e)
	}
	for i := range p.validations {
		all = append(all, p.validations[i].expression)
	}
	if slices.ContainsFunc(all, func(e *expression) bool { return e.usesOld || e.usesOperation }) {
		return true
	}
	m := p.matcher
	for _, rule := range slices.Concat(m.rules, m.excluded) {
		create := slices.Contains(rule.Operations, admissionv1.Create) || slices.Contains(rule.Operations, admissionv1.OperationAll)
		update := slices.Contains(rule.Operations, admissionv1.Update) || slices.Contains(rule.Operations, admissionv1.OperationAll)
		if create != update {
			return true
		}
	}
	return false
}

// describe collects what the document says of itself.
func (p *policy) describe(out *policies.Policy) error {
	notes := p.def.Annotations
	out.Doc = notes["kubernetes.io/description"]
	out.URL = notes["gitgate.dev/url"]
	if s := notes["gitgate.dev/severity"]; s != "" {
		out.Severity = policies.Severity(s)
		if !slices.Contains([]policies.Severity{policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical}, out.Severity) {
			return errorAt(p.def.doc, policies.Path{"metadata", "annotations", "gitgate.dev/severity"}, policies.AtValue,
				fmt.Errorf("severity %q: expected info, low, medium, high or critical", strict.Shorten(s)))
		}
	}
	for _, id := range strings.Split(notes["gitgate.dev/controls"], ",") {
		if id = strings.TrimSpace(id); id != "" {
			out.Controls = append(out.Controls, id)
		}
	}
	for i := range p.validations {
		out.Rules = append(out.Rules, p.validations[i].rule)
	}
	return nil
}

// actionOf is the strongest of a binding's actions.
func actionOf(actions []admissionv1.ValidationAction) policies.Action {
	switch {
	case slices.Contains(actions, admissionv1.Deny):
		return policies.Deny
	case slices.Contains(actions, admissionv1.Warn):
		return policies.Warn
	default:
		return policies.Audit
	}
}
