package cel

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"gitgate.dev/gitgate/policies"
)

// expression is one compiled CEL expression of a policy.
type expression struct {
	path    policies.Path // where it stands in its document: spec.validations[0].expression
	source  string
	env     *celgo.Env
	checked *celgo.Ast
	program celgo.Program

	usesOld       bool     // refers to oldObject
	usesOperation bool     // refers to what of the request depends on whether it creates or updates
	assigned      []string // fields of the object's metadata that it refers to and the API server fills in

	parts sync.Map // id of a part -> celgo.Program, made when a field to blame is looked for
}

// compiler compiles the expressions of one policy and collects what is wrong with them.
type compiler struct {
	doc       *policies.Object
	stateless *celgo.Env
	composed  *celgo.Env             // nil when the policy has no variables
	variables *apiservercel.DeclType // type of "variables", which grows as they are compiled
	errs      []error
}

func newCompiler(envs *environments, d *definition) (*compiler, error) {
	params := d.Spec.ParamKind != nil
	c := &compiler{doc: d.doc}
	var err error
	if c.stateless, err = envs.stateless(params); err != nil {
		return nil, err
	}
	if len(d.Spec.Variables) > 0 {
		c.variables = apiservercel.NewObjectType("kubernetes.variables", map[string]*apiservercel.DeclField{})
		if c.composed, err = envs.composed(params, c.variables); err != nil {
			return nil, err
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
func (c *compiler) variable(path policies.Path, name, source string) *expression {
	e := c.compile(c.env(), path, source)
	output := celgo.DynType
	if e != nil {
		output = e.checked.OutputType()
	}
	c.variables.Fields[name] = apiservercel.NewDeclField(name, declTypeOf(output), true, nil, nil)
	return e
}

// compile returns nil when the expression is wrong. Blank expressions were told of before.
func (c *compiler) compile(env *celgo.Env, path policies.Path, source string, results ...*celgo.Type) *expression {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		for _, issue := range issues.Errors() {
			pos := c.doc.LocateInside(path, source, issue.Location.Line(), issue.Location.Column())
			c.errs = append(c.errs, policies.ErrorAt(pos, fmt.Errorf("%s: %s", path, issue.Message)))
		}
		return nil
	}
	output := checked.OutputType()
	if len(results) > 0 && !slices.ContainsFunc(results, output.IsExactType) {
		names := make([]string, len(results))
		for i, t := range results {
			names[i] = t.String()
		}
		c.fail(path, fmt.Errorf("%s is of type %s: expected %s", path, output, strings.Join(names, " or ")))
		return nil
	}
	run, err := program(env, checked)
	if err != nil {
		c.fail(path, fmt.Errorf("%s: %w", path, err))
		return nil
	}
	e := &expression{path: path, source: source, env: env, checked: checked, program: run}
	e.look()
	return e
}

// message compiles a messageExpression, which the API server evaluates without an authorizer.
func (c *compiler) message(path policies.Path, source string) *expression {
	e := c.compile(c.env(), path, source, celgo.StringType)
	if e == nil {
		return nil
	}
	refused := false
	visit(e.checked, func(x ast.Expr) {
		if x.Kind() == ast.IdentKind && strings.HasPrefix(identOf(e.checked, x), admissioncel.AuthorizerVarName) {
			at := e.checked.NativeRep().SourceInfo().GetStartLocation(x.ID())
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

func (c *compiler) fail(path policies.Path, err error) {
	c.errs = append(c.errs, errorAt(c.doc, path, policies.AtValue, err))
}

// look finds out what the expression refers to.
func (e *expression) look() {
	inside := map[int64]bool{} // identifiers that a select was seen around
	visit(e.checked, func(x ast.Expr) {
		switch x.Kind() {
		case ast.SelectKind:
			e.noteAssigned(x.AsSelect().Operand(), x.AsSelect().FieldName())
			operand := x.AsSelect().Operand()
			if operand.Kind() == ast.IdentKind && identOf(e.checked, operand) == admissioncel.RequestVarName {
				inside[operand.ID()] = true
				switch x.AsSelect().FieldName() {
				case "operation", "options":
					e.usesOperation = true
				}
			}
		case ast.CallKind:
			args := x.AsCall().Args()
			if x.AsCall().FunctionName() == operators.OptSelect && args[1].Kind() == ast.LiteralKind {
				if field, ok := args[1].AsLiteral().(types.String); ok {
					e.noteAssigned(args[0], string(field))
				}
			}
		case ast.IdentKind:
			switch identOf(e.checked, x) {
			case admissioncel.OldObjectVarName:
				e.usesOld = true
			case admissioncel.RequestVarName:
				e.usesOperation = e.usesOperation || !inside[x.ID()]
			}
		}
	})
}

// noteAssigned notes a selection from object.metadata of what the API server fills in before it asks policies.
func (e *expression) noteAssigned(operand ast.Expr, field string) {
	switch field {
	case "uid", "creationTimestamp", "generation", "managedFields":
	default:
		return
	}
	if operand.Kind() != ast.SelectKind || operand.AsSelect().FieldName() != "metadata" {
		return
	}
	root := operand.AsSelect().Operand()
	if root.Kind() == ast.IdentKind && (identOf(e.checked, root) == admissioncel.ObjectVarName || identOf(e.checked, root) == admissioncel.OldObjectVarName) {
		e.assigned = append(e.assigned, field)
	}
}

// visit calls f with every node, parents first.
func visit(a *celgo.Ast, f func(ast.Expr)) {
	ast.PreOrderVisit(a.NativeRep().Expr(), ast.NewExprVisitor(f))
}

// identOf is the name of the variable that an identifier refers to.
func identOf(a *celgo.Ast, x ast.Expr) string {
	if ref, ok := a.NativeRep().ReferenceMap()[x.ID()]; ok && ref.Name != "" {
		return strings.TrimPrefix(ref.Name, ".")
	}
	return x.AsIdent()
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
