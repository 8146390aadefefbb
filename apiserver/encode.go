package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// encoder turns values of API types into what a client would decode the API server's JSON of them to: map[string]any, []any,
// string, bool, int64, float64, nil. A whole number is an int64, as its JSON has no fraction.
type encoder struct {
	// keepEmpty tells an empty list or map from none. Kinds that are stored as protobuf do not.
	keepEmpty bool
}

// encodedAs encodes the struct that v points to.
func encodedAs(v any, keepEmpty bool) (any, error) {
	rv := reflect.ValueOf(v).Elem()
	e := encoder{keepEmpty}
	return e.value(planOf(rv.Type()), rv)
}

func (e encoder) value(p *plan, v reflect.Value) (any, error) {
	switch p.shape {
	case shapeStruct:
		return e.structure(p, v)
	case shapePointer:
		if v.IsNil() {
			return nil, nil
		}
		return e.value(p.elem, v.Elem())
	case shapeSlice:
		if v.IsNil() || v.Len() == 0 && !e.keepEmpty {
			return nil, nil
		}
		items := make([]any, v.Len())
		for i := range items {
			item, err := e.value(p.elem, v.Index(i))
			if err != nil {
				return nil, err
			}
			items[i] = item
		}
		return items, nil
	case shapeMap:
		return e.mapping(p, v)
	case shapeString:
		return v.String(), nil
	case shapeBool:
		return v.Bool(), nil
	case shapeInt:
		return v.Int(), nil
	case shapeUint:
		return int64(v.Uint()), nil
	case shapeFloat:
		if f := v.Float(); f != math.Trunc(f) || math.Abs(f) >= 1e21 {
			return f, nil
		}
		return int64(v.Float()), nil
	case shapeBytes:
		if v.IsNil() {
			return nil, nil
		}
		return base64.StdEncoding.EncodeToString(v.Bytes()), nil
	case shapeAny:
		if v.IsNil() {
			return nil, nil
		}
		return v.Interface(), nil
	default:
		return e.special(p, v)
	}
}

func (e encoder) structure(p *plan, v reflect.Value) (any, error) {
	m := make(map[string]any, 8)
	for i := range p.fields {
		f := &p.fields[i]
		var fv reflect.Value
		if len(f.index) == 1 {
			fv = v.Field(f.index[0])
		} else {
			fv = v.FieldByIndex(f.index)
		}
		if f.omitEmpty && isEmpty(fv) || f.omitZero && isZero(f, fv) {
			continue
		}
		value, err := e.value(f.plan, fv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		m[f.name] = value
	}
	return m, nil
}

// isEmpty is what omitempty leaves out (encoding/json).
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Interface, reflect.Pointer:
		return v.IsZero()
	}
	return false
}

func isZero(f *fieldPlan, v reflect.Value) bool {
	if f.isZero != nil {
		return f.isZero(v)
	}
	return v.IsZero()
}

func (e encoder) mapping(p *plan, v reflect.Value) (any, error) {
	if v.IsNil() || v.Len() == 0 && !e.keepEmpty {
		return nil, nil
	}
	m := make(map[string]any, v.Len())
	if plain, ok := v.Interface().(map[string]string); ok {
		for key, s := range plain {
			m[key] = s
		}
		return m, nil
	}
	for iter := v.MapRange(); iter.Next(); {
		// A value in a map has no address, and some types write themselves only through a pointer.
		item := reflect.New(p.elem.typ).Elem()
		item.Set(iter.Value())
		value, err := e.value(p.elem, item)
		if err != nil {
			return nil, err
		}
		if p.elem.shape == shapeBytes && value == nil && !e.keepEmpty {
			value = "" // no map of protobuf holds a null
		}
		m[iter.Key().String()] = value
	}
	return m, nil
}

func (e encoder) special(p *plan, v reflect.Value) (any, error) {
	if !v.CanAddr() {
		addressable := reflect.New(p.typ).Elem()
		addressable.Set(v)
		v = addressable
	}
	switch from := v.Addr().Interface().(type) {
	case *resource.Quantity:
		return from.String(), nil
	case *intstr.IntOrString:
		if from.Type == intstr.String {
			return from.StrVal, nil
		}
		return int64(from.IntVal), nil
	case *metav1.Time:
		if from.IsZero() {
			return nil, nil
		}
		return from.UTC().Format(time.RFC3339), nil
	case *metav1.MicroTime:
		if from.IsZero() {
			return nil, nil
		}
		return from.UTC().Format(metav1.RFC3339Micro), nil
	case *metav1.Duration:
		return from.Duration.String(), nil
	case *runtime.RawExtension:
		if from.Raw == nil {
			return nil, nil
		}
		return decodeJSON(from.Raw)
	default:
		text, err := json.Marshal(from)
		if err != nil {
			return nil, err
		}
		return decodeJSON(text)
	}
}

// forgetEmpty makes every empty list and map nil, as storing them as protobuf does.
func forgetEmpty(p *plan, v reflect.Value) {
	switch p.shape {
	case shapeStruct:
		for i := range p.fields {
			f := &p.fields[i]
			if !f.plan.nests() {
				continue
			}
			if len(f.index) == 1 {
				forgetEmpty(f.plan, v.Field(f.index[0]))
			} else {
				forgetEmpty(f.plan, v.FieldByIndex(f.index))
			}
		}
	case shapePointer:
		if !v.IsNil() && p.elem.nests() {
			forgetEmpty(p.elem, v.Elem())
		}
	case shapeSlice:
		if v.Len() == 0 {
			v.SetZero()
		} else if p.elem.nests() {
			for i := range v.Len() {
				forgetEmpty(p.elem, v.Index(i))
			}
		}
	case shapeMap:
		if v.Len() == 0 {
			v.SetZero()
		}
	}
}

// nests says that values of the type can hold lists or maps.
func (p *plan) nests() bool {
	switch p.shape {
	case shapeStruct, shapePointer, shapeSlice, shapeMap:
		return true
	}
	return false
}

func decodeJSON(text []byte) (any, error) {
	var v any
	if err := utiljson.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	return v, nil
}
