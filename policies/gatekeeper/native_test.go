package gatekeeper_test

import (
	"context"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestTemplatesInCELAreEvaluatedAsGatekeeperDoes(t *testing.T) {
	for _, tc := range []struct {
		name, source, spec string
		want               []string
	}{
		{"a validation that holds", "validations: [{expression: \"true\"}]", "match: {}", nil},
		{"its message", "validations: [{expression: \"false\", message: \" m \"}]", "match: {}", []string{"deny: m"}},
		{"its message expression", "validations: [{expression: \"false\", message: m, messageExpression: \"'it is ' + variables.anyObject.metadata.name\"}]", "match: {}", []string{"deny: it is web"}},
		{"no message is its expression", "validations: [{expression: \" object.metadata.name == 'x' \"}]", "match: {}", []string{"deny: failed expression: object.metadata.name == 'x'"}},
		{"every validation that fails", "validations: [{expression: \"false\", message: a}, {expression: \"false\", message: b}]", "match: {}", []string{"deny: a", "deny: b"}},
		{"parameters", "validations: [{expression: \"variables.params.images.exists(i, i == 'x')\", messageExpression: \"variables.params.images.join(',')\"}]", "parameters: {images: [a, b]}", []string{"deny: a,b"}},
		{"parameters have their defaults", "validations: [{expression: variables.params.limit > 3, messageExpression: string(variables.params.limit)}]", "parameters: {}", []string{"deny: 3"}},
		{"parameters that are not there are null", "validations: [{expression: variables.params != null, message: none}]", "match: {}", []string{"deny: none"}},
		{"a variable sees the constraint", "variables: [{name: kind, expression: params.kind}]\nvalidations: [{expression: \"false\", messageExpression: string(variables.kind)}]", "match: {}", []string{"deny: Judged"}},
		{"a match condition sees variables", "variables: [{name: name, expression: variables.anyObject.metadata.name}]\nmatchCondition: [{name: other, expression: \"variables.name == 'other'\"}]\nvalidations: [{expression: \"false\"}]", "match: {}", []string{"skipped: match condition other is not met"}},
		{"what cannot be evaluated fails", "validations: [{expression: object.nothing == 1}]", "match: {}", []string{"failed: policies.yaml:3:18: template judged: spec.targets[0].code[0].source.validations[0].expression: expression 'object.nothing == 1' resulted in error: no such key: nothing"}},
		{"what cannot be evaluated and is ignored", "failurePolicy: Ignore\nvalidations: [{expression: object.nothing == 1}]", "match: {}", []string{"skipped: failurePolicy is Ignore, and it could not be evaluated: spec.targets[0].code[0].source.validations[0].expression: expression 'object.nothing == 1' resulted in error: no such key: nothing"}},
		{"who asks is not known of a file", "validations: [{expression: request.userInfo.username == 'flux'}]", "match: {}", []string{"deferred: who makes the change"}},
		{"the object before may be another", "validations: [{expression: \"oldObject == null || oldObject.spec == object.spec\"}]", "match: {}", []string{"deferred: the object before the change"}},
		{"the namespace's labels are not known of a file", "validations: [{expression: \"has(namespaceObject.metadata.labels)\"}]", "match: {}", []string{"deferred: namespace shop"}},
		{"a dry run is recorded", "validations: [{expression: \"false\", message: m}]", "enforcementAction: dryrun", []string{"audit: m"}},
		{"another kind", "validations: [{expression: \"false\"}]", "match: {kinds: [{apiGroups: [apps], kinds: [Deployment]}]}", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			same(t, decide(t, mustCompile(t, native(tc.source)+constraint(tc.spec)), creation(object(t, pod))), tc.want...)
		})
	}
}

func TestAViolationInCELPointsAtItsField(t *testing.T) {
	ps := mustCompile(t, native("variables: [{name: containers, expression: \"has(variables.anyObject.spec.containers) ? variables.anyObject.spec.containers : []\"}]\n"+
		"validations: [{expression: \"variables.containers.all(c, variables.params.images.exists(p, c.image.startsWith(p)))\", message: m}]")+constraint("parameters: {images: [registry.example.com/]}"))
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := e.Decide(context.Background(), creation(object(t, pod)))
	if got := d.Results[0].Finding.Violations[0].Path.String(); got != "spec.containers[0]" {
		t.Errorf("got %s, expected spec.containers[0]", got)
	}
}

func TestADeletionInCEL(t *testing.T) {
	ps := mustCompile(t, native("validations: [{expression: \"request.operation != 'DELETE' || object != null || !has(variables.anyObject.metadata.labels)\", message: m}]")+constraint("match: {}"))
	c := creation(object(t, pod))
	c.Operation, c.Old, c.Object = policies.Delete, c.Object, nil
	same(t, decide(t, ps, c), "deny: m")
}
