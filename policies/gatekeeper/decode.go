package gatekeeper

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
)

// The documents as Gatekeeper's API has them (frameworks/constraint pkg/apis/templates, gatekeeper pkg/mutation/match). All versions of
// a template have the same fields.

type templateDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   any    `json:"metadata"`
	Status     any    `json:"status"`
	Spec       struct {
		CRD struct {
			Spec struct {
				Names struct {
					Kind       string   `json:"kind"`
					ShortNames []string `json:"shortNames"`
				} `json:"names"`
				Validation *struct {
					OpenAPIV3Schema any   `json:"openAPIV3Schema"`
					LegacySchema    *bool `json:"legacySchema"`
				} `json:"validation"`
			} `json:"spec"`
		} `json:"crd"`
		Targets []targetDocument `json:"targets"`
	} `json:"spec"`
}

type targetDocument struct {
	Target     string   `json:"target"`
	Rego       string   `json:"rego"`
	Libs       []string `json:"libs"`
	Operations []string `json:"operations"`
	Code       []struct {
		Engine string `json:"engine"`
		Source any    `json:"source"`
	} `json:"code"`
}

type regoDocument struct {
	Rego    string   `json:"rego"`
	Version string   `json:"version"`
	Libs    []string `json:"libs"`
}

type constraintDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   any    `json:"metadata"`
	Status     any    `json:"status"`
	Spec       struct {
		Match                    *matchDocument `json:"match"`
		Parameters               any            `json:"parameters"`
		EnforcementAction        string         `json:"enforcementAction"`
		ScopedEnforcementActions []struct {
			Action            string `json:"action"`
			EnforcementPoints []struct {
				Name string `json:"name"`
			} `json:"enforcementPoints"`
		} `json:"scopedEnforcementActions"`
	} `json:"spec"`
}

type matchDocument struct {
	Kinds []struct {
		APIGroups []string `json:"apiGroups"`
		Kinds     []string `json:"kinds"`
	} `json:"kinds"`
	Scope              string                `json:"scope"`
	Source             string                `json:"source"`
	Name               string                `json:"name"`
	Namespaces         []string              `json:"namespaces"`
	ExcludedNamespaces []string              `json:"excludedNamespaces"`
	LabelSelector      *metav1.LabelSelector `json:"labelSelector"`
	NamespaceSelector  *metav1.LabelSelector `json:"namespaceSelector"`
}

func errorAt(o *policies.Object, path policies.Path, at policies.Aspect, err error) error {
	return policies.ErrorAt(o.Locate(path, at), err)
}

// decode fills into, a pointer to a struct, from what o holds at path. Every unknown field and every value of a wrong type is an error
// at its place.
func decode(o *policies.Object, path policies.Path, content, into any) []error {
	c := checker{doc: o}
	c.check(reflect.TypeOf(into).Elem(), content, path)
	if len(c.errs) > 0 {
		return c.errs
	}
	text, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return []error{errorAt(o, path, policies.AtValue, fmt.Errorf("%s does not decode: %w", o, err))}
	}
	return nil
}

// checker compares the shape of a document with a Go type.
type checker struct {
	doc  *policies.Object
	errs []error
}

func (c *checker) check(t reflect.Type, value any, path policies.Path) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(path, "a map", value)
			return
		}
		fields := map[string]reflect.Type{}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			fields[name] = t.Field(i).Type
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			at := path.Append(key)
			field, known := fields[key]
			if !known {
				c.errs = append(c.errs, errorAt(c.doc, at, policies.AtKey,
					fmt.Errorf("unknown field %s: expected one of %s", at, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))))
				continue
			}
			c.check(field, m[key], at)
		}
	case reflect.Map:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(path, "a map", value)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			c.check(t.Elem(), m[key], path.Append(key))
		}
	case reflect.Slice:
		l, ok := value.([]any)
		if !ok {
			c.wrong(path, "a list", value)
			return
		}
		for i, v := range l {
			if v == nil && t.Elem().Kind() == reflect.String {
				c.wrong(path.Append(i), "a string", v)
			}
			c.check(t.Elem(), v, path.Append(i))
		}
	case reflect.String:
		if _, ok := value.(string); !ok {
			c.wrong(path, "a string", value)
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			c.wrong(path, "true or false", value)
		}
	}
}

func (c *checker) wrong(path policies.Path, want string, got any) {
	c.errs = append(c.errs, errorAt(c.doc, path, policies.AtValue, fmt.Errorf("%s is %s: expected %s", path, nameOf(got), want)))
}

func nameOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "true or false"
	default:
		return "a number"
	}
}
