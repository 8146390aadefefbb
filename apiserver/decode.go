package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gitgate.dev/gitgate/policies"
)

// decoder reads a decoded manifest into a Go type of the API as strictly as the API server does with fieldValidation=Strict,
// and goes on after an error, so that all of them are told.
type decoder struct {
	path     []step
	unknown  []policies.Violation // fields that the type does not have
	mistyped []policies.Violation // values that the type cannot hold
	meant    []string             // the fields that unknown ones are slips of
	more     int                  // violations that were found and not kept
}

// step is one step of the path to where the decoder stands: a key, or an index when key is "".
type step struct {
	key   string
	index int
	list  bool
}

// full says that the decoder remembers as many violations as one hostile object may make it.
func (d *decoder) full() bool {
	if len(d.mistyped)+len(d.unknown) < maxTold {
		return false
	}
	d.more++
	return true
}

func (d *decoder) here() policies.Path {
	p := make(policies.Path, len(d.path))
	for i, s := range d.path {
		if s.list {
			p[i] = s.index
		} else {
			p[i] = s.key
		}
	}
	return p
}

// mistype records that the value here is not what the type wants.
func (d *decoder) mistype(expected string, got any) {
	d.malformed(expected, got, "")
}

// malformed records that the value here is of the right type and does not read as one.
func (d *decoder) malformed(expected string, got any, why string) {
	if d.full() {
		return
	}
	p := d.here()
	msg := fmt.Sprintf("%s: expected %s, got %s", nameOf(p), expected, describe(got))
	if why != "" {
		msg += ": " + why
	}
	d.mistyped = append(d.mistyped, policies.Violation{Rule: ruleType, Path: p, Message: msg})
}

// nameOf is a path in a message; the object itself has none.
func nameOf(p policies.Path) string {
	if len(p) == 0 {
		return "object"
	}
	return p.String()
}

// describe names a decoded value by its JSON type, and shows it when it is short.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean " + strconv.FormatBool(v)
	case string:
		return "string " + quoteShort(v)
	case int64:
		return "integer " + strconv.FormatInt(v, 10)
	case float64:
		return "number " + strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	default:
		return fmt.Sprintf("%T", v)
	}
}

// maxShown is how many bytes of a value a message shows.
const maxShown = 80

func quoteShort(s string) string {
	if len(s) > maxShown {
		return strconv.Quote(strings.ToValidUTF8(s[:maxShown], "")) + "…"
	}
	return strconv.Quote(s)
}

func (d *decoder) value(p *plan, v any, dst reflect.Value) {
	if v == nil {
		// A null sets nothing: encoding/json leaves scalars and structs alone and makes the rest nil, and dst is zero already.
		return
	}
	switch p.shape {
	case shapeStruct:
		m, ok := v.(map[string]any)
		if !ok {
			d.mistype("a map", v)
			return
		}
		d.structure(p, m, dst)
	case shapePointer:
		made := reflect.New(p.elem.typ)
		d.value(p.elem, v, made.Elem())
		dst.Set(made)
	case shapeSlice:
		d.slice(p, v, dst)
	case shapeMap:
		d.mapping(p, v, dst)
	case shapeString:
		s, ok := v.(string)
		if !ok {
			d.mistype("string", v)
			return
		}
		dst.SetString(s)
	case shapeBool:
		b, ok := v.(bool)
		if !ok {
			d.mistype("boolean", v)
			return
		}
		dst.SetBool(b)
	case shapeInt:
		if n, ok := d.integer(v, dst.Type().Bits()); ok {
			dst.SetInt(n)
		}
	case shapeUint:
		n, ok := d.integer(v, 64)
		switch {
		case !ok:
		case n < 0 || dst.OverflowUint(uint64(n)):
			d.mistype(fmt.Sprintf("%d-bit unsigned integer", dst.Type().Bits()), v)
		default:
			dst.SetUint(uint64(n))
		}
	case shapeFloat:
		switch n := v.(type) {
		case int64:
			dst.SetFloat(float64(n))
		case float64:
			dst.SetFloat(n)
		default:
			d.mistype("number", v)
		}
	case shapeBytes:
		d.bytes(v, dst)
	case shapeAny:
		dst.Set(reflect.ValueOf(v))
	default:
		d.special(p, v, dst)
	}
}

func (d *decoder) structure(p *plan, m map[string]any, dst reflect.Value) {
	for key, v := range m {
		i, ok := p.byName[key]
		if !ok {
			d.unknownField(p, m, key)
			continue
		}
		if v == nil {
			continue
		}
		f := &p.fields[i]
		d.path = append(d.path, step{key: key})
		if len(f.index) == 1 {
			d.value(f.plan, v, dst.Field(f.index[0]))
		} else {
			d.value(f.plan, v, dst.FieldByIndex(f.index))
		}
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *decoder) unknownField(p *plan, m map[string]any, key string) {
	if d.full() {
		return
	}
	at := append(d.here(), key)
	violation := policies.Violation{Rule: ruleUnknownField, Path: at, At: policies.AtKey, Message: "unknown field " + at.String()}
	if near := nearest(key, p.names(), func(name string) bool { _, written := m[name]; return written }); near != "" {
		violation.Fix = fmt.Sprintf("did you mean %q?", near)
		d.meant = append(d.meant, d.here().Append(near).String())
	}
	d.unknown = append(d.unknown, violation)
}

func (d *decoder) slice(p *plan, v any, dst reflect.Value) {
	items, ok := v.([]any)
	if !ok {
		d.mistype("a list", v)
		return
	}
	made := reflect.MakeSlice(p.typ, len(items), len(items))
	d.path = append(d.path, step{list: true})
	for i, item := range items {
		d.path[len(d.path)-1].index = i
		d.value(p.elem, item, made.Index(i))
	}
	d.path = d.path[:len(d.path)-1]
	dst.Set(made)
}

func (d *decoder) mapping(p *plan, v any, dst reflect.Value) {
	m, ok := v.(map[string]any)
	if !ok {
		d.mistype("a map", v)
		return
	}
	if plain, ok := dst.Addr().Interface().(*map[string]string); ok {
		made := make(map[string]string, len(m))
		for key, v := range m {
			switch s := v.(type) {
			case string:
				made[key] = s
			case nil:
				made[key] = ""
			default:
				d.path = append(d.path, step{key: key})
				d.mistype("string", v)
				d.path = d.path[:len(d.path)-1]
			}
		}
		*plain = made
		return
	}
	made := reflect.MakeMapWithSize(p.typ, len(m))
	keyType := p.typ.Key()
	if keyType.Kind() != reflect.String {
		d.mistype("a map", v)
		return
	}
	for key, v := range m {
		item := reflect.New(p.elem.typ).Elem()
		d.path = append(d.path, step{key: key})
		d.value(p.elem, v, item)
		d.path = d.path[:len(d.path)-1]
		made.SetMapIndex(reflect.ValueOf(key).Convert(keyType), item)
	}
	dst.Set(made)
}

// integer reads a whole number of the given width. A float that a JSON encoder would write without fraction and exponent is
// one, because that is how clients send it.
func (d *decoder) integer(v any, bits int) (int64, bool) {
	var n int64
	switch t := v.(type) {
	case int64:
		n = t
	case float64:
		if t != math.Trunc(t) || math.Abs(t) >= 1<<63 {
			d.mistype("integer", v)
			return 0, false
		}
		n = int64(t)
	default:
		d.mistype("integer", v)
		return 0, false
	}
	if bits < 64 && (n >= 1<<(bits-1) || n < -1<<(bits-1)) {
		d.mistype(fmt.Sprintf("%d-bit integer", bits), v)
		return 0, false
	}
	return n, true
}

func (d *decoder) bytes(v any, dst reflect.Value) {
	s, ok := v.(string)
	if !ok {
		d.mistype("string of base64", v)
		return
	}
	made := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(made, []byte(s))
	if err != nil {
		if d.full() {
			return
		}
		// The value may be a secret that was not encoded: it is not shown.
		p := d.here()
		d.mistyped = append(d.mistyped, policies.Violation{
			Rule: ruleType, Path: p, Message: nameOf(p) + ": expected base64, got a string that is not",
			Fix: "encode the value with base64, or write it under stringData when this is a Secret",
		})
		return
	}
	dst.SetBytes(made[:n])
}

// special reads the types that have a JSON form of their own. The common ones are read without a detour over JSON text.
func (d *decoder) special(p *plan, v any, dst reflect.Value) {
	to := dst.Addr().Interface()
	switch to := to.(type) {
	case *resource.Quantity:
		d.quantity(v, to)
	case *intstr.IntOrString:
		if s, ok := v.(string); ok {
			*to = intstr.FromString(s)
			return
		}
		if _, isNumber := number(v); !isNumber {
			d.mistype("integer or string", v)
			return
		}
		if n, ok := d.integer(v, 32); ok {
			*to = intstr.FromInt32(int32(n))
		}
	case *metav1.Time:
		if t, ok := d.time(v, time.RFC3339); ok {
			to.Time = t.Local()
		}
	case *metav1.MicroTime:
		if t, ok := d.time(v, metav1.RFC3339Micro); ok {
			to.Time = t.Local()
		}
	case *metav1.Duration:
		s, ok := v.(string)
		if !ok {
			d.mistype("duration", v)
			return
		}
		parsed, err := time.ParseDuration(s)
		if err != nil {
			d.malformed("duration such as 1h30m", v, "")
			return
		}
		to.Duration = parsed
	case *runtime.RawExtension:
		if text, err := json.Marshal(v); err == nil {
			to.Raw = text
		} else {
			d.malformed("JSON", v, err.Error())
		}
	default:
		d.custom(v, to)
	}
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func (d *decoder) quantity(v any, to *resource.Quantity) {
	var text string
	switch t := v.(type) {
	case string:
		text = strings.TrimSpace(t)
	case int64:
		text = strconv.FormatInt(t, 10)
	case float64:
		b, err := json.Marshal(t)
		if err != nil {
			d.mistype("quantity", v)
			return
		}
		text = string(b)
	default:
		d.mistype("quantity", v)
		return
	}
	parsed, err := resource.ParseQuantity(text)
	if err != nil {
		d.malformed("quantity such as 500m, 2 or 1Gi", v, "")
		return
	}
	*to = parsed
}

func (d *decoder) time(v any, layout string) (time.Time, bool) {
	s, ok := v.(string)
	if !ok {
		d.mistype("date and time", v)
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		d.malformed("date and time such as "+exampleOf(layout), v, "")
		return time.Time{}, false
	}
	return t, true
}

func exampleOf(layout string) string {
	if layout == metav1.RFC3339Micro {
		return "2006-01-02T15:04:05.000000Z"
	}
	return "2006-01-02T15:04:05Z"
}

func (d *decoder) custom(v any, to any) {
	text, err := json.Marshal(v)
	if err != nil {
		d.malformed("JSON", v, err.Error())
		return
	}
	reader, ok := to.(jsonReader)
	if !ok {
		err = json.Unmarshal(text, to)
	} else {
		err = reader.UnmarshalJSON(text)
	}
	if err != nil {
		d.malformed("a valid value", v, err.Error())
	}
}

// violations returns what was found, in the order of the paths.
func (d *decoder) violations() []policies.Violation {
	all := append(append([]policies.Violation(nil), d.mistyped...), d.unknown...)
	sort.SliceStable(all, func(i, j int) bool { return lessPath(all[i].Path, all[j].Path) })
	if d.more > 0 {
		all = append(all, notTold(d.more))
	}
	return all
}

func lessPath(a, b policies.Path) bool {
	for i := range min(len(a), len(b)) {
		switch x := a[i].(type) {
		case string:
			if y, ok := b[i].(string); ok && x != y {
				return x < y
			}
		case int:
			if y, ok := b[i].(int); ok && x != y {
				return x < y
			}
		}
	}
	return len(a) < len(b)
}
