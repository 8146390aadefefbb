package admission

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"gitgate.dev/gitgate/policies"
)

// kyvernoOrValue is the function that a macro of Kyverno's puts in the place of orValue; what that is called on is its first
// argument.
const kyvernoOrValue = "__orValueCompat__"

// item is one element that a macro goes over.
type item struct {
	key    any // index of a list, or key of a map
	value  any
	isMap  bool
	path   policies.Path
	placed bool
}

// bind gives the iteration variables of a macro their values for the item.
func (i item) bind(c ast.ComprehensionExpr, outer *scope) *scope {
	element := &scope{outer: outer, name: c.IterVar(), value: i.value, path: i.path, placed: i.placed}
	if c.HasIterVar2() {
		element.name = c.IterVar2()
		return &scope{outer: element, name: c.IterVar(), value: i.key}
	}
	if i.isMap {
		element.value = i.key
	}
	return element
}

// mentioned returns the place that x speaks of: of all fields of the object that it names, the one that merge finds.
func (b *blamer) mentioned(e *Expression, x ast.Expr, s *scope) (policies.Path, bool) {
	return merge(b.places(e, x, s, nil))
}

func (b *blamer) places(e *Expression, x ast.Expr, s *scope, into []policies.Path) []policies.Path {
	if !b.spend() {
		return into
	}
	if path, ok := b.place(e, x, s); ok {
		return append(into, path)
	}
	switch x.Kind() {
	case ast.SelectKind:
		if v := b.variable(e, x); v != nil {
			return b.places(v, v.Checked.NativeRep().Expr(), nil, into)
		}
		return b.places(e, x.AsSelect().Operand(), s, into)
	case ast.CallKind:
		call := x.AsCall()
		if call.IsMemberFunction() {
			into = b.places(e, call.Target(), s, into)
		}
		for _, arg := range call.Args() {
			into = b.places(e, arg, s, into)
		}
	case ast.ListKind:
		for _, element := range x.AsList().Elements() {
			into = b.places(e, element, s, into)
		}
	case ast.ComprehensionKind:
		c := x.AsComprehension()
		if body, inner, ok := b.binding(e, x, s); ok {
			return b.places(e, body, inner, into)
		}
		into = b.places(e, c.IterRange(), s, into)
	}
	return into
}

// place returns the field of the object that x is, when it is one: a chain of selections that begins at the object, at an
// iteration variable, or at a variable that is one.
func (b *blamer) place(e *Expression, x ast.Expr, s *scope) (policies.Path, bool) {
	if !b.spend() {
		return nil, false
	}
	switch x.Kind() {
	case ast.IdentKind:
		if bound := s.find(x.AsIdent()); bound != nil {
			return bound.path, bound.placed
		}
		if identOf(e.Checked, x) == b.Root {
			return policies.Path{}, true
		}
	case ast.SelectKind:
		if v := b.variable(e, x); v != nil {
			return b.place(v, v.Checked.NativeRep().Expr(), nil)
		}
		field := x.AsSelect().FieldName()
		if plain, ok := apiservercel.Unescape(field); ok {
			field = plain
		}
		return b.step(e, x.AsSelect().Operand(), s, field)
	case ast.CallKind:
		call := x.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			if key, ok := b.value(e, args[1], s); ok {
				switch key := key.(type) {
				case types.String:
					return b.step(e, args[0], s, string(key))
				case types.Int:
					return b.step(e, args[0], s, int(key))
				}
			}
		case "orValue", "value", "or":
			if call.IsMemberFunction() {
				return b.place(e, call.Target(), s)
			}
		case operators.Conditional:
			if condition, ok := b.truth(e, args[0], s); ok && condition {
				return b.place(e, args[1], s)
			} else if ok {
				return b.place(e, args[2], s)
			}
		case "dyn", kyvernoOrValue:
			return b.place(e, args[0], s)
		}
	}
	return nil, false
}

func (b *blamer) step(e *Expression, operand ast.Expr, s *scope, step any) (policies.Path, bool) {
	path, ok := b.place(e, operand, s)
	if !ok {
		return nil, false
	}
	return path.Append(step), true
}

// variable returns the expression of "variables.x".
func (b *blamer) variable(e *Expression, x ast.Expr) *Expression {
	operand := x.AsSelect().Operand()
	if x.AsSelect().IsTestOnly() || operand.Kind() != ast.IdentKind || identOf(e.Checked, operand) != admissioncel.VariableVarName {
		return nil
	}
	name, ok := apiservercel.Unescape(x.AsSelect().FieldName())
	if !ok {
		return nil
	}
	return b.Variables[name]
}

// items lists what a macro goes over, each with the place that it comes from where that can be followed.
func (b *blamer) items(e *Expression, x ast.Expr, s *scope) ([]item, bool) {
	v, ok := b.value(e, x, s)
	if !ok {
		return nil, false
	}
	if path, ok := b.place(e, x, s); ok {
		if content, found := policies.Lookup(b.Content, path); found {
			if m, isMap := content.(map[string]any); isMap {
				items := make([]item, 0, len(m))
				for _, key := range sortedKeys(m) {
					items = append(items, item{key: key, value: m[key], isMap: true, path: path.Append(key), placed: true})
				}
				return items, true
			}
		}
	}
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, false
	}
	n, ok := list.Size().(types.Int)
	if !ok || int(n) > b.left {
		return nil, false
	}
	paths, ok := b.elements(e, x, s)
	placed := ok && len(paths) == int(n)
	items := make([]item, n)
	for i := range items {
		items[i] = item{key: int64(i), value: list.Get(types.Int(i))}
		if placed && paths[i] != nil {
			items[i].path, items[i].placed = paths[i], true
		}
	}
	return items, true
}

// elements follows where the elements of a list come from: fields of the object, lists put together or filtered. A nil path
// stands for an element that comes from nowhere in the object.
func (b *blamer) elements(e *Expression, x ast.Expr, s *scope) ([]policies.Path, bool) {
	if !b.spend() {
		return nil, false
	}
	if path, ok := b.place(e, x, s); ok {
		content, _ := policies.Lookup(b.Content, path)
		if list, ok := content.([]any); ok {
			paths := make([]policies.Path, len(list))
			for i := range list {
				paths[i] = path.Append(i)
			}
			return paths, true
		}
	}
	switch x.Kind() {
	case ast.SelectKind:
		if v := b.variable(e, x); v != nil {
			return b.elements(v, v.Checked.NativeRep().Expr(), nil)
		}
	case ast.ListKind:
		paths := make([]policies.Path, 0, x.AsList().Size())
		for _, element := range x.AsList().Elements() {
			path, _ := b.place(e, element, s)
			paths = append(paths, path)
		}
		return paths, len(x.AsList().OptionalIndices()) == 0
	case ast.CallKind:
		return b.elementsOfCall(e, x.AsCall(), s)
	case ast.ComprehensionKind:
		return b.elementsOfMacro(e, x, s)
	}
	return nil, false
}

func (b *blamer) elementsOfCall(e *Expression, call ast.CallExpr, s *scope) ([]policies.Path, bool) {
	args := call.Args()
	switch call.FunctionName() {
	case operators.Add:
		left, ok := b.elements(e, args[0], s)
		if !ok {
			return nil, false
		}
		right, ok := b.elements(e, args[1], s)
		return append(left, right...), ok
	case operators.Conditional:
		if v, ok := b.truth(e, args[0], s); ok {
			if v {
				return b.elements(e, args[1], s)
			}
			return b.elements(e, args[2], s)
		}
	case "orValue":
		// The field is not there, or elements had found it.
		return b.elements(e, args[0], s)
	case kyvernoOrValue:
		return b.elements(e, args[1], s)
	}
	return nil, false
}

// elementsOfMacro follows filter and map.
func (b *blamer) elementsOfMacro(e *Expression, x ast.Expr, s *scope) ([]policies.Path, bool) {
	if body, inner, ok := b.binding(e, x, s); ok {
		return b.elements(e, body, inner)
	}
	c := x.AsComprehension()
	condition, element, ok := collector(c)
	if !ok {
		return nil, false
	}
	items, ok := b.items(e, c.IterRange(), s)
	if !ok {
		return nil, false
	}
	var paths []policies.Path
	for _, item := range items {
		inner := item.bind(c, s)
		if condition != nil {
			v, ok := b.truth(e, condition, inner)
			if !ok {
				return nil, false
			}
			if !v {
				continue
			}
		}
		path, ok := b.place(e, element, inner)
		if !ok && item.placed {
			path = item.path
		}
		paths = append(paths, path)
	}
	return paths, true
}

// collector recognises the macros filter and map: what an element has to fulfil (nil for nothing), and what it becomes.
func collector(c ast.ComprehensionExpr) (condition, element ast.Expr, ok bool) {
	if c.AccuInit().Kind() != ast.ListKind || c.LoopStep().Kind() != ast.CallKind {
		return nil, nil, false
	}
	step := c.LoopStep().AsCall()
	if step.FunctionName() == operators.Conditional {
		condition = step.Args()[0]
		if step.Args()[1].Kind() != ast.CallKind {
			return nil, nil, false
		}
		step = step.Args()[1].AsCall()
	}
	if step.FunctionName() != operators.Add || len(step.Args()) != 2 || step.Args()[1].Kind() != ast.ListKind || step.Args()[1].AsList().Size() != 1 {
		return nil, nil, false
	}
	return condition, step.Args()[1].AsList().Elements()[0], true
}
