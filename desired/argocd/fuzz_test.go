package argocd_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"gitgate.dev/gitgate/desired/argocd"
	"gitgate.dev/gitgate/policies"
)

// No template and no parameters make a set panic, hang, or make an Application without a name.
func FuzzTheTemplatesOfASet(f *testing.F) {
	for _, seed := range []struct {
		goTemplate    bool
		name, element string
	}{
		{false, "a-{{env}}", `{"env": "dev"}`},
		{false, "{{", `{"env": "{{env}}"}`},
		{true, "{{ .env }}-{{ index .list 1 }}", `{"env": "dev", "list": [1, "x"]}`},
		{true, "{{ range $i, $x := until 3 }}{{ $x }}{{ end }}", `{}`},
		{true, "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}", `{}`},
		{true, "{{ slugify 10 true .s }}{{ normalize .s }}{{ toYaml . }}", `{"s": "A & B"}`},
		{true, "{{ $x := set . \"self\" . }}{{ . }}", `{}`},
	} {
		f.Add(seed.goTemplate, seed.name, seed.element)
	}
	f.Fuzz(func(t *testing.T, goTemplate bool, name, element string) {
		var e map[string]any
		if json.Unmarshal([]byte(element), &e) != nil || e == nil {
			return
		}
		s, err := argocd.ParseSet(policies.NewObject(map[string]any{
			"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": map[string]any{"name": "s", "namespace": "argocd"},
			"spec": map[string]any{
				"goTemplate": goTemplate, "generators": []any{map[string]any{"list": map[string]any{"elements": []any{e}}}},
				"template": map[string]any{"metadata": map[string]any{"name": name}, "spec": map[string]any{}},
			},
		}, policies.Origin{File: "set.yaml"}, nil, nil))
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		made, _, err := s.Generate(ctx, nil)
		if ctx.Err() != nil {
			t.Fatalf("templates are not bounded: %v", err)
		}
		for _, o := range made {
			if o.Name == "" || o.Namespace != "argocd" {
				t.Fatalf("application %v", o.Map())
			}
		}
	})
}
