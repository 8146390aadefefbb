package trace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Equal says whether two values say the same: maps with the same fields (a null is no field), lists with the same items in the
// same order, numbers of one value whatever their Go type.
func Equal(a, b any) bool {
	switch av := a.(type) {
	case map[string]any:
		bv, ok := b.(map[string]any)
		if !ok {
			return false
		}
		if reflect.ValueOf(av).Pointer() == reflect.ValueOf(bv).Pointer() {
			return true // what an update leaves as it was is one map
		}
		matched := 0
		for key, x := range av {
			y := bv[key]
			if x == nil && y == nil {
				continue
			}
			if x == nil || y == nil || !Equal(x, y) {
				return false
			}
			matched++
		}
		if matched == len(bv) {
			return true
		}
		for _, y := range bv {
			if y == nil {
				matched++
			}
		}
		return matched == len(bv)
	case []any:
		bv, ok := b.([]any)
		if !ok || len(av) != len(bv) {
			return false
		}
		if len(av) > 0 && &av[0] == &bv[0] {
			return true
		}
		for i := range av {
			if !Equal(av[i], bv[i]) {
				return false
			}
		}
		return true
	default:
		return equalScalar(a, b)
	}
}

func equalScalar(a, b any) bool {
	switch av := a.(type) {
	case string:
		bv, ok := b.(string)
		return ok && av == bv
	case bool:
		bv, ok := b.(bool)
		return ok && av == bv
	case nil:
		return b == nil
	case int64:
		switch bv := b.(type) {
		case int64:
			return av == bv
		case float64:
			return float64(av) == bv && int64(bv) == av
		}
		return false
	case float64:
		switch bv := b.(type) {
		case float64:
			return av == bv
		case int64:
			return float64(bv) == av && int64(av) == bv
		}
		return false
	default:
		return false
	}
}

func scalars(list []any) bool {
	for _, item := range list {
		switch item.(type) {
		case map[string]any, []any, nil:
			return false
		}
	}
	return true
}

func contains(list []any, item any) bool {
	for _, x := range list {
		if equalScalar(x, item) {
			return true
		}
	}
	return false
}

// index finds the items of a list by their keys. It says no when an item has not all of them, or two have the same.
func index(list []any, keys []string) (map[string]int, bool) {
	at := make(map[string]int, len(list))
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok || len(keys) == 0 {
			return nil, false
		}
		present := false
		for _, key := range keys {
			if m[key] != nil {
				present = true
			}
		}
		key := keyOf(item, keys)
		if _, twice := at[key]; twice || !present {
			return nil, false
		}
		at[key] = i
	}
	return at, true
}

// keyOf writes the keys of an item so that different items have different texts.
func keyOf(item any, keys []string) string {
	m, ok := item.(map[string]any)
	if !ok {
		return ""
	}
	if len(keys) == 1 {
		if s, ok := m[keys[0]].(string); ok {
			return "s" + s
		}
	}
	var b strings.Builder
	for _, key := range keys {
		switch v := m[key].(type) {
		case string:
			fmt.Fprintf(&b, "s%d:%s", len(v), v)
		default:
			text, err := json.Marshal(v)
			if err != nil {
				text = []byte("?")
			}
			fmt.Fprintf(&b, "j%d:%s", len(text), text)
		}
	}
	return b.String()
}

func comparePaths(a, b policies.Path) int {
	for i := range min(len(a), len(b)) {
		var c int
		switch x := a[i].(type) {
		case int:
			if y, ok := b[i].(int); ok {
				c = cmp.Compare(x, y)
			}
		case string:
			if y, ok := b[i].(string); ok {
				c = cmp.Compare(x, y)
			}
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}
