package kyverno_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
)

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {env: prod}}\n"

func by(user string, groups ...string) door {
	return func(c *policies.Change) {
		c.Knows |= policies.KnowsActor
		c.Actor = &policies.Actor{User: user, Groups: groups}
	}
}

func inside(t testing.TB, text string) door {
	return func(c *policies.Change) {
		c.Knows |= policies.KnowsNamespace
		c.Holder = decode(t, "namespace.yaml", text)[0]
	}
}

func updating(t testing.TB, old string) door {
	return func(c *policies.Change) {
		c.Operation, c.Knows = policies.Update, c.Knows|policies.KnowsOld
		c.Old = decode(t, "old.yaml", old)[0]
	}
}

func deleting(c *policies.Change) {
	c.Operation, c.Old, c.Object, c.Knows = policies.Delete, c.Object, nil, c.Knows|policies.KnowsOld
}

func knowing(f policies.Facts) door { return func(c *policies.Change) { c.Knows |= f } }

func among(t testing.TB, texts ...string) door {
	return func(c *policies.Change) {
		c.Set = policies.NewSet(decode(t, "set.yaml", strings.Join(texts, "---\n"))...)
	}
}

const denied = "deny p/r: m ()"

func TestMatchAndExclude(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, block string
		doors       []door
		want        string // "" for a rule that does not match
	}{
		{"any wants one", "match: {any: [{resources: {kinds: [Service]}}, {resources: {kinds: [Pod]}}]}", nil, denied},
		{"all wants all", "match: {all: [{resources: {kinds: [Pod]}}, {resources: {names: [db]}}]}", nil, ""},
		{"the old form", "match: {resources: {kinds: [Pod], name: w*}}", nil, denied},
		{"another kind", "match: {any: [{resources: {kinds: [Service]}}]}", nil, ""},
		{"names with wildcards", "match: {any: [{resources: {kinds: [Pod], names: [db, 'w?b']}}]}", nil, denied},
		{"namespaces with wildcards", "match: {any: [{resources: {kinds: [Pod], namespaces: [s*]}}]}", nil, denied},
		{"another namespace", "match: {any: [{resources: {kinds: [Pod], namespaces: [bank]}}]}", nil, ""},
		{"a selector", "match: {any: [{resources: {kinds: [Pod], selector: {matchLabels: {app: web}}}}]}", nil, denied},
		{"a selector with wildcards", "match: {any: [{resources: {kinds: [Pod], selector: {matchLabels: {'a*': 'w*'}}}}]}", nil, denied},
		{"a selector of expressions", "match: {any: [{resources: {kinds: [Pod], selector: {matchExpressions: [{key: tier, operator: In, values: [back]}]}}}]}", nil, ""},
		{"annotations with wildcards", "match: {any: [{resources: {kinds: [Pod], annotations: {no*: 'h*'}}}]}", nil, denied},
		{"an operation", "match: {any: [{resources: {kinds: [Pod], operations: [CREATE]}}]}", nil, denied},
		{"updates hang on the old object", "match: {any: [{resources: {kinds: [Pod, Service], operations: [UPDATE]}}, {resources: {kinds: [Service], operations: [CREATE]}}]}", nil,
			"deferred: the object before the change"},
		{"updates are updates", "match: {any: [{resources: {kinds: [Pod], operations: [UPDATE]}}]}", []door{updating(t, pod)}, denied},
		{"exclude takes out", "match: {any: [{resources: {kinds: [Pod]}}]}\nexclude: {any: [{resources: {namespaces: [shop]}}]}", nil, ""},
		{"exclude with all wants all", "match: {any: [{resources: {kinds: [Pod]}}]}\nexclude: {all: [{resources: {namespaces: [shop]}}, {resources: {names: [db]}}]}", nil, denied},
		{"the namespace's labels are asked for when they matter", "match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchLabels: {env: prod}}}}]}", nil, "deferred: the labels of namespace shop"},
		{"the namespace's labels match", "match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchLabels: {env: prod}}}}]}", []door{inside(t, namespace)}, denied},
		{"the namespace's labels do not match", "match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchLabels: {env: test}}}}]}", []door{inside(t, namespace)}, ""},
		{"an excluded subject hangs on who it is", "match: {any: [{resources: {kinds: [Pod]}}]}\nexclude: {any: [{subjects: [{kind: User, name: root}]}]}", nil, "deferred: who makes the change"},
		{"an excluded user", "match: {any: [{resources: {kinds: [Pod]}}]}\nexclude: {any: [{subjects: [{kind: User, name: 'ro*'}]}]}", []door{by("root")}, ""},
		{"an excluded group of another", "match: {any: [{resources: {kinds: [Pod]}}]}\nexclude: {any: [{subjects: [{kind: Group, name: admins}]}]}", []door{by("eve", "devs")}, denied},
		{"an excluded service account", "match: {any: [{resources: {kinds: [Pod]}}]}\nexclude: {any: [{subjects: [{kind: ServiceAccount, namespace: flux, name: 'k*'}]}]}", []door{by("system:serviceaccount:flux:kustomize")}, ""},
		{"roles are the cluster's", "match: {any: [{resources: {kinds: [Pod]}, clusterRoles: [cluster-admin]}]}", []door{by("eve")}, "deferred: the roles of eve"},
		{"a deletion", "match: {any: [{resources: {kinds: [Pod]}}]}", []door{deleting}, denied},
		{"an ephemeral container is a change of the Pod", "match: {any: [{resources: {kinds: [Pod]}}]}", []door{func(c *policies.Change) { c.Resource.Subresource = "ephemeralcontainers" }}, denied},
		{"another subresource is not", "match: {any: [{resources: {kinds: [Pod]}}]}", []door{func(c *policies.Change) { c.Resource.Subresource = "status" }}, ""},
		{"a subresource by its name", "match: {any: [{resources: {kinds: [Pod/status]}}]}", []door{func(c *policies.Change) { c.Resource.Subresource = "status" }}, denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec:\n  validationFailureAction: Enforce\n  rules:\n  - name: r\n" +
				indent(tc.block+"\nvalidate: {message: m, deny: {}}", "    ")
			got := told(t, engine(t, text), pod, tc.doors...)
			if tc.want == "" {
				if len(got) > 0 && got[0] != "skipped: no rule matches it" {
					t.Errorf("told %q, expected nothing", got)
				}
				return
			}
			expect(t, got, tc.want)
		})
	}
}

func TestWhatHangsOnTheActorIsDeferredOnlyWhenTheRuleIsBroken(t *testing.T) {
	t.Parallel()
	text := validate("Pod", "exclude: {any: [{clusterRoles: [cluster-admin]}]}\nvalidate: {message: m, pattern: {metadata: {labels: {app: web}}}}")
	expect(t, told(t, engine(t, text), pod), "passed")
}

func TestVariablesOfTheActorAreDeferredWhereNobodyKnowsIt(t *testing.T) {
	t.Parallel()
	e := engine(t, validate("Pod", `validate: {message: "not {{ request.userInfo.username }}", deny: {conditions: {any: [{key: "{{ serviceAccountName }}", operator: Equals, value: ci}]}}}`))
	expect(t, told(t, e, pod), "deferred: who makes the change")
	expect(t, told(t, e, pod, by("system:serviceaccount:build:ci")), "deny p/r: not system:serviceaccount:build:ci ()")
	expect(t, told(t, e, pod, by("system:serviceaccount:build:cd")), "passed")
}

func TestConfigMapsOfTheContextAreThoseOfTheChangeSet(t *testing.T) {
	t.Parallel()
	e := engine(t, validate("Pod", "context:\n- {name: owners, configMap: {name: owners, namespace: platform}}\nvalidate: {message: \"{{ owners.data.shop }}\", deny: {conditions: {any: [{key: \"{{ owners.data.shop }}\", operator: Equals, value: ann}]}}}"))
	expect(t, told(t, e, pod, among(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owners, namespace: platform}\ndata: {shop: ann}\n")), "deny p/r: ann ()")
	expect(t, told(t, e, pod), "deferred: ConfigMap platform/owners")
	expect(t, told(t, e, pod, knowing(policies.KnowsCluster)), "failed: rule r: deny conditions: variable {{ owners.data.shop }}: context entry owners: ConfigMap platform/owners not found")
}

func TestAnUpdateOfWhatBrokeTheRuleBeforePassesUnlessThePolicyForbids(t *testing.T) {
	t.Parallel()
	body := `validate: {%smessage: m, pattern: {metadata: {labels: {owner: "?*"}}}}`
	owned := strings.Replace(pod, "labels: {", "labels: {owner: ann, ", 1)
	e := engine(t, validate("Pod", strings.Replace(body, "%s", "", 1)))
	expect(t, told(t, e, pod, updating(t, pod)), "skipped: rule r: what it was before broke the rule too, which the rule tolerates")
	expect(t, told(t, e, pod, updating(t, owned)), "deny p/r: m (metadata.labels.owner)")
	e = engine(t, validate("Pod", strings.Replace(body, "%s", "allowExistingViolations: false, ", 1)))
	expect(t, told(t, e, pod, updating(t, pod)), "deny p/r: m (metadata.labels.owner)")
}

func TestAPolicyOfANamespaceJudgesThatNamespace(t *testing.T) {
	t.Parallel()
	text := strings.Replace(strings.Replace(validate("Pod", `validate: {message: m, deny: {}}`), "ClusterPolicy", "Policy", 1), "{name: p}", "{name: p, namespace: shop}", 1)
	expect(t, told(t, engine(t, text), pod), "deny shop/p/r: m ()")
	expect(t, told(t, engine(t, text), strings.Replace(pod, "namespace: shop", "namespace: bank", 1)), "skipped: no rule matches it")
}

func TestActions(t *testing.T) {
	t.Parallel()
	rule := "  - name: %\n    match: {any: [{resources: {kinds: [Pod]}}]}\n    validate: {message: m, +deny: {}}\n"
	policy := func(spec string, rules ...string) string {
		out := "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec:\n" + spec + "  rules:\n"
		for i, extra := range rules {
			out += strings.Replace(strings.Replace(rule, "%", string(rune('a'+i)), 1), "+", extra, 1)
		}
		return out
	}
	for _, tc := range []struct {
		name, text string
		doors      []door
		want       []string
	}{
		{"Audit is the default", policy("", ""), nil, []string{"audit p/a: m ()"}},
		{"Audit with emitWarning warns", policy("  emitWarning: true\n", ""), nil, []string{"warn p/a: m ()"}},
		{"the old spelling", policy("  validationFailureAction: enforce\n", ""), nil, []string{"deny p/a: m ()"}},
		{"a rule has its own action", policy("  validationFailureAction: Audit\n", "failureAction: Enforce, "), nil, []string{"deny p/a: m ()"}},
		{"rules of two actions are two policies", policy("", "failureAction: Enforce, ", ""), nil, []string{"audit p/audit/b: m ()", "deny p/a: m ()"}},
		{"a namespace overrides", policy("  validationFailureAction: Audit\n  validationFailureActionOverrides: [{action: Enforce, namespaces: ['sh*']}]\n", ""), nil,
			[]string{"deny p/a: m ()", "skipped: no rule matches it"}},
		{"another namespace does not", policy("  validationFailureAction: Audit\n  validationFailureActionOverrides: [{action: Enforce, namespaces: [bank]}]\n", ""), nil,
			[]string{"audit p/audit/a: m ()", "skipped: no rule matches it"}},
		{"labels of the namespace override", policy("", "failureActionOverrides: [{action: Enforce, namespaceSelector: {matchLabels: {env: prod}}}], "), []door{inside(t, namespace)},
			[]string{"deny p/a: m ()", "skipped: no rule matches it"}},
		{"applyRules One stops at the first", policy("  applyRules: One\n", "", ""), nil, []string{"audit p/a: m ()"}},
		{"admission false denies nothing", policy("  validationFailureAction: Enforce\n  admission: false\n", ""), nil, []string{"audit p/a: m ()"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, told(t, engine(t, tc.text), pod, tc.doors...), tc.want...)
		})
	}
}

func TestFailurePolicyIgnoreLetsPassWhatCannotBeJudged(t *testing.T) {
	t.Parallel()
	text := validate("Pod", `validate: {message: m, deny: {conditions: {any: [{key: "{{ request.object.nothing }}", operator: Equals, value: x}]}}}`)
	text = strings.Replace(text, "spec:\n", "spec:\n  failurePolicy: Ignore\n", 1)
	expect(t, told(t, engine(t, text), pod), "skipped: no rule matches it")
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	policy := validate("Pod", `validate: {message: m, pattern: {spec: {containers: [{image: "!*:latest"}]}}}`)
	standard := validate("Pod", `validate: {podSecurity: {level: baseline, version: latest}}`)
	exception := func(match, rest string) string {
		return "---\napiVersion: kyverno.io/v2\nkind: PolicyException\nmetadata: {name: x, namespace: platform}\nspec:\n  exceptions: [{policyName: p, ruleNames: ['*r']}]\n  match: " + match + "\n" + rest
	}
	for _, tc := range []struct{ name, text, object, want string }{
		{"one that matches takes the rule out", policy + exception("{any: [{resources: {kinds: [Pod], names: [web]}}]}", ""), pod, "skipped: rule r: exception platform/x takes it out"},
		{"one of another name does not", policy + exception("{any: [{resources: {kinds: [Pod], names: [db]}}]}", ""), pod, "deny p/r: m (spec.containers[1].image)"},
		{"a wildcard names the rules that autogen makes", policy + exception("{any: [{resources: {kinds: [Deployment]}}]}", ""), deployment, "skipped: rule autogen-r: exception platform/x takes it out"},
		{"conditions have to hold", policy + exception("{any: [{resources: {kinds: [Pod]}}]}", "  conditions: {any: [{key: '{{ request.object.metadata.name }}', operator: Equals, value: db}]}\n"), pod, "deny p/r: m (spec.containers[1].image)"},
		{"controls of podSecurity", standard + exception("{any: [{resources: {kinds: [Pod]}}]}", "  podSecurity: [{controlName: Host Namespaces}]\n"), pod, "skipped: rule r: exceptions take out what it forbids"},
		{"other controls of podSecurity", standard + exception("{any: [{resources: {kinds: [Pod]}}]}", "  podSecurity: [{controlName: Sysctls}]\n"), pod,
			`deny p/r: Validation rule 'r' failed. It violates PodSecurity "baseline:latest": (Forbidden reason: host namespaces, hostNetwork=true) (spec)`},
		{"who it is about is asked when it matters", policy + exception("{any: [{resources: {kinds: [Pod]}, subjects: [{kind: User, name: root}]}]}", ""), pod, "deferred: who makes the change"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, told(t, engine(t, tc.text), tc.object), tc.want)
		})
	}
}

func TestAutogen(t *testing.T) {
	t.Parallel()
	const body = `validate: {message: m, pattern: {spec: {containers: [{image: "!*:latest"}]}}}`
	annotated := func(value string) string {
		return strings.Replace(validate("Pod", body), "{name: p}", "{name: p, annotations: {pod-policies.kyverno.io/autogen-controllers: '"+value+"'}}", 1)
	}
	const broken = "deny p/autogen-r: m (spec.template.spec.containers[0].image)"
	for _, tc := range []struct {
		name, text, object string
		want               []string
	}{
		{"the annotation chooses controllers", annotated("Deployment,Job"), deployment, []string{broken}},
		{"and leaves out others", annotated("Job"), deployment, nil},
		{"none of them", annotated("none"), deployment, nil},
		{"only CronJobs", annotated("CronJob"), cronJob, []string{"deny p/autogen-cronjob-r: m (spec.jobTemplate.spec.template.spec.containers[0].image)"}},
		{"a rule for named Pods is for Pods", strings.Replace(validate("Pod", body), "kinds: [Pod]", "kinds: [Pod], names: [a]", 1), deployment, nil},
		{"namespaces stay", strings.Replace(validate("Pod", body), "kinds: [Pod]", "kinds: [Pod], namespaces: [shop]", 1), deployment, []string{broken}},
		{"preconditions move too", validate("Pod", "preconditions: {all: [{key: '{{ request.object.metadata.labels.app }}', operator: Equals, value: web}]}\n"+body), deployment, []string{broken}},
		{"anyPattern moves", validate("Pod", `validate: {message: m, anyPattern: [{spec: {containers: [{image: "!*:latest"}]}}]}`), deployment, []string{broken}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, told(t, engine(t, tc.text), tc.object), tc.want...)
		})
	}
}

func TestWhatIsNoValidationIsToldOnce(t *testing.T) {
	t.Parallel()
	var warned []string
	text := validate("Pod", "validate: {message: m, deny: {}}") + `  - name: label
    match: {any: [{resources: {kinds: [Pod]}}]}
    celPreconditions: [{name: a, expression: "true"}]
    mutate: {patchStrategicMerge: {metadata: {labels: {a: b}}}}
---
apiVersion: kyverno.io/v2
kind: CleanupPolicy
metadata: {name: old, namespace: shop}
spec: {}
`
	compiled, err := compile(t, kyverno.Options{Warn: func(err error) { warned = append(warned, err.Error()) }}, text)
	if err != nil || len(compiled) != 1 {
		t.Fatalf("%d policies, %v", len(compiled), err)
	}
	expect(t, warned, "policy.yaml:13:5: rule label of ClusterPolicy p: mutate is not a validation; ignored",
		"policy.yaml:16:7: CleanupPolicy shop/old is not a validation; ignored")
}

func TestWrongDocumentsAreErrorsAtTheirPlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"an unknown field", validate("Pod", "validate: {mesage: m, deny: {}}"), []string{"009:016 unknown field spec.rules[0].validate.mesage: expected one of allowExistingViolations, anyPattern, assert, cel, deny, failureAction, failureActionOverrides, foreach, manifests, message, pattern, podSecurity"}},
		{"a wrong type", validate("Pod", "validate: {message: 3, deny: {}}"), []string{"009:025 spec.rules[0].validate.message is 3: expected a string"}},
		{"an operator", validate("Pod", "validate: {message: m, deny: {conditions: {any: [{key: a, operator: Is, value: b}]}}}"), []string{`009:073 operator "Is": expected one of AllIn, AllNotIn, AnyIn, AnyNotIn, DurationGreaterThan, DurationGreaterThanOrEquals, DurationLessThan, DurationLessThanOrEquals, Equal, Equals, GreaterThan, GreaterThanOrEquals, In, LessThan, LessThanOrEquals, NotEqual, NotEquals, NotIn`}},
		{"a rule that asks nothing", validate("Pod", "validate: {message: m}"), []string{"009:005 rule r asks 0 things: expected one of pattern, anyPattern, deny, foreach, podSecurity and cel"}},
		{"a control", validate("Pod", "validate: {podSecurity: {level: high, version: latest}}"), []string{`009:037 level "high": expected privileged, baseline or restricted`}},
		{"a control of containers without images", validate("Pod", "validate: {podSecurity: {level: baseline, exclude: [{controlName: Capabilities}]}}"), []string{"009:057 control Capabilities is about containers: expected images"}},
		{"manifests", validate("Pod", "validate: {message: m, manifests: {}}"), []string{"009:028 spec.rules[0].validate.manifests is not supported: expected a policy without it"}},
		{"a reference", validate("Pod", "validate: {message: m, pattern: {spec: {a: $(../b)}}}"), []string{`009:048 reference "$(../b)" is not supported: expected a variable, {{ … }}`}},
		{"a version", strings.Replace(validate("Pod", "validate: {deny: {}}"), "kyverno.io/v1", "kyverno.io/v9", 1), []string{"001:013 ClusterPolicy kyverno.io/v9 is not supported: expected ClusterPolicy or Policy (v1, v2beta1) or PolicyException (v2, v2beta1)"}},
		{"an action", strings.Replace(validate("Pod", "validate: {deny: {}}"), "Enforce", "Deny", 1), []string{`005:028 action "Deny": expected Enforce or Audit`}},
		{"JMESPath", validate("Pod", `validate: {message: "{{ a b }}", deny: {}}`), []string{"009:025 JMESPath \"a b\" does not compile: SyntaxError: Unexpected token at the end of the expression: tUnquotedIdentifier"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := compile(t, kyverno.Options{}, tc.text)
			got := places(err)
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], "\n")
			}
			expect(t, got, tc.want...)
		})
	}
}
