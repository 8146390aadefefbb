package gatekeeper_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/gatekeeper"
)

func TestWhatIsWrongIsToldAtItsPlace(t *testing.T) {
	good := template(always)
	for _, tc := range []struct {
		name, text string
		want       []string // parts of the lines, in any order
	}{
		{"a constraint without a template", constraint("match: {}"), []string{"policies.yaml:2:7: constraint one has no template: expected a ConstraintTemplate of the kind Judged"}},
		{"a template of another case", good + replaced(constraint("match: {}"), "kind: Judged", "kind: judged"), []string{"has no template", "; Judged is one"}},
		{"an unknown field of a template", replaced(good, "targets:", "target:"), []string{"unknown field spec.target: expected one of crd, targets"}},
		{"an unknown field of a match", good + constraint("match: {namespace: [x]}"), []string{"unknown field spec.match.namespace"}},
		{"an unknown field of a constraint", good + constraint("paramters: {}"), []string{"unknown field spec.paramters"}},
		{"an unknown parameter", good + constraint("parameters: {label: []}"), []string{":24:16: unknown field spec.parameters.label: the template of Judged does not have it"}},
		{"a parameter of a wrong type", good + constraint("parameters: {labels: [{key: 3}]}"), []string{"spec.parameters.labels[0].key: invalid value"}},
		{"parameters for a template that takes none", replaced(good, "        openAPIV3Schema:", "        legacySchema: false\n        openAPIV3Schema:") + constraint("parameters: 3"), []string{"spec.parameters: invalid value"}},
		{"a value of a wrong type", good + constraint("match: {namespaces: shop}"), []string{"spec.match.namespaces is the string \"shop\": expected a list"}},
		{"a pattern with a star inside", good + constraint("match: {namespaces: [a*b]}"), []string{`"a*b" is no pattern`}},
		{"a scope that does not exist", good + constraint("match: {scope: namespaced}"), []string{`scope "namespaced" does not exist`}},
		{"a source that does not exist", good + constraint("match: {source: Mine}"), []string{`source "Mine" does not exist`}},
		{"a selector that cannot be used", good + constraint("match: {labelSelector: {matchExpressions: [{key: a, operator: Is}]}}"), []string{"labelSelector cannot be used"}},
		{"an action that does not exist", good + constraint("enforcementAction: refuse"), []string{`enforcementAction "refuse" does not exist: expected deny, warn, dryrun or scoped`}},
		{"a scoped action without actions", good + constraint("enforcementAction: scoped"), []string{"expected scopedEnforcementActions with it"}},
		{"a point that does not exist", good + constraint("enforcementAction: scoped\nscopedEnforcementActions: [{action: kill, enforcementPoints: [{name: x}]}, {action: deny}]"), []string{`action "kill" does not exist`, `enforcement point "x" does not exist`, "names no enforcement point"}},
		{"a constraint of v1", good + replaced(constraint("match: {}"), "constraints.gatekeeper.sh/v1beta1", "constraints.gatekeeper.sh/v1"), []string{"constraint of the version v1: expected constraints.gatekeeper.sh/v1beta1"}},
		{"a constraint twice", good + constraint("match: {}") + constraint("match: {}"), []string{"constraint Judged/one is declared twice, also at policies.yaml:20"}},
		{"a template twice", good + good + constraint("match: {}"), []string{"ConstraintTemplate judged is declared twice, also at policies.yaml:1"}},
		{"a template with another name", replaced(good, "name: judged", "name: judge"), []string{"template judge is for the kind Judged: expected the name judged"}},
		{"a template of v2", replaced(good, "sh/v1", "sh/v2"), []string{"ConstraintTemplate has no version v2"}},
		{"a template for another target", replaced(good, "admission.k8s", "audit.k8s"), []string{`target "audit.k8s.gatekeeper.sh" does not exist`}},
		{"a schema that is not structural", replaced(good, "type: integer, ", ""), []string{"openAPIV3Schema is not structural"}},
		{"an operation that does not exist", replaced(good, "      rego: |", "      operations: [PATCH]\n      rego: |"), []string{`operation "PATCH" does not exist`}},
		{"an engine that does not exist", replaced(good, "      rego: |", "      code: [{engine: Lua, source: {}}]\n      rego: |"), []string{`engine "Lua" does not exist: expected Rego or K8sNativeValidation`}},
		{"CEL without validations", native("validations: []"), []string{"policies.yaml:18:9: template judged has no validations: expected at least one"}},
		{"CEL without a source", replaced(native("validations: []"), "        source:\n          validations: []\n", ""), []string{"code of the engine K8sNativeValidation has no source"}},
		{"match conditions under the name of Kubernetes", native("matchConditions: [{name: a, expression: \"true\"}]\nvalidations: [{expression: \"true\"}]"), []string{"policies.yaml:19:11: unknown field matchConditions: expected matchCondition, as Gatekeeper spells it"}},
		{"a variable that is Gatekeeper's own", native("variables: [{name: params, expression: \"1\"}, {name: gatekeeper_internal_x, expression: \"1\"}]\nvalidations: [{expression: \"true\"}]"), []string{`19:30: variable "params" is Gatekeeper's own`, `variable "gatekeeper_internal_x" is Gatekeeper's own`}},
		{"a failure policy that does not exist", native("failurePolicy: Maybe\nvalidations: [{expression: \"true\"}]"), []string{`policies.yaml:19:26: failurePolicy "Maybe" does not exist: expected Fail or Ignore`}},
		{"CEL that does not compile", native("variables: [{name: a, expression: \"1 +\"}]\nvalidations: [{expression: object.x ==}, {expression: size(variables.b) > 0}, {expression: \"'a'\"}]"), []string{"19:49: spec.targets[0].code[0].source.variables[0].expression: Syntax error", "20:49: spec.targets[0].code[0].source.validations[0].expression: Syntax error", "undefined field 'b'", "is of type string: expected bool"}},
		{"the constraint outside of variables", native("validations: [{expression: has(params.spec)}]"), []string{"19:42: spec.targets[0].code[0].source.validations[0].expression: undeclared reference to 'params'"}},
		{"no code", replaced(native("validations: []"), "      code:\n      - engine: K8sNativeValidation\n        source:\n          validations: []\n", ""), []string{"template judged has no code: expected Rego in targets[0].rego, or code for an engine in targets[0].code"}},
		{"Rego that does not parse", template("package judged\nviolation[{\"msg\": \"m\"}] {\n  x := \n}"), []string{"policies.yaml:20:9: unexpected } token"}},
		{"Rego that does not compile", template("package judged\nviolation[{\"msg\": m}] { true }"), []string{"policies.yaml:18:27: var m is unsafe"}},
		{"a template without the rule violation", template("package judged\ndeny[{\"msg\": \"m\"}] { true }"), []string{"policies.yaml:17:9: template judged has no rule violation"}},
		{"a rule violation that is no set", template("package judged\nviolation = 3 { true }"), []string{"policies.yaml:18:9: rule violation makes no set"}},
		{"data that is not the inventory", template("package judged\nviolation[{\"msg\": \"m\"}] { data.teams }"), []string{"policies.yaml:18:35: reference to data.teams: expected data.inventory or data.lib"}},
		{"an import that Gatekeeper does not allow", template("package judged\nimport rego.v1\nviolation contains {\"msg\": \"m\"} if true"), []string{"import of rego.v1"}},
		{"the network", template("package judged\nviolation[{\"msg\": \"m\"}] { http.send({}) }"), []string{"policies.yaml:18:35: http.send asks the network: a policy may call it only when gitgate.yaml allows it"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ps, _, wrong := compile(t, tc.text)
			if wrong == nil || ps != nil {
				t.Fatalf("compiles: %d policies", len(ps))
			}
			all := strings.Join(wrong, "\n")
			for _, part := range tc.want {
				if !strings.Contains(all, part) {
					t.Errorf("told:\n%s\nexpected in it: %s", all, part)
				}
			}
			for _, line := range wrong {
				if !strings.HasPrefix(line, "policies.yaml:") {
					t.Errorf("no place: %s", line)
				}
			}
		})
	}
}

func TestWhatIsSuspiciousIsTold(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"a template without a constraint", template(always), "policies.yaml:3:18: template judged has no constraint: nobody is judged by it"},
		{"a mutation", "apiVersion: mutations.gatekeeper.sh/v1\nkind: Assign\nmetadata: {name: a}\n", "policies.yaml:2:7: Assign a (mutations.gatekeeper.sh/v1) is not a validation; ignored"},
		{"Gatekeeper's own configuration", "apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config}\n", "policies.yaml:2:7: Config config (config.gatekeeper.sh/v1alpha1) is not a validation; ignored"},
		{"scoped actions that are not used", template(always) + constraint("scopedEnforcementActions: [{action: deny, enforcementPoints: [{name: \"*\"}]}]"), "policies.yaml:24:3: scopedEnforcementActions of Judged one are not used: expected enforcementAction: scoped with them"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, warned, wrong := compile(t, tc.text)
			same(t, wrong)
			same(t, warned, tc.want)
		})
	}
}

func TestLegacySchemasKeepWhatTheyDoNotKnow(t *testing.T) {
	rego := "package judged\nviolation[{\"msg\": msg}] { msg := sprintf(\"%v\", [input.parameters]) }"
	for _, tc := range []struct{ name, text string }{
		{"of v1beta1", replaced(template(rego), "sh/v1", "sh/v1beta1")},
		{"of v1 when it says so", replaced(template(rego), "        openAPIV3Schema:", "        legacySchema: true\n        openAPIV3Schema:")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ps := mustCompile(t, tc.text+constraint("parameters: {other: 1}"))
			same(t, decide(t, ps, creation(object(t, pod))), `deny: {"limit": 3, "other": 1}`)
		})
	}
}

func TestAPolicySaysWhereItIsWritten(t *testing.T) {
	ps := mustCompile(t, template(always)+constraint("match: {kinds: [{apiGroups: [apps], kinds: [Deployment]}]}"))
	p := ps[0]
	if p.Name != "Judged/one" || p.Kind != "gatekeeper" || p.Origin.Line != 22 || len(p.Match.Kinds) != 1 || p.Action != policies.Deny {
		t.Errorf("policy %+v", p)
	}
}

func TestDocumentsOfGatekeeperAreClaimed(t *testing.T) {
	for apiVersion, want := range map[string]bool{
		"templates.gatekeeper.sh/v1": true, "constraints.gatekeeper.sh/v1beta1": true, "mutations.gatekeeper.sh/v1": true, "test.gatekeeper.sh/v1alpha1": true,
		"v1": false, "gatekeeper.sh.example.com/v1": false, "kyverno.io/v1": false,
	} {
		d := documents(t, "apiVersion: "+apiVersion+"\nkind: X\nmetadata: {name: a}\n")[0]
		if gatekeeper.Claims(d) != want {
			t.Errorf("%s: claimed %v, expected %v", apiVersion, !want, want)
		}
	}
}
