package gatekeeper_test

import (
	"context"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/gatekeeper"
)

func documents(t testing.TB, text string) []policies.Document {
	t.Helper()
	objects, problems := manifest.Decode("policies.yaml", []byte(text), manifest.DefaultLimits())
	if len(problems) > 0 {
		t.Fatalf("documents: %+v", problems)
	}
	var out []policies.Document
	for _, o := range objects {
		out = append(out, policies.Document{File: "policies.yaml", Object: o})
	}
	return out
}

// compile returns the policies, what was warned of, and the error's lines.
func compile(t testing.TB, text string) (ps []*policies.Policy, warned, wrong []string) {
	t.Helper()
	ps, err := gatekeeper.Compiler(gatekeeper.Options{Warn: func(err error) { warned = append(warned, err.Error()) }})(context.Background(), documents(t, text))
	if err != nil {
		wrong = strings.Split(err.Error(), "\n")
	}
	return ps, warned, wrong
}

func mustCompile(t testing.TB, text string) []*policies.Policy {
	t.Helper()
	ps, _, wrong := compile(t, text)
	if wrong != nil {
		t.Fatalf("policies do not compile:\n%s", strings.Join(wrong, "\n"))
	}
	return ps
}

func object(t testing.TB, text string) *policies.Object {
	t.Helper()
	objects, problems := manifest.Decode("object.yaml", []byte(text), manifest.DefaultLimits())
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatalf("object: %+v", problems)
	}
	return objects[0]
}

func creation(o *policies.Object) *policies.Change {
	namespaced := o.Kind.Kind != "Namespace" && o.Kind.Kind != "ClusterRole"
	c := &policies.Change{Operation: policies.Create, Object: o, Namespaced: namespaced, Namespace: o.Namespace,
		Resource: policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: strings.ToLower(o.Kind.Kind) + "s"}}
	if namespaced && c.Namespace == "" {
		c.Namespace = "default"
	}
	return c
}

func decide(t testing.TB, ps []*policies.Policy, c *policies.Change) []string {
	t.Helper()
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := e.Decide(context.Background(), c)
	out := []string{}
	for _, r := range d.Results {
		switch r.Outcome {
		case policies.Violated:
			for _, v := range r.Finding.Violations {
				out = append(out, r.Policy.Action.String()+": "+v.Message)
			}
		case policies.Failed:
			out = append(out, "failed: "+r.Err.Error())
		case policies.Deferred:
			out = append(out, "deferred: "+r.Missing)
		case policies.Skipped:
			out = append(out, "skipped: "+r.Finding.Skipped)
		}
	}
	return out
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nexpected:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// indented puts text under a key of YAML.
func indented(n int, text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", n))
}

// template is a template of the kind Judged, in v0.
func template(rego string) string {
	return `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: judged}
spec:
  crd:
    spec:
      names: {kind: Judged}
      validation:
        openAPIV3Schema:
          type: object
          properties:
            labels: {type: array, items: {type: object, properties: {key: {type: string}, allowedRegex: {type: string}}}}
            limit: {type: integer, default: 3}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        ` + indented(8, rego) + "\n---\n"
}

// native is a template of the kind Judged, in CEL, with the source that is given.
func native(source string) string {
	return `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: judged}
spec:
  crd:
    spec:
      names: {kind: Judged}
      validation:
        openAPIV3Schema:
          type: object
          properties:
            images: {type: array, items: {type: string}}
            limit: {type: integer, default: 3}
  targets:
    - target: admission.k8s.gatekeeper.sh
      code:
      - engine: K8sNativeValidation
        source:
          ` + indented(10, source) + "\n---\n"
}

// constraint is one of Judged, with more under spec.
func constraint(spec string) string {
	return "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Judged\nmetadata: {name: one}\nspec:\n  " + indented(2, spec) + "\n---\n"
}

const always = "package judged\nviolation[{\"msg\": \"told\"}] { true }"

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\nspec: {containers: [{name: c, image: nginx}]}\n"

const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: nginx}]}}}\n"

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n"
