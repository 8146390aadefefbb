package kyverno

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

// decode fills into, a pointer to one of this package's types, from the document. Every unknown field, every value of a wrong
// type and every field that is not supported is an error at its place.
func decode(o *policies.Object, into any) []error {
	_, errs := strict.Decode(o, nil, o.Map(), into, strict.Options{Special: special, Fields: fields})
	return errs
}

// special judges the types that have rules of their own.
func special(t reflect.Type, value any, path policies.Path, check func(reflect.Type, any, policies.Path)) (done bool, err error) {
	switch t {
	case reflect.TypeFor[unsupported]():
		return true, fmt.Errorf("%s is not supported: expected a policy without it", path)
	case reflect.TypeFor[conditions]():
		list, ok := value.([]any)
		for i, v := range list {
			check(reflect.TypeFor[condition](), v, path.Append(i))
		}
		if ok {
			return true, nil
		}
		check(reflect.TypeFor[conditionsBlock](), value, path)
		return true, nil
	}
	return false, nil
}

// conditionsBlock is conditions without the list that they were before, which has a decoder of its own.
type conditionsBlock struct {
	Any []condition `json:"any"`
	All []condition `json:"all"`
}

// fields reads a rule that is no validation as far as autogen depends on it.
func fields(t reflect.Type, value map[string]any, known map[string]reflect.Type) {
	if t != reflect.TypeFor[rule]() || value["validate"] != nil {
		return
	}
	for key, field := range known {
		if field == reflect.TypeFor[unsupported]() || key == "context" || key == "preconditions" {
			known[key] = reflect.TypeFor[anything]()
		}
	}
}

// refill decodes a value that was checked.
func refill(from, into any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// errorAt says that err is at a field of a document.
func errorAt(o *policies.Object, path policies.Path, at policies.Aspect, err error) error {
	return strict.ErrorAt(o, path, at, err)
}

func describe(v any) string { return strict.Describe(v) }

func shorten(s string) string { return strict.Shorten(s) }
