package celpolicy_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
)

func TestWrongDocumentsAreErrorsAtTheirPlace(t *testing.T) {
	t.Parallel()
	head := "apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nmetadata: {name: p}\n"
	namespaced := func(expression string) string {
		return strings.Replace(says(expression), "ValidatingPolicy\nmetadata: {name: p}", "NamespacedValidatingPolicy\nmetadata: {name: p, namespace: ns}", 1)
	}
	for _, c := range []struct{ name, text, want string }{
		{"an unknown field", policy("pods", "validations: [{expresion: \"true\"}]"), "policy.yaml:7:18: unknown field spec.validations[0].expresion: expected one of expression, message, messageExpression, reason"},
		{"an expression that does not compile", policy("pods", "validations:\n- expression: object.a +"), "policy.yaml:8:17: spec.validations[0].expression: Syntax error: mismatched input"},
		{"a name that is not declared, inside a block", policy("pods", "validations:\n- expression: |-\n    true &&\n      nothing"), "policy.yaml:10:9: spec.validations[0].expression: undeclared reference to 'nothing'"},
		{"a validation that is no truth", says("1"), "policy.yaml:7:42: spec.validations[0].expression is of type int: expected bool"},
		{"a variable that is not declared yet", policy("pods", "variables: [{name: a, expression: variables.b}, {name: b, expression: \"1\"}]"), "spec.variables[0].expression: undefined field 'b'"},
		{"a variable of the wrong type", policy("pods", "variables: [{name: a, expression: \"1\"}]\nvalidations: [{expression: \"variables.a == 'x'\"}]"), "found no matching overload for '_==_' applied to '(int, string)'"},
		{"variables in conditions", policy("pods", "variables: [{name: a, expression: \"true\"}]\nmatchConditions: [{name: a, expression: variables.a}]"), "spec.matchConditions[0].expression: undefined field 'a'"},
		{"no constraints", head + "spec: {validations: [{expression: \"true\"}]}\n", "policy.yaml:4:1: spec.matchConstraints: required, with at least one of resourceRules"},
		{"an action that does not exist", policy("pods", "validationActions: [Enforce]"), "policy.yaml:7:23: spec.validationActions[0]: \"Enforce\" is not supported: expected Deny, Warn, Audit"},
		{"a failure policy that does not exist", policy("pods", "failurePolicy: Maybe"), "spec.failurePolicy: \"Maybe\" is not supported: expected Fail, Ignore"},
		{"a mode that does not exist", policy("pods", "evaluation: {mode: XML}"), "spec.evaluation.mode: \"XML\" is not supported: expected Kubernetes, JSON, HTTP, Envoy"},
		{"an operation that does not exist", strings.Replace(says("true"), "CREATE, UPDATE", "PATCH", 1), "spec.matchConstraints.resourceRules[0].operations[0]: \"PATCH\" is not supported"},
		{"a version that does not exist", strings.Replace(says("true"), "io/v1", "io/v2", 1), "policy.yaml:1:13: ValidatingPolicy policies.kyverno.io/v2 is not supported: expected version v1, v1beta1 or v1alpha1"},
		{"a kind that does not exist", strings.Replace(says("true"), "kind: Valid", "kind: Invalid", 1), "policy.yaml:2:7: kind InvalidatingPolicy is unknown in policies.kyverno.io"},
		{"a policy twice", says("true") + "---\n" + says("true"), "ValidatingPolicy p is declared twice, also at policy.yaml:1"},
		{"the network in a namespace", namespaced("http.get('x') == 1"), "http.* is not allowed in namespaced policies"},
		{"global context in a namespace", namespaced("globalContext.get('x') == 1"), "globalContext.* is not allowed in namespaced policies"},
		{"an exception of nothing", "apiVersion: policies.kyverno.io/v1\nkind: PolicyException\nmetadata: {name: x}\nspec: {images: [a]}\n", "PolicyException x excepts nothing: expected spec.policyRefs"},
		{"an exception whose condition does not compile, told once", says("true") + "---\napiVersion: policies.kyverno.io/v1\nkind: PolicyException\nmetadata: {name: x}\nspec: {policyRefs: [{kind: ValidatingPolicy, name: p}], matchConditions: [{name: c, expression: nothing}]}\n",
			"spec.matchConditions[0].expression: undeclared reference to 'nothing'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := compile(t, celpolicy.Options{}, c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if strings.Count(err.Error(), c.want) != 1 {
				t.Errorf("told more than once: %v", err)
			}
		})
	}
}

func TestWhatIsNoValidationIsTold(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"MutatingPolicy":                  "is not a validation; ignored",
		"NamespacedGeneratingPolicy":      "is not a validation; ignored",
		"DeletingPolicy":                  "is not a validation; ignored",
		"NamespacedImageValidatingPolicy": "judges the signatures of images, which is not supported; ignored",
	} {
		var told []string
		o := celpolicy.Options{Warn: func(err error) { told = append(told, err.Error()) }}
		got, err := compile(t, o, "apiVersion: policies.kyverno.io/v1\nkind: "+kind+"\nmetadata: {name: p}\nspec: {}\n")
		if err != nil || len(got) != 0 || len(told) != 1 || told[0] != "policy.yaml:2:7: "+kind+" p "+want {
			t.Errorf("%s: got %d policies, %v, told %q", kind, len(got), err, told)
		}
	}
	for mode, want := range map[string]string{
		"Envoy": "judges requests to services (evaluation.mode Envoy), which are no manifests; ignored",
		"JSON":  "judges payloads that are no Kubernetes objects (evaluation.mode JSON); no manifest is judged by it, but what gitgate check --parser reads",
	} {
		var told []string
		o := celpolicy.Options{Warn: func(err error) { told = append(told, err.Error()) }}
		if _, err := compile(t, o, policy("pods", "evaluation: {mode: "+mode+"}")); err != nil || len(told) != 1 || !strings.HasSuffix(told[0], want) {
			t.Errorf("%s: got %v, told %q", mode, err, told)
		}
	}
}

func TestAllVersionsAreRead(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v1beta1", "v1alpha1"} {
		if got := told(t, celpolicy.Options{}, strings.Replace(says("false"), "io/v1", "io/"+version, 1), pod); len(got) != 1 || !strings.HasPrefix(got[0], "deny") {
			t.Errorf("%s: %v", version, got)
		}
	}
}
