// Package strict reads policy documents into Go types and tells every field that the type does not have and every value of
// another type, each at its place. The kinds of policy share it; it is no kind itself and knows none.
package strict

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Options are what a kind adds for types of its own. The zero value adds nothing.
type Options struct {
	// Special judges a value of a type that has rules of its own; check goes on with parts of it. It says whether it has judged.
	Special func(t reflect.Type, value any, path policies.Path, check func(reflect.Type, any, policies.Path)) (done bool, err error)
	// Fields may change which fields a struct has, by the map that is read into it.
	Fields func(t reflect.Type, value map[string]any, fields map[string]reflect.Type)
}

// Decode fills into, a pointer to a struct with json tags, from content, which stands at path in o. usable says that no value
// had a wrong type, so that into holds all that it can hold; errs tells unknown fields too.
func Decode(o *policies.Object, path policies.Path, content, into any, options Options) (usable bool, errs []error) {
	c := checker{doc: o, options: options}
	c.check(reflect.TypeOf(into).Elem(), content, path)
	if c.mistyped {
		return false, c.errs
	}
	text, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return false, append(c.errs, ErrorAt(o, path, policies.AtValue, fmt.Errorf("%s does not decode: %w", o, err)))
	}
	return true, c.errs
}

// ErrorAt says that err is at a field of a document.
func ErrorAt(o *policies.Object, path policies.Path, at policies.Aspect, err error) error {
	return policies.ErrorAt(o.Locate(path, at), err)
}

// maxErrors bounds what is told of one document.
const maxErrors = 100

// checker compares the shape of a document with a Go type.
type checker struct {
	doc      *policies.Object
	options  Options
	errs     []error
	mistyped bool
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (c *checker) check(t reflect.Type, value any, path policies.Path) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil {
		return
	}
	if c.options.Special != nil {
		done, err := c.options.Special(t, value, path, c.check)
		if err != nil {
			c.tell(ErrorAt(c.doc, path, policies.AtKey, err))
		}
		if done {
			return
		}
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
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
		for _, key := range slices.Sorted(maps.Keys(m)) {
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
	if c.options.Fields != nil {
		c.options.Fields(t, m, fields)
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := path.Append(key)
		field, known := fields[key]
		if !known {
			c.tell(ErrorAt(c.doc, at, policies.AtKey, fmt.Errorf("unknown field %s: expected one of %s", at, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))))
			continue
		}
		c.check(field, m[key], at)
	}
}

func (c *checker) tell(err error) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, err)
	}
}

func (c *checker) wrong(path policies.Path, want string, got any) {
	c.mistyped = true
	c.tell(ErrorAt(c.doc, path, policies.AtValue, fmt.Errorf("%s is %s: expected %s", path, Describe(got), want)))
}

// Describe names a value in a message.
func Describe(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("the string %q", Shorten(v))
	default:
		return fmt.Sprint(v)
	}
}

// Shorten keeps a quoted value readable in a message.
func Shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// jsonFields collects the fields of a struct by their names in JSON, those of embedded and inlined structs included.
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
