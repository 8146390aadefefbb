package apiserver

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"

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
