package kyverno_test

import (
	"context"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
)

// FuzzPolicies compiles arbitrary documents and asks those that compile about a Pod and a Deployment: the answer is one of those that
// the contract knows, the same twice, and the objects stay as they are.
func FuzzPolicies(f *testing.F) {
	for _, body := range []string{
		`validate: {message: m, pattern: {spec: {containers: [{(image): "*:latest", =(name): "a*"}]}}}`,
		`validate: {message: "{{ element.name }}", foreach: [{list: request.object.spec.containers, deny: {conditions: {any: [{key: "{{ element.image }}", operator: AnyIn, value: ["a*"]}]}}}]}`,
		"context: [{name: a, variable: {value: {b: \"{{ request.object.metadata }}\"}}}]\nvalidate: {anyPattern: [{metadata: \"{{ a.b }}\"}]}",
		`validate: {podSecurity: {level: restricted, version: v1.30, exclude: [{controlName: Capabilities, images: ["*"], restrictedField: "spec.containers[*].securityContext.capabilities.add", values: [KILL]}]}}`,
		"exclude: {any: [{resources: {namespaceSelector: {matchLabels: {a: b}}}}]}\npreconditions: [{key: a, operator: NotIn, value: \"1-2\"}]\nvalidate: {deny: {}}",
	} {
		f.Add(validate("Pod", body))
	}
	f.Add("apiVersion: kyverno.io/v2\nkind: PolicyException\nmetadata: {name: x}\nspec: {exceptions: [{policyName: p, ruleNames: [r]}], match: {any: [{resources: {kinds: [Pod]}}]}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		objects, _ := manifest.Decode("policy.yaml", []byte(text), manifest.DefaultLimits())
		var docs []policies.Document
		for _, o := range objects {
			if d := (policies.Document{File: "policy.yaml", Object: o}); kyverno.Claims(d) {
				docs = append(docs, d)
			}
		}
		compiled, err := kyverno.Compiler(kyverno.Options{})(context.Background(), docs)
		if err != nil || len(compiled) == 0 {
			return
		}
		e, err := policies.New(compiled, nil, nil)
		if err != nil {
			return
		}
		volatile := strings.Contains(text, "random") || strings.Contains(text, "time") || strings.Contains(text, "x509")
		for _, object := range []string{pod, deployment} {
			first, second := told(t, e, object), told(t, e, object)
			if !volatile && strings.Join(first, "\n") != strings.Join(second, "\n") {
				t.Fatalf("told %q, then %q", first, second)
			}
		}
	})
}
