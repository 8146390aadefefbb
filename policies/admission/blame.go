package admission

import (
	"context"
	"maps"
	"slices"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"gitgate.dev/gitgate/policies"
)

// Surroundings are what an expression was evaluated in.
type Surroundings struct {
	Activation celgo.Activation
	Variables  map[string]*Expression // what "variables.x" stands for
	Root       string                 // the variable that a violation is about: object, or oldObject of a deletion
	Content    map[string]any         // its value
}

// Blame finds the field of the object that made e false, so that a violation can point at it: it goes down to the part of the
// expression that decided, and into the list item that broke it. nil stands for the whole object, where no one field is to blame.
func Blame(ctx context.Context, e *Expression, in Surroundings) policies.Path {
	b := &blamer{ctx: ctx, Surroundings: in, left: maxBlame}
	path, _ := b.of(e, e.Checked.NativeRep().Expr(), nil, false)
	return path
}

// blame is Blame of a part of p.
func (a *activation) blame(ctx context.Context, p *Program, e *Expression) policies.Path {
	in := Surroundings{Activation: a, Variables: p.variables, Root: admissioncel.ObjectVarName}
	in.Content, _ = a.Object.(map[string]any)
	if a.Object == nil {
		in.Root = admissioncel.OldObjectVarName
		in.Content, _ = a.OldObject.(map[string]any)
	}
	path := Blame(ctx, e, in)
	if a.variables != nil {
		a.variables.take() // the search is not the policy's cost
	}
	return path
}

// What the search for a field may take: parts of the expression that are looked at or evaluated, and the cost of evaluating them.
const (
	maxBlame     = 5000
	maxBlameCost = celconfig.PerCallLimit
)

type blamer struct {
	Surroundings
	ctx  context.Context
	left int
	cost uint64
}

// scope binds iteration variables, each to its value and, where it is known, to the place in the object that it comes from.
type scope struct {
	outer  *scope
	name   string
	value  any
	path   policies.Path
	placed bool // path is known
}

func (s *scope) find(name string) *scope {
	for ; s != nil; s = s.outer {
		if s.name == name {
			return s
		}
	}
	return nil
}

// spend counts one step of the search, and says whether it may go on.
func (b *blamer) spend() bool {
	b.left--
	return b.left > 0 && b.cost < maxBlameCost && b.ctx.Err() == nil
}

// of returns the place that makes x, a part of e, have the given boolean value. ok is false when there is none.
func (b *blamer) of(e *Expression, x ast.Expr, s *scope, value bool) (path policies.Path, ok bool) {
	if !b.spend() {
		return nil, false
	}
	switch x.Kind() {
	case ast.CallKind:
		return b.ofCall(e, x, s, value)
	case ast.ComprehensionKind:
		return b.ofComprehension(e, x, s, value)
	case ast.SelectKind:
		if v := b.variable(e, x); v != nil {
			return b.of(v, v.Checked.NativeRep().Expr(), nil, value)
		}
	}
	return b.mentioned(e, x, s)
}

func (b *blamer) ofCall(e *Expression, x ast.Expr, s *scope, value bool) (policies.Path, bool) {
	args := x.AsCall().Args()
	switch x.AsCall().FunctionName() {
	case operators.LogicalNot:
		return b.of(e, args[0], s, !value)
	case operators.LogicalAnd, operators.LogicalOr:
		decides := x.AsCall().FunctionName() == operators.LogicalOr // the value of one part that decides the whole
		if value == decides {
			for _, arg := range args {
				if v, ok := b.truth(e, arg, s); ok && v == decides {
					return b.of(e, arg, s, decides)
				}
			}
			return nil, false
		}
		var paths []policies.Path
		for _, arg := range args {
			path, ok := b.of(e, arg, s, value)
			if !ok {
				continue
			}
			paths = append(paths, path)
		}
		return merge(paths)
	case operators.Conditional:
		condition, ok := b.truth(e, args[0], s)
		if !ok {
			break
		}
		branch := args[2]
		if condition {
			branch = args[1]
		}
		if branch.Kind() == ast.LiteralKind {
			return b.of(e, args[0], s, condition) // "x ? true : false" says no more than x
		}
		return b.of(e, branch, s, value)
	}
	return b.mentioned(e, x, s)
}

// ofComprehension goes into the item that decided: the first for which "all" fails or "exists" holds.
func (b *blamer) ofComprehension(e *Expression, x ast.Expr, s *scope, value bool) (policies.Path, bool) {
	c := x.AsComprehension()
	if body, inner, ok := b.binding(e, x, s); ok {
		return b.of(e, body, inner, value)
	}
	predicate, decides, ok := quantifier(c)
	if !ok || value != decides {
		return b.mentioned(e, c.IterRange(), s)
	}
	items, ok := b.items(e, c.IterRange(), s)
	if !ok {
		return b.mentioned(e, c.IterRange(), s)
	}
	for _, item := range items {
		inner := item.bind(c, s)
		if v, ok := b.truth(e, predicate, inner); !ok || v != decides {
			if !b.spend() {
				break
			}
			continue
		}
		path, ok := b.of(e, predicate, inner, decides)
		if !ok || item.placed && !hasPrefix(path, item.path) {
			return item.path, item.placed
		}
		return path, true
	}
	return b.mentioned(e, c.IterRange(), s)
}

// quantifier recognises the macros all (which one false item decides) and exists (which one true item does).
func quantifier(c ast.ComprehensionExpr) (predicate ast.Expr, decides, ok bool) {
	step := c.LoopStep()
	if step.Kind() != ast.CallKind || c.Result().Kind() != ast.IdentKind || c.Result().AsIdent() != c.AccuVar() {
		return nil, false, false
	}
	args := step.AsCall().Args()
	if len(args) != 2 || args[0].Kind() != ast.IdentKind || args[0].AsIdent() != c.AccuVar() {
		return nil, false, false
	}
	switch step.AsCall().FunctionName() {
	case operators.LogicalAnd:
		return args[1], false, true
	case operators.LogicalOr:
		return args[1], true, true
	}
	return nil, false, false
}

// binding recognises what optMap and optFlatMap bind a name with, and returns the body and its scope.
func (b *blamer) binding(e *Expression, x ast.Expr, s *scope) (body ast.Expr, inner *scope, ok bool) {
	c := x.AsComprehension()
	if c.IterRange().Kind() != ast.ListKind || c.IterRange().AsList().Size() != 0 {
		return nil, nil, false
	}
	v, ok := b.value(e, c.AccuInit(), s)
	if !ok {
		return nil, nil, false
	}
	inner = &scope{outer: s, name: c.AccuVar(), value: v}
	inner.path, inner.placed = b.place(e, c.AccuInit(), s)
	return c.Result(), inner, true
}

// truth evaluates a boolean part of e.
func (b *blamer) truth(e *Expression, x ast.Expr, s *scope) (value, ok bool) {
	v, ok := b.value(e, x, s)
	if !ok {
		return false, false
	}
	truth, ok := v.(types.Bool)
	return bool(truth), ok
}

// value evaluates a part of e, with the API server's limits.
func (b *blamer) value(e *Expression, x ast.Expr, s *scope) (ref.Val, bool) {
	if !b.spend() {
		return nil, false
	}
	run := e.part(x)
	if run == nil {
		return nil, false
	}
	act := b.Activation
	if s != nil {
		act = &local{act, s}
	}
	v, details, err := run.ContextEval(b.ctx, act)
	if cost := details.ActualCost(); cost != nil {
		b.cost += *cost
	}
	if err != nil || types.IsUnknownOrError(v) {
		return nil, false
	}
	return v, true
}

// local is an activation inside macros.
type local struct {
	celgo.Activation
	scope *scope
}

// ResolveName implements the activation of CEL.
func (l *local) ResolveName(name string) (any, bool) {
	if bound := l.scope.find(name); bound != nil {
		return bound.value, true
	}
	return l.Activation.ResolveName(name)
}

// part makes a part of the expression ready to run, once. It returns nil when that cannot be done.
func (e *Expression) part(x ast.Expr) celgo.Program {
	if known, ok := e.parts.Load(x.ID()); ok {
		run, _ := known.(celgo.Program)
		return run
	}
	whole := e.Checked.NativeRep()
	tree := ast.NewCheckedAST(ast.NewAST(x, whole.SourceInfo()), whole.TypeMap(), whole.ReferenceMap())
	run, err := e.Env.PlanProgram(tree, limits()...)
	if err != nil {
		run = nil
	}
	e.parts.Store(x.ID(), run)
	return run
}

// merge finds the one place that several are about: the deepest, where the others lie on the way to it, or what holds them all.
func merge(paths []policies.Path) (policies.Path, bool) {
	if len(paths) == 0 {
		return nil, false
	}
	longest := slices.MaxFunc(paths, func(a, b policies.Path) int { return len(a) - len(b) })
	common := longest
	for _, p := range paths {
		if hasPrefix(longest, p) {
			continue
		}
		n := 0
		for n < len(common) && n < len(p) && common[n] == p[n] {
			n++
		}
		common = common[:n]
	}
	return common, len(common) > 0
}

func hasPrefix(path, prefix policies.Path) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

// sortedKeys lists the keys of a map so that the same object is always told the same way.
func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
