package celpolicy

import (
	"fmt"
	"maps"
	"reflect"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// inputs are the variables of a request, made once for all policies that see it alike.
type inputs struct {
	object, oldObject any
	namespaceObject   any
	admissionRequest  func() map[string]any // made once it is asked for; nil for what no API server sees

	shared  *admission.Inputs // nil for what no API server sees
	content map[string]any    // what a violation is about
	root    string            // its variable
}

type inputsKey struct {
	operation policies.Operation
	oldKnown  bool
	as        admission.Target
}

// inputsOf makes the variables for policies that see the request as the given target. They are those of the API server, but for
// what Kyverno has in place of no object: an empty one.
func inputsOf(r *admission.Request, as admission.Target, convert admission.Converter) (*inputs, error) {
	v, err := r.Change.Derive(inputsKey{r.Operation, r.OldKnown, as}, func() (any, error) {
		shared, err := admission.InputsOf(r, as, convert)
		if err != nil {
			return nil, err
		}
		in := &inputs{object: shared.Object, oldObject: shared.OldObject, namespaceObject: shared.Namespace, shared: shared, root: admissioncel.ObjectVarName}
		if in.content, _ = in.object.(map[string]any); in.content == nil {
			in.root = admissioncel.OldObjectVarName
			in.content, _ = in.oldObject.(map[string]any)
		}
		object, old := in.object, in.oldObject
		in.admissionRequest = sync.OnceValue(func() map[string]any {
			request := maps.Clone(shared.Request())
			if object != nil {
				request[admissioncel.ObjectVarName] = object
			}
			if old != nil {
				request[admissioncel.OldObjectVarName] = old
			}
			return request
		})
		if object == nil {
			in.object = map[string]any{}
		}
		if old == nil {
			in.oldObject = map[string]any{}
		}
		return in, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*inputs), nil
}

// lacks says whether e refers to what the API server has filled into the object when it asks policies, and this object, which it
// has not seen yet, does not have.
func (ev *evaluation) lacks(e *admission.Expression) bool {
	return ev.shared != nil && ev.program.policy.options.Answers == nil && ev.shared.Lacks(e)
}

// ResolveName implements the activation of CEL.
func (ev *evaluation) ResolveName(name string) (any, bool) {
	switch name {
	case admissioncel.ObjectVarName:
		return ev.object, true
	case admissioncel.OldObjectVarName:
		return ev.oldObject, true
	case admissioncel.RequestVarName:
		if ev.admissionRequest == nil {
			return map[string]any(nil), true
		}
		return ev.admissionRequest(), true
	case admissioncel.NamespaceVarName:
		return ev.namespaceObject, true
	case admissioncel.VariableVarName:
		return ev.variables, ev.variables != nil
	case exceptionsVariable:
		return ev.exceptions, ev.exceptions != nil
	}
	if t, ok := outsiders[name]; ok {
		return &handle{value{t}, ev}, true
	}
	return nil, false
}

// Parent implements the activation of CEL: there is none.
func (ev *evaluation) Parent() celgo.Activation { return nil }

// variables is the value of "variables": each is evaluated when it is first asked for, and once. It is not safe for concurrent
// use.
type variables struct {
	ev     *evaluation
	values map[string]ref.Val
}

var _ traits.Mapper = (*variables)(nil)

// Find implements traits.Mapper.
func (v *variables) Find(key ref.Val) (ref.Val, bool) {
	s, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), true
	}
	name := string(s)
	if plain, ok := apiservercel.Unescape(name); ok {
		name = plain
	}
	if value, ok := v.values[name]; ok {
		return value, true
	}
	e, ok := v.ev.program.variables[name]
	if !ok {
		return nil, false
	}
	value, err := v.ev.run(e)
	if value == nil {
		value = types.WrapErr(fmt.Errorf("variable %s: %w", name, err))
	}
	v.values[name] = value
	return value, true
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
func (v *variables) Size() ref.Val { return types.Int(len(v.ev.program.variables)) }

// Iterator implements traits.Iterable. "variables" is an object, over which no expression that compiles iterates.
func (v *variables) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, nil).Iterator()
}

var variablesValue = types.NewObjectType(variablesType, traits.IndexerType|traits.FieldTesterType|traits.IterableType)

// ConvertToNative implements ref.Val.
func (v *variables) ConvertToNative(t reflect.Type) (any, error) {
	return value{variablesValue}.ConvertToNative(t)
}

// ConvertToType implements ref.Val.
func (v *variables) ConvertToType(t ref.Type) ref.Val { return value{variablesValue}.ConvertToType(t) }

// Equal implements ref.Val.
func (v *variables) Equal(other ref.Val) ref.Val { return types.Bool(ref.Val(v) == other) }

// Type implements ref.Val.
func (v *variables) Type() ref.Type { return variablesValue }

// Value implements ref.Val.
func (v *variables) Value() any { return v }
