package admission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types/traits"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"gitgate.dev/gitgate/policies"
)

// Source is the expressions of a policy as they are written, and where. Blank ones are left out, as something that was told before.
type Source struct {
	Name         string // of the policy, which audit annotations begin with
	Params       bool   // expressions may refer to params
	Hidden       bool   // of Params: variables alone may, as Gatekeeper has it
	Composed     bool   // match conditions may refer to variables, as Gatekeeper has it
	Budget       int64  // what the validations may cost; 0 for the API server's RuntimeCELCostBudget
	IgnoreErrors bool   // failurePolicy is Ignore
	Fix          string // told with each violation; may be ""

	Conditions  []admissionv1.MatchCondition
	Implied     []admissionv1.Variable // before Variables, and not in the document
	Variables   []admissionv1.Variable
	Validations []admissionv1.Validation
	Annotations []admissionv1.AuditAnnotation

	// Where the lists stand in the document.
	ConditionsAt, VariablesAt, ValidationsAt, AnnotationsAt policies.Path
}

// Program is the expressions of a policy, compiled as the API server compiles those of a ValidatingAdmissionPolicy. It is immutable
// and safe for concurrent use.
type Program struct {
	name           string
	fix            string
	ignoreErrors   bool
	composed       bool // match conditions see variables
	budget         int64
	conditions     []*Expression
	conditionNames []string
	variables      map[string]*Expression
	validations    []clause
	validationsAt  policies.Path
	messageCount   int // validations that have a message expression
	annotations    []annotation
}

type clause struct {
	rule       string // validations[0]
	expression *Expression
	message    *Expression // nil without one
	text       string      // the message when there is no better one
	reason     string
}

type annotation struct {
	key        string
	expression *Expression
}

// Compile compiles all expressions of a policy, which stand in doc. The errors are all that is wrong with them, each at its place;
// there is no Program then.
func (e *Environments) Compile(doc *policies.Object, s *Source) (*Program, []error) {
	c, err := newCompiler(e, doc, s)
	if err != nil {
		return nil, []error{policies.ErrorAt(doc.Locate(nil, policies.AtValue), err)}
	}
	p := &Program{
		name: s.Name, fix: s.Fix, ignoreErrors: s.IgnoreErrors, composed: s.Composed, budget: cmp.Or(s.Budget, celconfig.RuntimeCELCostBudget),
		validationsAt: s.ValidationsAt,
	}
	p.variables = make(map[string]*Expression, len(s.Implied)+len(s.Variables))
	for _, v := range s.Implied {
		p.variables[v.Name] = c.variable(s.VariablesAt, v.Name, v.Expression)
	}
	for i, v := range s.Variables {
		p.variables[v.Name] = c.variable(s.VariablesAt.Append(i, "expression"), v.Name, v.Expression)
	}
	conditions := c.stateless
	if s.Composed {
		conditions = c.env()
	}
	for i, condition := range s.Conditions {
		p.conditions = append(p.conditions, c.compile(conditions, s.ConditionsAt.Append(i, "expression"), condition.Expression, celgo.BoolType))
		p.conditionNames = append(p.conditionNames, condition.Name)
	}
	for i := range s.Validations {
		p.validations = append(p.validations, c.clause(s.ValidationsAt, i, &s.Validations[i]))
		if p.validations[i].message != nil {
			p.messageCount++
		}
	}
	for i, a := range s.Annotations {
		e := c.compile(c.env(), s.AnnotationsAt.Append(i, "valueExpression"), a.ValueExpression, celgo.StringType, celgo.NullType)
		p.annotations = append(p.annotations, annotation{a.Key, e})
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return p, nil
}

// Rules lists the ids of the rules that violations can carry.
func (p *Program) Rules() []string {
	rules := make([]string, len(p.validations))
	for i := range p.validations {
		rules[i] = p.validations[i].rule
	}
	return rules
}

// WatchesUpdates says whether the answer may differ between a creation and an update of the same object: an expression asks for
// the old object or for the operation.
func (p *Program) WatchesUpdates() bool {
	all := slices.Clone(p.conditions)
	for _, e := range p.variables {
		all = append(all, e)
	}
	for i := range p.validations {
		all = append(all, p.validations[i].expression)
	}
	return slices.ContainsFunc(all, func(e *Expression) bool { return e.UsesOld || e.UsesOperation })
}

// compiler compiles the expressions of one policy and collects what is wrong with them.
type compiler struct {
	doc       *policies.Object
	stateless *celgo.Env
	composed  *celgo.Env             // nil when the policy has no variables
	inside    *celgo.Env             // of the variables themselves
	variables *apiservercel.DeclType // type of "variables", which grows as they are compiled
	errs      []error
}

func newCompiler(envs *Environments, doc *policies.Object, s *Source) (*compiler, error) {
	c := &compiler{doc: doc}
	var err error
	outside := s.Params && !s.Hidden
	if c.stateless, err = envs.stateless(outside); err != nil {
		return nil, err
	}
	if len(s.Implied)+len(s.Variables) > 0 {
		c.variables = apiservercel.NewObjectType("kubernetes.variables", map[string]*apiservercel.DeclField{})
		if c.composed, err = envs.composed(outside, c.variables); err != nil {
			return nil, err
		}
		if c.inside = c.composed; outside != s.Params {
			if c.inside, err = envs.composed(s.Params, c.variables); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// env is where all but match conditions are compiled: those may not refer to variables.
func (c *compiler) env() *celgo.Env {
	if c.composed != nil {
		return c.composed
	}
	return c.stateless
}

// variable compiles a variable and lets what is compiled after it refer to it. It returns nil for one that is wrong, which is of
// no certain type then.
func (c *compiler) variable(path policies.Path, name, source string) *Expression {
	e := c.compile(c.inside, path, source)
	output := celgo.DynType
	if e != nil {
		output = e.Checked.OutputType()
	}
	c.variables.Fields[name] = apiservercel.NewDeclField(name, declTypeOf(output), true, nil, nil)
	return e
}

// compile returns nil when the expression is wrong, or blank.
func (c *compiler) compile(env *celgo.Env, path policies.Path, source string, results ...*celgo.Type) *Expression {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	e, errs := Compile(c.doc, env, path, source, limits(), results...)
	c.errs = append(c.errs, errs...)
	return e
}

// limits are those of the API server.
func limits() []celgo.ProgramOption {
	return []celgo.ProgramOption{celgo.InterruptCheckFrequency(celconfig.CheckFrequency)}
}

func (c *compiler) clause(list policies.Path, i int, v *admissionv1.Validation) clause {
	at := list.Append(i)
	out := clause{
		rule:       fmt.Sprintf("%v[%d]", list[len(list)-1], i),
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

// message compiles a messageExpression, which the API server evaluates without an authorizer.
func (c *compiler) message(path policies.Path, source string) *Expression {
	e := c.compile(c.env(), path, source, celgo.StringType)
	if e == nil {
		return nil
	}
	refused := false
	visit(e.Checked, func(x ast.Expr) {
		if x.Kind() == ast.IdentKind && strings.HasPrefix(identOf(e.Checked, x), admissioncel.AuthorizerVarName) {
			at := e.Checked.NativeRep().SourceInfo().GetStartLocation(x.ID())
			pos := c.doc.LocateInside(path, source, at.Line(), at.Column())
			c.errs = append(c.errs, policies.ErrorAt(pos, fmt.Errorf("%s: undeclared reference to 'authorizer', which message expressions may not use", path)))
			refused = true
		}
	})
	if refused {
		return nil
	}
	return e
}

// declTypeOf turns the type of a variable's expression into that of a field, as composition.go of the API server does: what has
// no counterpart is dynamic.
func declTypeOf(t *celgo.Type) *apiservercel.DeclType {
	switch t {
	case celgo.AnyType:
		return apiservercel.AnyType
	case celgo.BoolType:
		return apiservercel.BoolType
	case celgo.BytesType:
		return apiservercel.BytesType
	case celgo.DoubleType:
		return apiservercel.DoubleType
	case celgo.DurationType:
		return apiservercel.DurationType
	case celgo.IntType:
		return apiservercel.IntType
	case celgo.NullType:
		return apiservercel.NullType
	case celgo.StringType:
		return apiservercel.StringType
	case celgo.TimestampType:
		return apiservercel.TimestampType
	case celgo.UintType:
		return apiservercel.UintType
	}
	if t.HasTrait(traits.ContainerType) && t.HasTrait(traits.IndexerType) {
		switch parameters := t.Parameters(); len(parameters) {
		case 1:
			return apiservercel.NewListType(declTypeOf(parameters[0]), -1)
		case 2:
			return apiservercel.NewMapType(declTypeOf(parameters[0]), declTypeOf(parameters[1]), -1)
		}
	}
	return apiservercel.DynType
}
