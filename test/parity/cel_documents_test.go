package parity_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// TestPolicyDocumentsAreRefusedWhereTheAPIServerRefusesThem compares the CEL kind's own checks of its documents with the API
// server's validation of them.
func TestPolicyDocumentsAreRefusedWhereTheAPIServerRefusesThem(t *testing.T) {
	t.Parallel()
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	documents := append(policyDocuments(), bindingDocuments()...)
	refused := 0
	for _, text := range documents {
		objects, problems := manifest.Decode("p.yaml", []byte(text), manifest.DefaultLimits())
		if len(problems) > 0 {
			t.Fatalf("%s\n%s", problems[0].Message, text)
		}
		o := objects[0]
		said := rules.Admit(policies.NewSet(), o, nil)
		if said.Err != nil {
			t.Fatal(said.Err)
		}
		var theirs []string
		for _, v := range said.Violations {
			if !v.Warning {
				theirs = append(theirs, v.Path.String()+": "+v.Message)
			}
		}
		_, err := cel.Compiler(cel.Options{Kubernetes: "1.36", API: rules, ImplicitBinding: true})(t.Context(), []policies.Document{{File: "p.yaml", Object: o}})
		ours := complaints(err)
		if (len(ours) == 0) != (len(theirs) == 0) {
			t.Errorf("gitgate says    %q\nAPI server says %q\n%s", ours, theirs, text)
		}
		if len(theirs) > 0 {
			refused++
		}
	}
	if refused < len(documents)/3 || refused > len(documents)*9/10 {
		t.Errorf("%d of %d documents are refused: the comparison says little", refused, len(documents))
	}
}

// complaints are the errors about a document by itself.
func complaints(err error) []string {
	if err == nil {
		return nil
	}
	var out []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		if text := e.Error(); !strings.Contains(text, "not among the policies") && !strings.Contains(text, "an implicit binding cannot") {
			out = append(out, text)
		}
	}
	return out
}

// policyDocuments puts each field value below in a policy that is right otherwise.
func policyDocuments() []string {
	const constraints = "matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}"
	fields := []string{
		"failurePolicy: Maybe", "failurePolicy: Ignore", "paramKind: {apiVersion: v1, kind: ConfigMap}", "paramKind: {apiVersion: V1, kind: ConfigMap}",
		"paramKind: {apiVersion: a/v1, kind: 1x}", "paramKind: {apiVersion: /v1, kind: X}", "paramKind: {apiVersion: a/, kind: X}", "paramKind: {apiVersion: /, kind: X}",
		"paramKind: {apiVersion: a_b/v1, kind: Config-Map}", "paramKind: {}", "validations: []", "auditAnnotations: []",
		"matchConditions: [{name: a, expression: \"true\"}]", "matchConditions: [{name: a/b/c, expression: \"true\"}]", "matchConditions: [{name: a/b, expression: \"1\"}]",
		"matchConditions: [{name: a, expression: \"variables.x\"}]", "matchConditions: [{name: a, expression: \" true \"}, {name: a, expression: \"true\"}]", "matchConditions: [{expression: \"true\"}]",
		"variables: [{name: a, expression: \"1\"},{name: a, expression: \"'2'\"}]", "variables: [{name: _a1, expression: \"1\"}]", "variables: [{name: 1a, expression: \"1\"}]", "variables: [{name: a-b, expression: \"1\"}]",
		"variables: [{name: namespace, expression: \"1\"}]", "variables: [{name: a, expression: \"\"}]", "variables: [{name: \"\", expression: \"1\"}]", "variables: [{name: a, expression: \"variables.b\"}, {name: b, expression: \"1\"}]",
		"auditAnnotations: [{key: a, valueExpression: \"'x'\"}]", "auditAnnotations: [{key: a, valueExpression: \"1\"}]", "auditAnnotations: [{key: a/b, valueExpression: \"'x'\"}]", "auditAnnotations: [{key: \"\", valueExpression: \"'x'\"}]",
		"auditAnnotations: [{key: a, valueExpression: \"true ? 'x' : null\"}]", "auditAnnotations: [{key: a, valueExpression: \"null\"}]", "auditAnnotations: [{key: a, valueExpression: \"dyn(null)\"}]",
		"auditAnnotations: [{key: a, valueExpression: \"'" + strings.Repeat("x", 5200) + "'\"}]", "auditAnnotations: [{key: a, valueExpression: \"'x'\"}, {key: a, valueExpression: \"'y'\"}]",
	}
	for _, v := range []string{
		`{expression: "true", message: "a\nb"}`, `{expression: "true", message: " a\n"}`, `{expression: "true", message: " "}`, `{expression: "true", reason: Unauthorized}`, `{expression: "true", reason: Forbidden}`,
		`{expression: "true", reason: ""}`, `{expression: "true", messageExpression: " "}`, `{expression: "true", messageExpression: "1"}`, `{expression: "true", messageExpression: "dyn('a')"}`, `{expression: "dyn(true)"}`, `{expression: ""}`, `{}`,
		`{expression: "request.userInfo.username == namespaceObject.metadata.name"}`, `{expression: "request.uid == ''"}`, `{expression: "namespaceObject.metadata.managedFields == []"}`, `{expression: "variables.x == 1"}`,
		`{expression: "duration('1x') == duration('1h')"}`, `{expression: "[1,'a'].size() == 2"}`, `{expression: "authorizer.requestResource.check('x').allowed()"}`, `{expression: "true", messageExpression: "string(authorizer.requestResource.check('x').allowed())"}`,
		`{expression: "authorizer.group('').resource('a').fieldSelector('a=b').check('x').allowed()"}`, `{expression: "jsonpatch.escapeKey('a') == ''"}`, `{expression: "Object{} == Object{}"}`, `{expression: "cel.bind(a, 1, a == 1)"}`,
		`{expression: "math.greatest(1,2) == 2"}`, `{expression: "base64.encode(b'a') == ''"}`, `{expression: "[1].transformList(i, v, i+v) == []"}`, `{expression: "sets.contains([1],[1])"}`, `{expression: "'a'.reverse() == 'a'"}`,
		`{expression: "[1,2].reverse() == [2,1]"}`, `{expression: "strings.quote('a') == 'a'"}`, `{expression: "optional.of(1).hasValue()"}`, `{expression: "regex.replace('a','b','c') == ''"}`, `{expression: "'a'.format([1]) == 'a'"}`,
		`{expression: "isSemver('1.0.0')"}`, `{expression: "isQuantity('1')"}`, `{expression: "object.__namespace__ == 1 || object.namespace == 1"}`, `{expression: "request.namespace == '' && request.options.x == 1"}`, `{expression: "params.x == 1"}`, `{expression: "this is no CEL"}`,
	} {
		fields = append(fields, "validations: ["+v+"]")
	}
	for _, change := range [][2]string{
		{"apiGroups", `["*", a]`}, {"apiGroups", `[]`}, {"apiVersions", `[]`}, {"apiVersions", `["*", v1]`}, {"apiVersions", `[""]`}, {"operations", `[]`}, {"operations", `["*", CREATE]`}, {"operations", `[PATCH]`}, {"resources", `[]`},
		{"resources", `[""]`}, {"resources", `["*", pods]`}, {"resources", `["*", pods/status]`}, {"resources", `[pods, "*"]`}, {"resources", `["*", pods, "*/scale"]`}, {"resources", `["*/*", pods]`}, {"resources", `["pods/*", pods/status]`},
		{"resources", `[pods/status, "pods/*"]`}, {"resources", `["*/scale", pods/scale]`}, {"scope", `Wide`}, {"scope", `Cluster`}, {"resourceNames", `[a, a]`}, {"resourceNames", `[a/b]`}, {"resourceNames", `[".."]`}, {"resourceNames", `[""]`}, {"resourceNames", `["%"]`},
	} {
		rule := "{"
		for _, field := range []string{"apiGroups", "apiVersions", "operations", "resources"} {
			if field != change[0] {
				rule += field + `: ["*"], `
			}
		}
		rule += change[0] + ": " + change[1] + "}"
		fields = append(fields, "matchConstraints: {resourceRules: ["+rule+"]}", strings.Replace(constraints, "{", "{excludeResourceRules: ["+rule+"], ", 1))
	}
	for _, selector := range []string{
		`namespaceSelector: {matchLabels: {"a b": c}}`, `namespaceSelector: {matchLabels: {a: "b c"}}`, `objectSelector: {matchExpressions: [{key: a, operator: In}]}`, `objectSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}`,
		`objectSelector: {matchExpressions: [{key: a, operator: Gt, values: ["1"]}]}`, `objectSelector: {matchExpressions: [{key: a, operator: In, values: ["a b"]}]}`, `matchPolicy: Exact`, `matchPolicy: exact`, `matchPolicy: ""`,
	} {
		fields = append(fields, strings.Replace(constraints, "{", "{"+selector+", ", 1))
	}
	var out []string
	for _, field := range fields {
		text := "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\nspec:\n  " + field + "\n"
		if !strings.HasPrefix(field, "matchConstraints") {
			text += "  " + constraints + "\n"
		}
		if !strings.HasPrefix(field, "validations") {
			text += "  validations: [{expression: \"true\"}]\n"
		}
		out = append(out, text)
	}
	for _, name := range []string{"p.q", "P", "-p", "a_b", `""`} {
		out = append(out, strings.Replace(out[1], "{name: p}", "{name: "+name+"}", 1))
	}
	return append(out, "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\nspec: {validations: [{expression: \"true\"}]}\n")
}

func bindingDocuments() []string {
	var out []string
	for _, spec := range []string{
		`validationActions: [Deny]`, `validationActions: []`, `validationActions: [Deny, Deny]`, `validationActions: [Deny, Warn]`, `validationActions: [Audit, Warn]`, `validationActions: [deny]`,
		`paramRef: {}`, `paramRef: {name: a}`, `paramRef: {name: a, parameterNotFoundAction: Deny}`, `paramRef: {name: a/b, parameterNotFoundAction: Deny}`, `paramRef: {selector: {}, parameterNotFoundAction: Deny}`,
		`paramRef: {selector: {}, name: a, parameterNotFoundAction: Deny}`, `paramRef: {selector: {matchLabels: {"a b": c}}, parameterNotFoundAction: Deny}`, `paramRef: {name: a, namespace: "A_", parameterNotFoundAction: Allow}`,
		`paramRef: {name: a, parameterNotFoundAction: allow}`, `matchResources: {}`, `matchResources: {resourceRules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"], scope: X}]}`, `matchResources: {matchPolicy: x}`,
	} {
		if !strings.HasPrefix(spec, "validationActions") {
			spec += ", validationActions: [Deny]"
		}
		out = append(out, "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: b}\nspec: {policyName: p, "+spec+"}\n")
	}
	for _, name := range []string{"P", `""`, "a.b"} {
		out = append(out, strings.Replace(out[0], "policyName: p", "policyName: "+name, 1))
	}
	return out
}
