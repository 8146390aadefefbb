package conformance

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// node is one value of an object.
type node struct {
	at     policies.Path
	value  any
	typ    reflect.Type // of the value; nil when not known
	parent reflect.Type // of the object or list that holds it
}

func (n node) last() any {
	if len(n.at) == 0 {
		return nil
	}
	return n.at[len(n.at)-1]
}

func (n node) key() string {
	key, _ := n.last().(string)
	return key
}

// walk visits every value of an object, parents first, keys sorted.
func walk(object map[string]any, t reflect.Type, visit func(node)) {
	var down func(n node)
	down = func(n node) {
		visit(n)
		switch v := n.value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				down(node{n.at.Append(key), v[key], childType(n.typ, key), n.typ})
			}
		case []any:
			for i, e := range v {
				down(node{n.at.Append(i), e, childType(n.typ, ""), n.typ})
			}
		}
	}
	down(node{value: object, typ: t})
}

// change is one thing done to a value.
type change struct {
	what  string
	once  bool          // enough once for each typed field
	step  policies.Path // below the value
	drop  bool
	set   bool
	value any
}

// changes lists what is tried on a value: its loss, other forms of nothing, other types, and values at and beyond the edges
// of what such fields take.
func (n node) changes() []change {
	var out []change
	set := func(what string, value any) {
		out = append(out, change{what: what, once: true, set: true, value: value})
	}
	if _, inList := n.last().(int); !inList && len(n.at) > 0 {
		out = append(out, change{what: "drop", drop: true})
	}
	if len(n.at) > 0 {
		set("null", nil)
	}
	s := shapeOf(n.typ)
	if s == free {
		s = shapeOfValue(n.value)
	}
	switch s {
	case structed, mapped:
		out = append(out, change{what: "unknown", once: true, step: policies.Path{"unknownField"}, set: true, value: int64(1)})
		if len(n.at) > 0 {
			set("empty", map[string]any{})
			set("text", "text")
			set("list", []any{})
		}
		if s == mapped {
			out = append(out,
				change{what: "bad-key", once: true, step: policies.Path{"bad key!"}, set: true, value: "a"},
				change{what: "empty-key", once: true, step: policies.Path{""}, set: true, value: "a"})
		}
	case listed:
		set("empty", []any{})
		set("object", map[string]any{})
		list, _ := n.value.([]any)
		set("null-item", append(slices.Clone(list), nil))
		if len(list) > 0 {
			set("double", append(slices.Clone(list), clone(list[0])))
		}
	case text:
		set("empty", "")
		set("number", int64(7))
		set("bogus", "Bogus value!")
		set("upper", "UPPER")
		set("word", "word")
		set("long", strings.Repeat("x", 300))
	case whole:
		for what, v := range map[string]any{"text": "7", "minus": int64(-1), "zero": int64(0), "one": int64(1), "port": int64(70000), "wide": int64(1) << 31, "huge": int64(1) << 62, "fraction": 1.5} {
			set(what, v)
		}
	case fraction:
		set("text", "1.5")
		set("minus", -1.5)
	case flag:
		b, _ := n.value.(bool)
		set("flip", !b)
		set("text", "true")
		set("number", int64(1))
	case quantity:
		for what, v := range map[string]any{"junk": "junk", "minus": "-1", "zero": int64(0), "bad-unit": "1Xi", "fraction": 0.1, "milli": "1m", "flag": true, "long": "1.2345678901234567890123", "exponent": "1e3", "caps": "1K"} {
			set(what, v)
		}
	case intOrString:
		for what, v := range map[string]any{"flag": true, "text": "text", "empty": "", "percent": "50%", "above": "101%", "minus": int64(-1), "wide": int64(1) << 40, "fraction": 1.5, "digits": "8080", "port": int64(70000)} {
			set(what, v)
		}
	case instant:
		set("junk", "yesterday")
		set("number", int64(7))
		set("empty", "")
		set("zoned", "2026-01-02T05:04:05.5+02:00")
	case binary:
		set("junk", "not base64!")
		set("number", int64(7))
		set("empty", "")
	}
	// Some lists above come from maps.
	slices.SortStableFunc(out, func(a, b change) int { return strings.Compare(a.what, b.what) })
	return out
}

func shapeOfValue(v any) shape {
	switch v.(type) {
	case map[string]any:
		return structed
	case []any:
		return listed
	case string:
		return text
	case int64:
		return whole
	case float64:
		return fraction
	case bool:
		return flag
	}
	return free
}

// apply makes a change at a path of an object.
func apply(object map[string]any, at policies.Path, c change) error {
	at = at.Append(c.step...)
	if len(at) == 0 {
		return errors.New("the object itself cannot be replaced")
	}
	parent, ok := policies.Lookup(object, at[:len(at)-1])
	if !ok {
		return errors.New("no such field")
	}
	switch p := parent.(type) {
	case map[string]any:
		key, ok := at[len(at)-1].(string)
		if !ok {
			return errors.New("an object has no index")
		}
		if c.drop {
			delete(p, key)
		} else {
			p[key] = clone(c.value)
		}
	case []any:
		i, ok := at[len(at)-1].(int)
		if !ok || i >= len(p) || c.drop {
			return errors.New("no such item")
		}
		p[i] = clone(c.value)
	default:
		return errors.New("neither object nor list")
	}
	return nil
}

// metadataChanges are the names, labels and other metadata that are tried on a kind.
func metadataChanges(object map[string]any, full bool) []Case {
	var out []Case
	change := func(what string, edit func(metadata map[string]any)) {
		changed := clone(object).(map[string]any)
		metadata, _ := changed["metadata"].(map[string]any)
		edit(metadata)
		out = append(out, Case{Change: what, Object: changed})
	}
	set := func(what, key string, value any) {
		change("metadata "+what, func(m map[string]any) { m[key] = clone(value) })
	}
	if full {
		change("metadata gone", func(m map[string]any) { clear(m) })
		set("null", "labels", nil)
		set("number-label", "labels", map[string]any{"a": int64(1)})
		set("unknown", "unknownField", int64(1))
		set("bad-annotation", "annotations", map[string]any{"bad key": "x"})
		set("big-annotation", "annotations", map[string]any{"a": strings.Repeat("x", 256<<10)})
		set("bad-finalizer", "finalizers", []any{"no-slash", "Bad!/x"})
		set("bad-owner", "ownerReferences", []any{map[string]any{"apiVersion": "", "kind": "", "name": "", "uid": ""}})
		set("two-controllers", "ownerReferences", []any{
			map[string]any{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1", "controller": true},
			map[string]any{"apiVersion": "v1", "kind": "B", "name": "b", "uid": "2", "controller": true},
		})
		set("server-fields", "creationTimestamp", "2020-01-02T03:04:05Z")
		set("uid", "uid", "mine")
		set("deletion", "deletionGracePeriodSeconds", int64(5))
		set("generation", "generation", int64(7))
		set("self-link", "selfLink", "/x")
		set("bad-generateName", "generateName", "Bad_")
		set("namespace", "namespace", "Bad_Namespace")
		set("number-name", "name", int64(5))
		return out
	}
	name, _ := object["metadata"].(map[string]any)["name"].(string)
	change("metadata generateName", func(m map[string]any) { delete(m, "name"); m["generateName"] = name + "-" })
	change("metadata no-name", func(m map[string]any) { delete(m, "name") })
	for what, value := range map[string]string{
		"upper": "UPPER", "under": "a_b", "dots": "a.b.c", "slash": "a/b", "dot": ".", "dotdot": "..", "percent": "a%b", "dash": "a-", "colon": "a:b",
		"digits": "123", "n64": strings.Repeat("n", 64), "n254": strings.Repeat("n", 254), "empty": "", "space": "a b", "emoji": "é",
	} {
		set("name "+what, "name", value)
	}
	set("bad-label-key", "labels", map[string]any{"bad key": "x", "/x": "y", strings.Repeat("k", 64): "z"})
	set("bad-label-value", "labels", map[string]any{"a": "bad value", "b": strings.Repeat("v", 64), "c": "-x", "d": ""})
	set("good", "labels", map[string]any{"a.b/c": "D_e.f-1", "x": ""})
	slices.SortStableFunc(out, func(a, b Case) int { return strings.Compare(a.Change, b.Change) })
	return out
}
