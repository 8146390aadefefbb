package admission

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"

	"gitgate.dev/gitgate/policies"
)

// Expression is one compiled CEL expression of a policy.
type Expression struct {
	Path    policies.Path // where it stands in its document: spec.validations[0].expression
	Source  string
	Env     *celgo.Env
	Checked *celgo.Ast
	Program celgo.Program

	UsesOld       bool     // refers to oldObject
	UsesOperation bool     // refers to what of the request depends on whether it creates or updates
	Assigned      []string // fields of the object's metadata that it refers to and the API server fills in

	parts sync.Map // id of a part -> celgo.Program, made when a field to blame is looked for
}

// Compile compiles a CEL expression that stands at path in doc, and makes it ready to run with the given options. Each error is at
// its place in the expression. results are the types of which its value may be; none means any.
func Compile(doc *policies.Object, env *celgo.Env, path policies.Path, source string, options []celgo.ProgramOption, results ...*celgo.Type) (*Expression, []error) {
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		var errs []error
		for _, issue := range issues.Errors() {
			pos := doc.LocateInside(path, source, issue.Location.Line(), issue.Location.Column())
			errs = append(errs, policies.ErrorAt(pos, fmt.Errorf("%s: %s", path, issue.Message)))
		}
		return nil, errs
	}
	wrong := func(err error) (*Expression, []error) {
		return nil, []error{policies.ErrorAt(doc.Locate(path, policies.AtValue), err)}
	}
	output := checked.OutputType()
	if len(results) > 0 && !slices.ContainsFunc(results, output.IsExactType) {
		names := make([]string, len(results))
		for i, t := range results {
			names[i] = t.String()
		}
		return wrong(fmt.Errorf("%s is of type %s: expected %s", path, output, strings.Join(names, " or ")))
	}
	run, err := env.Program(checked, options...)
	if err != nil {
		return wrong(fmt.Errorf("%s: %w", path, err))
	}
	e := &Expression{Path: path, Source: source, Env: env, Checked: checked, Program: run}
	e.look()
	return e, nil
}

// look finds out what the expression refers to.
func (e *Expression) look() {
	inside := map[int64]bool{} // identifiers that a select was seen around
	visit(e.Checked, func(x ast.Expr) {
		switch x.Kind() {
		case ast.SelectKind:
			e.noteAssigned(x.AsSelect().Operand(), x.AsSelect().FieldName())
			operand := x.AsSelect().Operand()
			if operand.Kind() == ast.IdentKind && identOf(e.Checked, operand) == admissioncel.RequestVarName {
				inside[operand.ID()] = true
				switch x.AsSelect().FieldName() {
				case "operation", "options":
					e.UsesOperation = true
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
			switch identOf(e.Checked, x) {
			case admissioncel.OldObjectVarName:
				e.UsesOld = true
			case admissioncel.RequestVarName:
				e.UsesOperation = e.UsesOperation || !inside[x.ID()]
			}
		}
	})
}

// noteAssigned notes a selection from object.metadata of what the API server fills in before it asks policies.
func (e *Expression) noteAssigned(operand ast.Expr, field string) {
	switch field {
	case "uid", "creationTimestamp", "generation", "managedFields":
	default:
		return
	}
	if operand.Kind() != ast.SelectKind || operand.AsSelect().FieldName() != "metadata" {
		return
	}
	root := operand.AsSelect().Operand()
	if root.Kind() == ast.IdentKind && (identOf(e.Checked, root) == admissioncel.ObjectVarName || identOf(e.Checked, root) == admissioncel.OldObjectVarName) {
		e.Assigned = append(e.Assigned, field)
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
