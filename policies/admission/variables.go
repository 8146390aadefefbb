package admission

import (
	"context"
	"fmt"
	"math"
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// variables is the value of "variables": each is evaluated when it is first asked for, and once. What it cost is charged to each
// stage of an evaluation that asks for it, because the API server evaluates it once a stage
// (k8s.io/apiserver/pkg/admission/plugin/cel, composition.go). It is not safe for concurrent use.
type variables struct {
	ctx      context.Context
	act      *activation
	compiled map[string]*Expression
	states   map[string]*variableState
	stage    int
	pending  int64            // cost that was not charged to an expression yet
	asking   []*variableState // those under evaluation, the innermost last
}

var _ traits.Mapper = (*variables)(nil)

type variableState struct {
	value   ref.Val
	cost    int64
	refers  []string // other variables that its evaluation asked for
	charged int      // the last stage that paid for it
}

var variablesType = types.NewObjectType("kubernetes.variables", traits.IndexerType|traits.FieldTesterType|traits.IterableType)

// compose gives the expressions of p their variables.
func (a *activation) compose(ctx context.Context, p *Program) {
	if len(p.variables) > 0 {
		a.variables = &variables{ctx: ctx, act: a, compiled: p.variables, states: make(map[string]*variableState, len(p.variables))}
	}
}

// begin starts a stage, which pays for what it asks for.
func (a *activation) begin() {
	if a.variables != nil {
		a.variables.stage++
	}
}

// take returns the cost of what was asked for since the last call.
func (v *variables) take() int64 {
	cost := v.pending
	v.pending = 0
	return cost
}

// resolve returns the value of a variable; ok is false when there is none of that name.
func (v *variables) resolve(name string) (value ref.Val, ok bool) {
	e, ok := v.compiled[name]
	if !ok {
		return nil, false
	}
	if len(v.asking) > 0 {
		asker := v.asking[len(v.asking)-1]
		asker.refers = append(asker.refers, name)
	}
	if s, seen := v.states[name]; seen {
		v.charge(s)
		return s.value, true
	}
	s := &variableState{charged: v.stage}
	v.asking = append(v.asking, s)
	s.value, s.cost = v.evaluate(name, e)
	v.asking = v.asking[:len(v.asking)-1]
	v.pending = saturate(v.pending, s.cost)
	v.states[name] = s
	return s.value, true
}

func (v *variables) charge(s *variableState) {
	if s.charged == v.stage {
		return
	}
	s.charged = v.stage
	v.pending = saturate(v.pending, s.cost)
	for _, name := range s.refers {
		v.charge(v.states[name])
	}
}

func (v *variables) evaluate(name string, e *Expression) (ref.Val, int64) {
	if v.act.Lacks(e) {
		return Unknown(NeedAssigned), 0
	}
	value, details, err := e.Program.ContextEval(v.ctx, v.act)
	if details == nil || details.ActualCost() == nil {
		return types.NewErr("unable to calculate cost of variable %q", name), 0
	}
	cost := int64(min(*details.ActualCost(), math.MaxInt64))
	if err != nil {
		return types.NewErr("composited variable %q fails to evaluate: %v", name, err), cost
	}
	return value, cost
}

func saturate(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Find implements traits.Mapper.
func (v *variables) Find(key ref.Val) (ref.Val, bool) {
	s, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), true
	}
	name, ok := apiservercel.Unescape(string(s))
	if !ok {
		return nil, false
	}
	return v.resolve(name)
}

// Get implements traits.Indexer.
func (v *variables) Get(key ref.Val) ref.Val {
	if value, ok := v.Find(key); ok {
		return value
	}
	return types.ValOrErr(key, "no such key: %v", key)
}

// Contains implements traits.Container.
func (v *variables) Contains(key ref.Val) ref.Val {
	value, found := v.Find(key)
	if value != nil && types.IsUnknownOrError(value) {
		return value
	}
	return types.Bool(found)
}

// Size implements traits.Sizer.
func (v *variables) Size() ref.Val { return types.Int(len(v.compiled)) }

// Iterator implements traits.Iterable. The type of "variables" is an object, over which no expression that compiles iterates.
func (v *variables) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, nil).Iterator()
}

// ConvertToNative implements ref.Val.
func (v *variables) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("variables cannot be converted to %s", t)
}

// ConvertToType implements ref.Val.
func (v *variables) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case variablesType:
		return v
	case types.TypeType:
		return variablesType
	}
	return types.NewErr("variables cannot be converted to %s", t.TypeName())
}

// Equal implements ref.Val.
func (v *variables) Equal(other ref.Val) ref.Val { return types.Bool(ref.Val(v) == other) }

// Type implements ref.Val.
func (v *variables) Type() ref.Type { return variablesType }

// Value implements ref.Val.
func (v *variables) Value() any { return v }
