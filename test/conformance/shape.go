package conformance

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

// shape is what a Go type of the Kubernetes API makes of a JSON value.
type shape int

const (
	free     shape = iota // anything: no type is known, or it takes any JSON
	structed              // an object with known fields
	mapped                // an object with free keys
	listed
	text
	whole // an integer
	fraction
	flag
	quantity
	intOrString
	instant
	binary
)

var special = map[reflect.Type]shape{
	reflect.TypeFor[resource.Quantity]():                            quantity,
	reflect.TypeFor[intstr.IntOrString]():                           intOrString,
	reflect.TypeFor[metav1.Time]():                                  instant,
	reflect.TypeFor[metav1.MicroTime]():                             instant,
	reflect.TypeFor[runtime.RawExtension]():                         free,
	reflect.TypeFor[metav1.FieldsV1]():                              free,
	reflect.TypeFor[metav1.Duration]():                              text,
	reflect.TypeFor[apiextensionsv1.JSON]():                         free,
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrArray]():       free,
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrBool]():        free,
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrStringArray](): free,
	reflect.TypeFor[json.RawMessage]():                              free,
	reflect.TypeFor[[]byte]():                                       binary,
}

// shapeOf says what t makes of a JSON value; t may be nil.
func shapeOf(t reflect.Type) shape {
	t = bare(t)
	if t == nil {
		return free
	}
	if s, ok := special[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Struct:
		return structed
	case reflect.Map:
		return mapped
	case reflect.Slice:
		return listed
	case reflect.String:
		return text
	case reflect.Bool:
		return flag
	case reflect.Float64:
		return fraction
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64, reflect.Uint8, reflect.Uint16:
		return whole
	}
	return free
}

func bare(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// fieldsOf lists the JSON fields of a struct with their types, sorted by name; embedded structs count as their fields.
func fieldsOf(t reflect.Type) []structField {
	t = bare(t)
	var fields []structField
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "" && bare(f.Type).Kind() == reflect.Struct:
			fields = append(fields, fieldsOf(f.Type)...)
		case name != "":
			fields = append(fields, structField{name, f.Type, strings.Contains(options, "omitempty")})
		}
	}
	slices.SortFunc(fields, func(a, b structField) int { return strings.Compare(a.name, b.name) })
	return fields
}

type structField struct {
	name     string
	typ      reflect.Type
	optional bool
}

// childType is the type of the value under a key or index of a value of type t; nil when it is not known.
func childType(t reflect.Type, key string) reflect.Type {
	switch shapeOf(t) {
	case structed:
		for _, f := range fieldsOf(t) {
			if f.name == key {
				return f.typ
			}
		}
	case mapped, listed:
		return bare(t).Elem()
	}
	return nil
}

// goType is the Go type of a kind of the Kubernetes API; nil when this module has none (CRDs' kinds, APIService).
func goType(apiVersion, kind string) reflect.Type {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil
	}
	if gv.Group == apiextensionsv1.GroupName && kind == "CustomResourceDefinition" {
		return reflect.TypeFor[apiextensionsv1.CustomResourceDefinition]()
	}
	return scheme.Scheme.KnownTypes(gv)[kind]
}

// plausible is a value that a field of type t may well take: what stands in for a field that no fixture has.
func plausible(t reflect.Type, depth int) any {
	switch shapeOf(t) {
	case structed:
		out := map[string]any{}
		for _, f := range fieldsOf(t) {
			if !f.optional && depth > 0 {
				out[f.name] = plausible(f.typ, depth-1)
			}
		}
		return out
	case mapped:
		return map[string]any{"a": plausible(bare(t).Elem(), depth-1)}
	case listed:
		return []any{plausible(bare(t).Elem(), depth-1)}
	case text:
		return "a"
	case whole:
		return int64(1)
	case fraction:
		return 1.5
	case flag:
		return true
	case quantity:
		return "1"
	case intOrString:
		return int64(1)
	case instant:
		return "2026-01-02T03:04:05Z"
	case binary:
		return "YQ=="
	default:
		return map[string]any{"a": "b"}
	}
}
