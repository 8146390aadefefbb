package strict_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

type document struct {
	Meta `json:",inline"`
	Spec struct {
		Count   int32             `json:"count"`
		On      *bool             `json:"enabled"`
		Names   []string          `json:"names"`
		Labels  map[string]string `json:"labels"`
		Odd     odd               `json:"odd"`
		Ignored string            `json:"-"`
	} `json:"spec"`
}

// Meta is embedded, as API types embed theirs.
type Meta struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
}

type odd any

func TestEveryFieldThatIsWrongIsToldAtItsPlace(t *testing.T) {
	for _, tc := range []struct {
		name, spec string
		usable     bool
		want       []string
	}{
		{"a document of the type's shape", "{count: 3, enabled: true, names: [a], labels: {a: b}}", true, nil},
		{"nulls", "{count: null, names: null}", true, nil},
		{"an unknown field is told and the rest is read", "{count: 3, cuont: 4}", true, []string{"x.yaml:4:18: unknown field spec.cuont: expected one of count, enabled, labels, names, odd"}},
		{"a field that the type keeps to itself", "{Ignored: a}", true, []string{"unknown field spec.Ignored"}},
		{"values of other types, all of them", "{count: \"3\", enabled: yes please, names: a, labels: [b]}", false, []string{
			"x.yaml:4:15: spec.count is the string \"3\": expected a whole number", "spec.enabled is the string \"yes please\": expected true or false", "spec.labels is a list: expected a map", "spec.names is the string \"a\": expected a list"}},
		{"a value inside a list", "{names: [a, 1]}", false, []string{"x.yaml:4:19: spec.names[1] is 1: expected a string"}},
		{"a number that does not fit", "{count: 99999999999}", false, []string{"does not decode"}},
		{"a type with rules of its own", "{odd: bad}", true, []string{"x.yaml:4:8: odd has to be good"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects, problems := manifest.Decode("x.yaml", []byte("apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec: "+tc.spec+"\n"), manifest.DefaultLimits())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			var d document
			usable, errs := strict.Decode(objects[0], nil, objects[0].Map(), &d, strict.Options{
				Special: func(typ reflect.Type, v any, _ policies.Path, _ func(reflect.Type, any, policies.Path)) (bool, error) {
					if typ != reflect.TypeFor[odd]() {
						return false, nil
					}
					if v != "good" {
						return true, errors.New("odd has to be good")
					}
					return true, nil
				},
			})
			if usable != tc.usable || len(errs) != len(tc.want) {
				t.Fatalf("usable %v with %v, want %v with %d errors", usable, errs, tc.usable, len(tc.want))
			}
			for i, want := range tc.want {
				if !strings.Contains(errs[i].Error(), want) {
					t.Errorf("error %v, want %s", errs[i], want)
				}
			}
			if tc.name == "a document of the type's shape" && (d.Spec.Count != 3 || d.Kind != "X" || !*d.Spec.On) {
				t.Errorf("read %+v", d)
			}
		})
	}
}
