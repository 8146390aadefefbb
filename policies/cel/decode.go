package cel

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
)

const (
	group       = "admissionregistration.k8s.io"
	policyKind  = "ValidatingAdmissionPolicy"
	bindingKind = "ValidatingAdmissionPolicyBinding"
)

// definition is a ValidatingAdmissionPolicy with its defaults, and the document that it was read from.
type definition struct {
	*admissionv1.ValidatingAdmissionPolicy
	doc     *policies.Object
	invalid bool // its values are wrong, and that was told
}

// binding is a ValidatingAdmissionPolicyBinding with its defaults. doc is nil for an implicit one.
type binding struct {
	*admissionv1.ValidatingAdmissionPolicyBinding
	doc *policies.Object
}

// decodeDefinition reads a policy of any version of the group strictly, and defaults it as the API server does. Beside unknown
// fields the rest is read all the same, so that all that is wrong can be told; it is nil when that cannot be done.
func decodeDefinition(o *policies.Object) (*definition, []error) {
	d := &definition{ValidatingAdmissionPolicy: &admissionv1.ValidatingAdmissionPolicy{}, doc: o}
	ok, errs := decode(o, d.ValidatingAdmissionPolicy)
	if !ok {
		return nil, errs
	}
	if d.Spec.FailurePolicy == nil {
		fail := admissionv1.Fail
		d.Spec.FailurePolicy = &fail
	}
	defaultMatch(d.Spec.MatchConstraints)
	return d, errs
}

// decodeBinding is decodeDefinition for a binding.
func decodeBinding(o *policies.Object) (*binding, []error) {
	b := &binding{ValidatingAdmissionPolicyBinding: &admissionv1.ValidatingAdmissionPolicyBinding{}, doc: o}
	ok, errs := decode(o, b.ValidatingAdmissionPolicyBinding)
	if !ok {
		return nil, errs
	}
	defaultMatch(b.Spec.MatchResources)
	// Only the alpha version had a default here (pkg/apis/admissionregistration/v1alpha1, defaults.go).
	if ref := b.Spec.ParamRef; o.Kind.Version == "v1alpha1" && ref != nil && ref.ParameterNotFoundAction == nil {
		deny := admissionv1.DenyAction
		ref.ParameterNotFoundAction = &deny
	}
	return b, errs
}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	if m.MatchPolicy == nil {
		equivalent := admissionv1.Equivalent
		m.MatchPolicy = &equivalent
	}
	if m.NamespaceSelector == nil {
		m.NamespaceSelector = &metav1.LabelSelector{}
	}
	if m.ObjectSelector == nil {
		m.ObjectSelector = &metav1.LabelSelector{}
	}
}

// decode fills into, a pointer to an API type, from the document. Every unknown field and every value of a wrong type is an
// error at its place; ok says that there are none of the second sort. All versions of the group have the same fields, so that
// one type reads them all.
func decode(o *policies.Object, into any) (ok bool, errs []error) {
	c := checker{doc: o}
	c.check(reflect.TypeOf(into).Elem(), o.Map(), nil)
	if c.mistyped {
		return false, c.errs
	}
	text, err := json.Marshal(o.Map())
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return false, append(c.errs, errorAt(o, nil, policies.AtValue, fmt.Errorf("%s does not decode: %w", o, err)))
	}
	return true, c.errs
}

// checker compares the shape of a document with a Go API type.
type checker struct {
	doc      *policies.Object
	errs     []error
	mistyped bool
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (c *checker) check(t reflect.Type, value any, path policies.Path) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil || reflect.PointerTo(t).Implements(unmarshaler) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(path, "a map", value)
			return
		}
		fields := map[string]reflect.Type{}
		jsonFields(t, fields)
		for key, v := range m {
			at := path.Append(key)
			field, known := fields[key]
			if !known {
				c.errs = append(c.errs, errorAt(c.doc, at, policies.AtKey, fmt.Errorf("unknown field %s", at)))
				continue
			}
			c.check(field, v, at)
		}
	case reflect.Map:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(path, "a map", value)
			return
		}
		for key, v := range m {
			c.check(t.Elem(), v, path.Append(key))
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

func (c *checker) wrong(path policies.Path, want string, got any) {
	c.mistyped = true
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

// jsonFields collects the fields of an API struct by their names in JSON, those of inlined structs included.
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
