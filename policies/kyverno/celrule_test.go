package kyverno_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestRulesInCEL(t *testing.T) {
	t.Parallel()
	cel := func(rest string) string { return "validate: {message: the rule's, cel: {" + rest + "}}" }
	const hostNetwork = `expressions: [{expression: "!has(object.spec.hostNetwork) || !object.spec.hostNetwork", message: "hostNetwork is not for everybody"}]`
	params := func(ref string) string {
		return cel(`paramKind: {apiVersion: v1, kind: ConfigMap}, paramRef: {` + ref + `}, expressions: [{expression: "object.metadata.labels.app == params.data.app", message: "other app"}]`)
	}
	settings := func(app string) door {
		return func(c *policies.Change) {
			c.Set = policies.NewSet(decode(t, "settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop, labels: {a: b}}\ndata: {app: "+app+"}\n")...)
		}
	}
	cluster := func(c *policies.Change) { c.Knows |= policies.KnowsCluster }
	for _, tc := range []struct {
		name, kinds, body, object string
		doors                     []door
		want                      string
	}{
		{"an expression that is true", "Pod", cel(`expressions: [{expression: "object.metadata.name == 'web'"}]`), pod, nil, "passed"},
		{"one that is false, and the field that made it so", "Pod", cel(hostNetwork), pod, nil, "deny p/r: hostNetwork is not for everybody (spec.hostNetwork)"},
		{"an expression without a message has the rule's", "Pod", cel(`expressions: [{expression: "false"}]`), pod, nil, "deny p/r: the rule's ()"},
		{"a message expression", "Pod", cel(`expressions: [{expression: "false", messageExpression: "'not ' + object.metadata.name"}]`), pod, nil, "deny p/r: not web ()"},
		{"variables", "Pod", cel(`variables: [{name: count, expression: "size(object.spec.containers)"}], expressions: [{expression: "variables.count < 2", message: many}]`), pod, nil, "deny p/r: many (spec.containers)"},
		{"preconditions that are not met", "Pod", "celPreconditions: [{name: named, expression: \"object.metadata.name == 'db'\"}]\n" + cel(`expressions: [{expression: "false"}]`), pod, nil,
			"skipped: rule r: cel preconditions not met: match condition named is not met"},
		{"Kyverno's own preconditions", "Pod", "preconditions: {all: [{key: a, operator: Equals, value: b}]}\n" + cel(`expressions: [{expression: "false"}]`), pod, nil, "skipped: rule r: preconditions are not met"},
		{"what cannot be evaluated is denied", "Pod", cel(`expressions: [{expression: "object.spec.nothing == 1"}]`), pod, nil,
			"deny p/r: spec.rules[0].validate.cel.expressions[0].expression: expression 'object.spec.nothing == 1' resulted in error: no such key: nothing ()"},
		{"a rule for Pods is made for controllers", "Pod", cel(`expressions: [{expression: "object.spec.containers.all(c, !c.image.endsWith(':latest'))", message: latest}]`), deployment, nil,
			"deny p/autogen-r: latest (spec.template.spec.containers[0].image)"},
		{"and for CronJobs", "Pod", cel(`expressions: [{expression: "object.spec.containers.all(c, !c.image.endsWith(':latest'))", message: latest}]`), cronJob, nil,
			"deny p/autogen-cronjob-r: latest (spec.jobTemplate.spec.template.spec.containers[0].image)"},
		{"parameters by name", "Pod", params("name: settings"), pod, []door{settings("db")}, "deny p/r: other app (metadata.labels.app)"},
		{"parameters that are kept", "Pod", params("name: settings"), pod, []door{settings("web")}, "passed"},
		{"parameters by label", "Pod", params("selector: {matchLabels: {a: b}}"), pod, []door{settings("db")}, "deny p/r: other app (metadata.labels.app)"},
		{"parameters that only the cluster knows", "Pod", params("name: settings"), pod, nil, "deferred: ConfigMap shop/settings"},
		{"parameters that the cluster does not have", "Pod", params("name: settings"), pod, []door{cluster}, "failed: rule r: parameters not found: expected ConfigMap shop/settings"},
		{"parameters that need not be there", "Pod", params("selector: {matchLabels: {a: b}}"), pod, []door{cluster}, "passed"},
		{"who makes the change", "Pod", cel(`expressions: [{expression: "request.userInfo.username == 'root'"}]`), pod, nil, "deferred: who makes the change"},
		{"what the cluster allows", "Pod", cel(`expressions: [{expression: "authorizer.group('').resource('pods').check('get').allowed()"}]`), pod, nil, "deferred: what the cluster's authorizer says"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, told(t, engine(t, validate(tc.kinds, tc.body)), tc.object, tc.doors...), tc.want)
		})
	}
}

func TestMatchConditionsOfTheWebhook(t *testing.T) {
	t.Parallel()
	policy := func(condition string) string {
		return strings.Replace(validate("Pod", "validate: {message: m, deny: {}}"), "  rules:", "  webhookConfiguration: {matchConditions: [{name: c, expression: \""+condition+"\"}]}\n  rules:", 1)
	}
	for _, tc := range []struct{ name, condition, want string }{
		{"one that is met", "object.metadata.name == 'web'", "deny p/r: m ()"},
		{"one that is not", "object.metadata.name == 'db'", "skipped: no rule matches it"},
		{"one that hangs on what is not known", "request.userInfo.username != 'root'", "deferred: who makes the change"},
		{"one that cannot be evaluated", "object.spec.nothing == 1", "failed: rule r: spec.webhookConfiguration.matchConditions[0].expression: expression 'object.spec.nothing == 1' resulted in error: no such key: nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, told(t, engine(t, policy(tc.condition)), pod), tc.want)
		})
	}
}

// A policy of two actions is shown as two policies: what keeps it from judging is told by both.
func TestWhatCannotBeAskedIsAYesForNoAction(t *testing.T) {
	t.Parallel()
	text := strings.Replace(validate("Pod", "validate: {message: m, failureAction: Audit, deny: {}}"), "  rules:",
		"  webhookConfiguration: {matchConditions: [{name: c, expression: \"object.spec.nothing == 1\"}]}\n  rules:", 1) +
		"  - name: strict\n    match: {any: [{resources: {kinds: [Pod]}}]}\n    validate: {message: m, failureAction: Enforce, deny: {}}\n"
	got := told(t, engine(t, text), pod)
	if len(got) != 2 || !strings.HasPrefix(got[0], "failed: rule r: ") || !strings.HasPrefix(got[1], "failed: rule strict: ") {
		t.Errorf("told\n\t%s", strings.Join(got, "\n\t"))
	}
}
