package cel_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// places lists the errors of a compilation as file:line:column: message, sorted by place.
func places(err error) []string {
	if err == nil {
		return nil
	}
	var all []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	} else {
		all = []error{err}
	}
	var out []string
	for _, e := range all {
		var at *policies.PositionError
		if errors.As(e, &at) {
			out = append(out, fmt.Sprintf("%03d:%03d %v", at.Pos.Line, at.Pos.Column, at.Err))
		} else {
			out = append(out, e.Error())
		}
	}
	slices.Sort(out)
	return out
}

func TestWrongDocumentsAreErrorsAtTheirPlace(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\nspec:\n"
	const validations = "  validations: [{expression: \"true\"}]\n"
	const bindingHead = head + rule + validations + "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: b}\nspec:\n"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"an unknown field", head + "  matchConstrains: {}\n" + rule + validations + bind,
			[]string{"005:003 unknown field spec.matchConstrains: expected one of auditAnnotations, failurePolicy, matchConditions, matchConstraints, paramKind, validations, variables"}},
		{"several of them, and a wrong type", head + rule + "  failurePolicy: 3\n  validations: [{expression: \"true\", mesage: a}]\n  variables: {a: b}\n" + bind,
			[]string{"008:018 spec.failurePolicy is 3: expected a string", "009:038 unknown field spec.validations[0].mesage: expected one of expression, message, messageExpression, reason", "010:003 spec.variables is a map: expected a list"}},
		{"wrong values are all told", head + `  failurePolicy: Maybe
  matchConstraints:
    matchPolicy: Fuzzy
    namespaceSelector: {matchExpressions: [{key: a, operator: Is}]}
    resourceRules:
    - {apiGroups: ["*", apps], apiVersions: [""], operations: [PATCH], resources: ["*/*", pods], scope: World, resourceNames: [a/b, c, c]}
  matchConditions:
  - {name: "a b", expression: "true"}
  - {name: c, expression: " "}
  - {name: c, expression: "true"}
  paramKind: {apiVersion: a/b/c, kind: ""}
  variables:
  - {name: for, expression: "1"}
  validations:
  - {expression: "true", message: "a\nb", reason: Sad, messageExpression: " "}
  - {expression: ""}
  auditAnnotations:
  - {key: "a b", valueExpression: ""}
  - {key: k, valueExpression: "'v'"}
  - {key: k, valueExpression: "'w'"}
` + bind, []string{
			`005:018 spec.failurePolicy: "Maybe" is not supported: expected Fail, Ignore`,
			`007:018 spec.matchConstraints.matchPolicy: "Fuzzy" is not supported: expected Equivalent, Exact`,
			`008:063 spec.matchConstraints.namespaceSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator`,
			`010:008 spec.matchConstraints.resourceRules[0].apiGroups: "*" stands beside others: expected it alone`,
			`010:046 spec.matchConstraints.resourceRules[0].apiVersions[0]: required, and not given`,
			`010:064 spec.matchConstraints.resourceRules[0].operations[0]: "PATCH" is not supported: expected *, CONNECT, CREATE, DELETE, UPDATE`,
			`010:072 spec.matchConstraints.resourceRules[0].resources: "*/*" stands beside others: expected it alone`,
			`010:105 spec.matchConstraints.resourceRules[0].scope: "World" is not supported: expected *, Cluster, Namespaced`,
			`010:128 spec.matchConstraints.resourceRules[0].resourceNames[0]: "a/b": may not contain '/'`,
			`010:136 spec.matchConstraints.resourceRules[0].resourceNames[2]: "c" is given twice`,
			`012:012 spec.matchConditions[0].name: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			`013:027 spec.matchConditions[1].expression: required, and not given`,
			`014:012 spec.matchConditions[2].name: "c" is the name of another condition`,
			`015:027 spec.paramKind.apiVersion: "a/b/c": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
			`015:040 spec.paramKind.kind: required, and not given`,
			`017:012 spec.variables[0].name: "for" is no CEL identifier`,
			`019:035 spec.validations[0].message: has line breaks: expected one line`,
			`019:051 spec.validations[0].reason: "Sad" is not supported: expected Forbidden, Invalid, RequestEntityTooLarge`,
			`019:075 spec.validations[0].messageExpression: blank: expected an expression, or no such field`,
			`020:018 spec.validations[1].expression: required, and not given`,
			`022:011 spec.auditAnnotations[0].key: "p/a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			`022:035 spec.auditAnnotations[0].valueExpression: required, and not given`,
			`024:011 spec.auditAnnotations[2].key: "k" is the key of another annotation`,
		}},
		{"no rules and no validations", head + "  matchConstraints: {}\n" + bind, []string{
			"005:003 spec.matchConstraints.resourceRules: required, at least one rule",
			"004:001 spec.validations: required, at least one, or one of spec.auditAnnotations",
		}},
		{"a name that is none", strings.Replace(head, "name: p", "name: P_", 1) + rule + validations + strings.ReplaceAll(bind, "policyName: p", "policyName: p.q"), []string{
			`003:018 metadata.name: Invalid value: "P_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
			"003:018 policy P_ has no ValidatingAdmissionPolicyBinding, so that nothing would be judged by it: add one beside it, or set cel.implicitBinding: true in gitgate.yaml",
			"014:020 binding p binds policy p.q, which is not among the policies",
		}},
		{"a policy without a binding", head + rule + validations, []string{
			"003:018 policy p has no ValidatingAdmissionPolicyBinding, so that nothing would be judged by it: add one beside it, or set cel.implicitBinding: true in gitgate.yaml"}},
		{"Deny and Warn", bindingHead + "  policyName: p\n  validationActions: [Deny, Warn, Warn, Shout]\n", []string{
			"015:003 spec.validationActions: both Deny and Warn: expected one of the two, since a denial says the same as its warning",
			"015:035 spec.validationActions[2]: Warn is given twice",
			`015:041 spec.validationActions[3]: "Shout" is not supported: expected Audit, Deny, Warn`,
		}},
		{"a binding without actions and with a bad paramRef", bindingHead + "  policyName: p\n  paramRef: {name: a, selector: {}, parameterNotFoundAction: Ask}\n  validationActions: []\n", []string{
			"015:023 spec.paramRef.selector: name is given too: expected one of the two",
			`015:062 spec.paramRef.parameterNotFoundAction: "Ask" is not supported: expected Allow, Deny`,
			"016:003 spec.validationActions: required, at least one of Audit, Deny, Warn",
		}},
		{"two policies of one name", head + rule + validations + "---\n" + head + rule + validations + bind, []string{
			"012:018 ValidatingAdmissionPolicy p is declared twice, also at p.yaml:1"}},
		{"an object that is nobody's parameter", policyOf("validations: [{expression: \"true\"}]") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", []string{
			"017:007 ConfigMap c is no admission policy, and none here takes a ConfigMap as its parameters"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := compile(t, cel.Options{}, tc.text)
			got := places(err)
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestExpressionsThatDoNotCompileAreErrorsAtTheirPlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, spec string
		want       []string
	}{
		{"in a plain scalar", "validations:\n- expression: object.spec.x == nothing", []string{"009:034 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')"}},
		{"in double quotes with escapes", "validations:\n- expression: \"'\\\"' == '\\\\\\\\' || nothing\"", []string{"009:036 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')"}},
		{"in single quotes with doubled ones", "validations:\n- expression: '''a'' == nothing'", []string{"009:027 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')"}},
		{"in a literal block", "validations:\n- expression: |\n    object.spec.a == 1 &&\n\n    object.spec.b == nothing &&\n      other", []string{
			"012:024 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')", "013:009 spec.validations[0].expression: undeclared reference to 'other' (in container '')"}},
		{"in a folded block", "validations:\n- message: m\n  expression: >-\n    object.spec.a == 1 &&\n    object.spec.b == nothing\n    && other", []string{
			"012:024 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')", "013:010 spec.validations[0].expression: undeclared reference to 'other' (in container '')"}},
		{"in a plain scalar of several lines", "validations:\n- expression: object.spec.a == 1 &&\n    nothing", []string{"010:007 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')"}},
		{"after characters of several bytes", "validations:\n- expression: \"'äöü' == nothing\"", []string{"009:030 spec.validations[0].expression: undeclared reference to 'nothing' (in container '')"}},
		{"a syntax error at the end", "validations:\n- expression: object.spec.x ==", []string{"009:017 spec.validations[0].expression: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"}},
		{"a type that is no bool", "validations:\n- expression: size(object.spec.x)", []string{"009:017 spec.validations[0].expression is of type int: expected bool"}},
		{"dyn is no bool", "validations:\n- expression: object.spec.x", []string{"009:017 spec.validations[0].expression is of type dyn: expected bool"}},
		{"a message that is no string", "validations:\n- expression: 'false'\n  messageExpression: '1'", []string{"010:024 spec.validations[0].messageExpression is of type int: expected string"}},
		{"a message that asks the authorizer", "validations:\n- expression: 'false'\n  messageExpression: string(authorizer.group('').resource('pods').check('get').allowed())", []string{
			"010:031 spec.validations[0].messageExpression: undeclared reference to 'authorizer', which message expressions may not use"}},
		{"an annotation that is neither string nor null", "auditAnnotations:\n- {key: k, valueExpression: '1'}", []string{"009:031 spec.auditAnnotations[0].valueExpression is of type int: expected string or null_type"}},
		{"params without a paramKind", "validations:\n- expression: params.x == 1", []string{"009:017 spec.validations[0].expression: undeclared reference to 'params' (in container '')"}},
		{"a variable before its declaration", "variables:\n- {name: a, expression: variables.b}\n- {name: b, expression: '1'}\nvalidations:\n- expression: variables.a == 1", []string{
			"009:036 spec.variables[0].expression: undefined field 'b'"}},
		{"a variable in a match condition", "variables:\n- {name: a, expression: '1'}\nmatchConditions:\n- {name: c, expression: variables.a == 1}\nvalidations:\n- expression: variables.a == 1", []string{
			"011:027 spec.matchConditions[0].expression: undeclared reference to 'variables' (in container '')"}},
		{"a field that a request does not have", "validations:\n- expression: request.object == null", []string{"009:024 spec.validations[0].expression: undefined field 'object'"}},
		{"all expressions that are wrong", "variables:\n- {name: a, expression: one}\nvalidations:\n- expression: two\n- expression: variables.a == three", []string{
			"009:027 spec.variables[0].expression: undeclared reference to 'one' (in container '')",
			"011:017 spec.validations[0].expression: undeclared reference to 'two' (in container '')",
			"012:032 spec.validations[1].expression: undeclared reference to 'three' (in container '')"}},
		{"a regular expression that is none", "validations:\n- expression: object.metadata.name.matches('(')", []string{"009:046 spec.validations[0].expression: invalid matches argument"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := compile(t, cel.Options{}, policyOf(tc.spec))
			if got := places(err); !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestEveryVersionOfTheGroupIsRead(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v1beta1", "v1alpha1"} {
		text := strings.ReplaceAll(policyOf("validations: [{expression: \"false\"}]"), "admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/"+version)
		for _, d := range documents(t, "p.yaml", text) {
			if !cel.Claims(d) {
				t.Errorf("%s is not claimed", d.Object)
			}
		}
		if f, err := judgeOne(t, text, creation(object(t, deployment))); err != nil || len(f.Violations) != 1 {
			t.Errorf("%s: %s", version, told(f, err))
		}
	}
}

func TestTheLibrariesAreThoseOfTheChosenVersion(t *testing.T) {
	t.Parallel()
	// The list functions came with 1.34, and a new expression may use them from the version after.
	text := policyOf("validations: [{expression: \"[2, 1].sort() == [1, 2]\"}]")
	for version, ok := range map[string]bool{"1.34": false, "1.35": true, "1.36": true, "1.37": true, "": true} {
		if _, err := compile(t, cel.Options{Kubernetes: version}, text); (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		}
	}
	for _, version := range []string{"1", "2.0", "1.29", "1.x", "v1.36"} {
		if _, err := compile(t, cel.Options{Kubernetes: version}, text); err == nil {
			t.Errorf("version %q was taken", version)
		}
	}
}
