package apiserver

import (
	"reflect"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// shape says how a Go type of the API reads and writes JSON values.
type shape int

const (
	shapeStruct shape = iota + 1
	shapeMap
	shapeSlice
	shapeBytes
	shapePointer
	shapeString
	shapeBool
	shapeInt
	shapeUint
	shapeFloat
	shapeAny
	shapeQuantity
	shapeIntOrString
	shapeTime
	shapeMicroTime
	shapeDuration
	shapeRaw    // runtime.RawExtension
	shapeCustom // any other type with its own MarshalJSON or UnmarshalJSON
)

// plan is what is known of a Go type once: the fields of a struct by their JSON names, the plan of its elements. It follows
// encoding/json's reading of struct tags, which is also that of the API server (sigs.k8s.io/json).
type plan struct {
	shape  shape
	typ    reflect.Type
	elem   *plan // of a pointer, slice or map
	fields []fieldPlan
	byName map[string]int // index in fields
}

type fieldPlan struct {
	name      string
	index     []int
	plan      *plan
	omitEmpty bool
	omitZero  bool
	isZero    func(reflect.Value) bool // for omitzero on a type with IsZero
}

// plans remembers the plan of each type. It is a pure cache: a type has one plan.
var plans sync.Map // reflect.Type -> *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	// Types refer to themselves (JSONSchemaProps), so a plan is made whole before it is shown to others.
	fresh := map[reflect.Type]*plan{}
	p := makePlan(t, fresh)
	for typ, made := range fresh {
		plans.LoadOrStore(typ, made)
	}
	return p
}

type jsonReader interface{ UnmarshalJSON([]byte) error }
type jsonWriter interface{ MarshalJSON() ([]byte, error) }
type zeroTeller interface{ IsZero() bool }

var (
	typeReader      = reflect.TypeFor[jsonReader]()
	typeWriter      = reflect.TypeFor[jsonWriter]()
	typeZeroTeller  = reflect.TypeFor[zeroTeller]()
	typeQuantity    = reflect.TypeFor[resource.Quantity]()
	typeIntOrString = reflect.TypeFor[intstr.IntOrString]()
	typeTime        = reflect.TypeFor[metav1.Time]()
	typeMicroTime   = reflect.TypeFor[metav1.MicroTime]()
	typeDuration    = reflect.TypeFor[metav1.Duration]()
	typeRaw         = reflect.TypeFor[runtime.RawExtension]()
)

func makePlan(t reflect.Type, fresh map[reflect.Type]*plan) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := fresh[t]; ok {
		return p
	}
	p := &plan{typ: t}
	fresh[t] = p
	switch t {
	case typeQuantity:
		p.shape = shapeQuantity
		return p
	case typeIntOrString:
		p.shape = shapeIntOrString
		return p
	case typeTime:
		p.shape = shapeTime
		return p
	case typeMicroTime:
		p.shape = shapeMicroTime
		return p
	case typeDuration:
		p.shape = shapeDuration
		return p
	case typeRaw:
		p.shape = shapeRaw
		return p
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		if pt := reflect.PointerTo(t); pt.Implements(typeReader) || pt.Implements(typeWriter) {
			p.shape = shapeCustom
			return p
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		p.shape, p.elem = shapePointer, makePlan(t.Elem(), fresh)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			p.shape = shapeBytes
		} else {
			p.shape, p.elem = shapeSlice, makePlan(t.Elem(), fresh)
		}
	case reflect.Map:
		p.shape, p.elem = shapeMap, makePlan(t.Elem(), fresh)
	case reflect.String:
		p.shape = shapeString
	case reflect.Bool:
		p.shape = shapeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.shape = shapeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.shape = shapeUint
	case reflect.Float32, reflect.Float64:
		p.shape = shapeFloat
	case reflect.Struct:
		p.shape = shapeStruct
		p.addFields(t, nil, fresh)
		p.byName = make(map[string]int, len(p.fields))
		for i := range p.fields {
			p.byName[p.fields[i].name] = i
		}
	default:
		p.shape = shapeAny
	}
	return p
}

func (p *plan) addFields(t reflect.Type, at []int, fresh map[reflect.Type]*plan) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		index := append(append([]int(nil), at...), i)
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			p.addFields(f.Type, index, fresh)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		field := fieldPlan{name: name, index: index, plan: makePlan(f.Type, fresh)}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				field.omitEmpty = true
			case "omitzero":
				field.omitZero = true
			}
		}
		if field.omitZero && reflect.PointerTo(f.Type).Implements(typeZeroTeller) {
			field.isZero = func(v reflect.Value) bool {
				if v.Kind() == reflect.Pointer {
					return v.IsNil() || v.Interface().(zeroTeller).IsZero()
				}
				return v.Addr().Interface().(zeroTeller).IsZero()
			}
		}
		p.fields = append(p.fields, field)
	}
}

// names lists the JSON names of a struct's fields.
func (p *plan) names() []string {
	names := make([]string, len(p.fields))
	for i := range p.fields {
		names[i] = p.fields[i].name
	}
	return names
}
