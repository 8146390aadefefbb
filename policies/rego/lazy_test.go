package rego

import (
	"math"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// OPA puts what "with input.spec.x as y" gives into a copy of the input, and its copy of an object that is read only as far as somebody looks
// is the object itself: what one package supposes must not be what the next sees.
func TestWhatAPackageSupposesOfTheInputStaysItsOwn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, rules string }{
		{"a field", `deny contains "last" if { safe with input.spec.bad as 7 }`},
		{"a field that is not there", `deny contains "last" if { safe with input.spec.bad.not as 7 }`},
		{"the whole of a part", `deny contains "last" if { safe with input.spec as {"bad": 7} }`},
		{"a part of another input", `deny contains "last" if { safe with input.x as input.spec with input.x.bad as 7 }`},
		{"a part of the data", `deny contains "last" if { safe with data.x as input.spec with data.x.bad as 7 }`},
		{"in a comprehension", `deny contains "last" if { count([1 | safe with input.spec.bad as 7]) == 1 }`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, e := five(t, "safe if { object.get(input, [\"x\", \"y\"], 1) == 2 }\n\nsafe if { some i in numbers.range(1, 3); i == 9 }\n\n"+tc.rules, Options{})
			for bad := range 4 {
				want := "p" + string(rune('0'+bad))
				for range 2 {
					if got := decided(t, e, map[string]any{"bad": int64(bad)}, 0); got != want {
						t.Errorf("told %q, want %q", got, want)
					}
				}
			}
		})
	}
}

func TestNoBuiltinWritesIntoTheInput(t *testing.T) {
	t.Parallel()
	for _, made := range []string{
		`json.patch(input, [{"op": "replace", "path": "/spec/bad", "value": 7}])`,
		`json.patch(input.spec, [{"op": "replace", "path": "/bad", "value": 7}, {"op": "add", "path": "/new", "value": input.spec}])`,
		`json.patch({"a": input.spec}, [{"op": "replace", "path": "/a/bad", "value": 7}])`,
		`json.patch(input, [{"op": "move", "from": "/spec/bad", "path": "/gone"}])`,
		`json.remove(input, ["spec/bad"])`,
		`json.filter(input, ["metadata/name"])`,
		`object.remove(input.spec, ["bad"])`,
		`object.filter(input.spec, ["x"])`,
		`object.union(input.spec, {"bad": 7})`,
		`object.union(input, {"spec": {"bad": 7}})`,
		`object.union({"spec": {"bad": 7}}, input)`,
		`object.union_n([input, {"spec": {"bad": 7}}, {"spec": {"more": input.spec}}])`,
		`object.union_n([{"spec": {"more": {"bad": 7}}}, {"spec": {"more": input.spec}}, {"spec": {"more": {"extra": 1}}}])`,
		`{k: v | some k, v in input.spec}`,
		`[v | walk(input, [p, v]); count(p) > 1]`,
		`yaml.unmarshal(yaml.marshal(input))`,
		`json.match_schema(input, {"properties": {"spec": {"properties": {"bad": {"default": 7}}}}})`,
		`graph.reachable(input.spec, {"bad"})`,
		`strings.render_template("{{.bad}}", input.spec)`,
		`sprintf("%v", [input])`,
		`crypto.sha256(json.marshal(input))`,
	} {
		t.Run(made, func(t *testing.T) {
			t.Parallel()
			s, e := five(t, "deny contains \"last\" if { x := "+made+"; json.marshal(x) == \"none\" }", Options{})
			if s.writes {
				t.Fatal("the input is not read lazily")
			}
			for bad := range 4 {
				want := "p" + string(rune('0'+bad))
				for range 2 {
					if got := decided(t, e, map[string]any{"bad": int64(bad)}, 0); got != want {
						t.Errorf("told %q, want %q", got, want)
					}
				}
			}
		})
	}
}

func TestWhatIsReadLazilyIsWhatIsReadAtOnce(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]any{
		"numbers": []any{int64(0), int64(-1), int64(1) << 31, int64(math.MaxInt64), int64(math.MinInt64), 0.5, -0.5, math.Copysign(0, -1), 1.0, 1e6, 1e15, 1 << 53, 1e19, 1e21, 1e300, 5e-324},
		"nulls":   map[string]any{"a": nil, "b": []any{nil}, "c": map[string]any{"d": nil}},
		"empty":   map[string]any{"": map[string]any{}, "a": []any{}, "b": ""},
		"text":    "a",
		"texts":   []any{"\x00", "\u2028", "a\nb", "1", "true", "null"},
		"lists":   []any{[]any{map[string]any{"a": []any{map[string]any{}}}}},
	} {
		for _, meta := range []any{map[string]any{"name": "a"}, map[string]any{"generateName": "a-"}, map[string]any{"name": nil, "generateName": "a-"}, map[string]any{"name": int64(1), "generateName": "a-"}, map[string]any{"generateName": int64(1)}, "a", nil} {
			o := policies.NewObject(map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": meta, "spec": spec}, policies.Origin{}, nil, nil)
			lazy, err := opa.Lazy(o)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := opa.Named(o)
			if err != nil {
				t.Fatal(err)
			}
			if lazy.Value.Compare(whole.Value) != 0 || whole.Value.Compare(lazy.Value) != 0 || lazy.Value.Hash() != whole.Value.Hash() {
				t.Errorf("%s, metadata %v: %v, want %v", name, meta, lazy, whole)
			}
		}
	}
}
