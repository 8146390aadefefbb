package kyverno

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// decode fills into, a pointer to one of this package's types, from the document. Every unknown field, every value of a wrong
// type and every field that is not supported is an error at its place.
func decode(o *policies.Object, into any) []error {
	c := checker{doc: o}
	c.check(reflect.TypeOf(into).Elem(), o.Map(), nil)
	if len(c.errs) > 0 {
		return c.errs
	}
	if err := refill(o.Map(), into); err != nil {
		return []error{errorAt(o, nil, policies.AtValue, fmt.Errorf("%s does not decode: %w", o, err))}
	}
	return nil
}

// refill decodes a value that was checked.
func refill(from, into any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// checker compares the shape of a document with a type.
type checker struct {
	doc  *policies.Object
	errs []error
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	unsupportedType = reflect.TypeFor[unsupported]()
	conditionsType  = reflect.TypeFor[conditions]()
)

func (c *checker) check(t reflect.Type, value any, path policies.Path) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case value == nil:
		return
	case t == unsupportedType:
		c.errs = append(c.errs, errorAt(c.doc, path, policies.AtKey, fmt.Errorf("%s is not supported: expected a policy without it", path)))
		return
	case t == conditionsType:
		if list, ok := value.([]any); ok {
			for i, v := range list {
				c.check(reflect.TypeFor[condition](), v, path.Append(i))
			}
			return
		}
	case reflect.PointerTo(t).Implements(unmarshaler):
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.structure(t, value, path)
	case reflect.Map:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(path, "a map", value)
			return
		}
		for _, key := range sortedKeys(m) {
			c.check(t.Elem(), m[key], path.Append(key))
		}
	case reflect.Slice:
		l, ok := value.([]any)
		if !ok {
			c.wrong(path, "a list", value)
			return
		}
		for i, v := range l {
			c.check(t.Elem(), v, path.Append(i))
		}
	case reflect.String:
		if _, ok := value.(string); !ok {
			c.wrong(path, "a string", value)
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			c.wrong(path, "true or false", value)
		}
	case reflect.Int64, reflect.Int32, reflect.Int:
		if _, ok := value.(int64); !ok {
			c.wrong(path, "a whole number", value)
		}
	}
}

func (c *checker) structure(t reflect.Type, value any, path policies.Path) {
	m, ok := value.(map[string]any)
	if !ok {
		c.wrong(path, "a map", value)
		return
	}
	fields := map[string]reflect.Type{}
	jsonFields(t, fields)
	if t == reflect.TypeFor[rule]() && m["validate"] == nil {
		// A rule that is no validation is read as far as autogen depends on it.
		for key, field := range fields {
			if field == unsupportedType || key == "context" || key == "preconditions" {
				fields[key] = reflect.TypeFor[anything]()
			}
		}
	}
	for _, key := range sortedKeys(m) {
		at := path.Append(key)
		field, known := fields[key]
		if !known {
			c.errs = append(c.errs, errorAt(c.doc, at, policies.AtKey, fmt.Errorf("unknown field %s", at)))
			continue
		}
		c.check(field, m[key], at)
	}
}

func (c *checker) wrong(path policies.Path, want string, got any) {
	c.errs = append(c.errs, errorAt(c.doc, path, policies.AtValue, fmt.Errorf("%s is %s: expected %s", path, describe(got), want)))
}

func describe(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("the string %q", shorten(v))
	default:
		return fmt.Sprint(v)
	}
}

// jsonFields collects the fields of a struct by their names in JSON, those of embedded structs included.
func jsonFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && (f.Anonymous || strings.Contains(options, "inline")):
			jsonFields(f.Type, into)
		case name != "":
			into[name] = f.Type
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// errorAt says that err is at a field of a document.
func errorAt(o *policies.Object, path policies.Path, at policies.Aspect, err error) error {
	return policies.ErrorAt(o.Locate(path, at), err)
}

// shorten keeps a quoted value readable in a message.
func shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
