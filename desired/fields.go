package desired

import (
	"maps"
	"reflect"
	"slices"

	"gitgate.dev/gitgate/policies"
)

// Field is a field that differs between two forms of an object.
type Field struct {
	Path     policies.Path // in the new form; in the old one when it is gone
	Old, New any           // nil where HadOld or HasNew is false, and for null
	HadOld   bool
	HasNew   bool
}

// DiffFields lists the fields that differ between two contents, in the order of their paths. Maps are gone into, and so are lists
// whose items have names; the items of other lists are told apart by where they stand.
func DiffFields(before, after map[string]any) []Field {
	d := differ{}
	d.maps(before, after, nil)
	return d.out
}

type differ struct{ out []Field }

func (d *differ) value(before, after any, at policies.Path) {
	switch b := before.(type) {
	case map[string]any:
		if a, ok := after.(map[string]any); ok {
			d.maps(b, a, at)
			return
		}
	case []any:
		if a, ok := after.([]any); ok {
			d.lists(b, a, at)
			return
		}
	}
	if !reflect.DeepEqual(before, after) {
		d.out = append(d.out, Field{Path: at, Old: before, New: after, HadOld: true, HasNew: true})
	}
}

func (d *differ) maps(before, after map[string]any, at policies.Path) {
	keys := make(map[string]bool, len(before)+len(after))
	for k := range before {
		keys[k] = true
	}
	for k := range after {
		keys[k] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		b, had := before[key]
		a, has := after[key]
		d.either(b, a, had, has, at.Append(key))
	}
}

func (d *differ) either(before, after any, had, has bool, at policies.Path) {
	switch {
	case had && has:
		d.value(before, after, at)
	case had:
		d.out = append(d.out, Field{Path: at, Old: before, HadOld: true})
	case has:
		d.out = append(d.out, Field{Path: at, New: after, HasNew: true})
	}
}

func (d *differ) lists(before, after []any, at policies.Path) {
	if reflect.DeepEqual(before, after) {
		return
	}
	key := nameKey(before, after)
	if key == "" {
		for i := range max(len(before), len(after)) {
			var b, a any
			if i < len(before) {
				b = before[i]
			}
			if i < len(after) {
				a = after[i]
			}
			d.either(b, a, i < len(before), i < len(after), at.Append(i))
		}
		return
	}
	found := len(d.out)
	places := make(map[any]int, len(before))
	for i, item := range before {
		places[item.(map[string]any)[key]] = i
	}
	for i, item := range after {
		name := item.(map[string]any)[key]
		j, had := places[name]
		if !had {
			d.either(nil, item, false, true, at.Append(i))
			continue
		}
		delete(places, name)
		d.value(before[j], item, at.Append(i))
	}
	for _, i := range slices.Sorted(maps.Values(places)) {
		d.either(before[i], nil, true, false, at.Append(i))
	}
	if len(d.out) == found { // the same items in another order
		d.out = append(d.out, Field{Path: at, Old: before, New: after, HadOld: true, HasNew: true})
	}
}

// nameKey is the field by which the items of two lists are told apart; "" when there is none.
func nameKey(lists ...[]any) string {
	for _, key := range []string{"name", "mountPath", "containerPort", "port", "key", "ip", "type"} {
		if !slices.ContainsFunc(lists, func(l []any) bool { return !unique(l, key) }) {
			return key
		}
	}
	return ""
}

func unique(list []any, key string) bool {
	seen := make(map[any]bool, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return false
		}
		v, has := m[key]
		switch v.(type) {
		case string, int64:
		default:
			has = false
		}
		if !has || seen[v] {
			return false
		}
		seen[v] = true
	}
	return true
}
