package gatekeeper_test

import (
	"fmt"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestTemplatesAreEvaluatedAsGatekeeperDoes(t *testing.T) {
	for _, tc := range []struct {
		name, rego, spec string
		want             []string
	}{
		{"a violation has the message of its template", `package judged
violation[{"msg": msg, "details": {"missing_labels": missing}}] {
  provided := {label | input.review.object.metadata.labels[label]}
  required := {label | label := input.parameters.labels[_].key}
  missing := required - provided
  count(missing) > 0
  msg := sprintf("you must provide labels: %v", [missing])
}`, "parameters: {labels: [{key: owner}, {key: app}]}", []string{`deny: you must provide labels: {"owner"}`}},
		{"parameters that are not given have their default", "package judged\nviolation[{\"msg\": msg}] { msg := sprintf(\"%v\", [input.parameters.limit]) }", "parameters: {}", []string{"deny: 3"}},
		{"parameters that are not there are an empty map", "package judged\nviolation[{\"msg\": msg}] { msg := sprintf(\"%v\", [input.parameters]) }", "enforcementAction: warn", []string{"warn: {}"}},
		{"a dry run is recorded", always, "enforcementAction: dryrun", []string{"audit: told"}},
		{"two results with one message and the same details are one", "package judged\nviolation[{\"msg\": \"m\", \"n\": n}] { n := [1, 2][_] }", "match: {}", []string{"deny: m"}},
		{"two results with other details are two", "package judged\nviolation[{\"msg\": \"m\", \"details\": {\"n\": n}}] { n := [1, 2][_] }", "match: {}", []string{"deny: m", "deny: m"}},
		{"no details are empty ones", "package judged\nviolation[{\"msg\": \"m\", \"details\": {}}] { true }\nviolation[{\"msg\": \"m\"}] { true }", "match: {}", []string{"deny: m"}},
		{"a result without a message is none", "package judged\nviolation[{\"details\": \"m\"}] { true }", "match: {}", nil},
		{"a message that is no text fails", "package judged\nviolation[{\"msg\": 3}] { true }", "match: {}", []string{"failed: policies.yaml:3:18: template judged: msg of a violation is number, expected a string"}},
		{"the review names the request", `package judged
violation[{"msg": msg}] {
  r := input.review
  msg := sprintf("%v %v %v %v %v %v", [r.kind, r.name, r.namespace, r.resource.resource, r.uid, r.dryRun])
}`, "match: {}", []string{`deny: {"group": "", "kind": "Pod", "version": "v1"} web shop pods  false`}},
		{"who asks is not known of a file", "package judged\nviolation[{\"msg\": \"m\"}] { input.review.userInfo.username != \"flux\" }", "match: {}", []string{"deferred: who makes the change"}},
		{"what concerns creations is told", "package judged\nviolation[{\"msg\": \"m\"}] { input.review.operation == \"CREATE\" }", "match: {}", []string{"deny: m"}},
		{"what concerns updates alone waits", "package judged\nviolation[{\"msg\": \"m\"}] { input.review.operation == \"UPDATE\" }", "match: {}", []string{"deferred: whether Pod shop/web is there already"}},
		{"what compares with the object before waits when the new one is right", "package judged\nviolation[{\"msg\": \"m\"}] { input.review.oldObject.spec != input.review.object.spec }", "match: {}", []string{"deferred: whether Pod shop/web is there already"}},
		{"what is wrong with a new object is told without the old one", "package judged\nviolation[{\"msg\": \"m\"}] { input.review.oldObject.x }\nviolation[{\"msg\": \"new\"}] { true }", "match: {}", []string{"deny: new"}},
		{"external data waits for a door that may ask", "package judged\nviolation[{\"msg\": \"m\"}] { r := external_data({\"provider\": \"p\", \"keys\": [\"k\"]}); r.errors }", "match: {}", []string{"deferred: external data providers of Gatekeeper"}},
		{"the namespace's labels are not known of a file alone", "package judged\nviolation[{\"msg\": \"m\"}] { not input.review.namespaceObject.metadata.labels.team }", "match: {}", []string{"deferred: the namespace's labels"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			same(t, decide(t, mustCompile(t, template(tc.rego)+constraint(tc.spec)), creation(object(t, pod))), tc.want...)
		})
	}
}

func TestDoorsThatKnowMoreJudgeMore(t *testing.T) {
	ps := mustCompile(t, template(`package judged
violation[{"msg": "changed"}] { input.review.oldObject.spec != input.review.object.spec; input.review.operation == "UPDATE" }
violation[{"msg": "deleted"}] { input.review.operation == "DELETE"; input.review.object.metadata.name == "web" }
violation[{"msg": msg}] { msg := sprintf("by %v", [input.review.userInfo.username]) }
violation[{"msg": msg}] { msg := sprintf("in %v", [input.review.namespaceObject.metadata.labels.team]) }`)+constraint("match: {kinds: [{apiGroups: [\"\"], kinds: [Pod]}]}"))
	knowing := func(c *policies.Change) *policies.Change {
		c.Knows = policies.KnowsOld | policies.KnowsActor | policies.KnowsNamespace
		c.Actor, c.Holder = &policies.Actor{User: "flux"}, object(t, namespace)
		return c
	}
	update := knowing(creation(object(t, pod)))
	update.Operation, update.Old = policies.Update, object(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {}\n")
	same(t, decide(t, ps, update), "deny: by flux", "deny: changed", "deny: in a")
	removal := knowing(creation(object(t, pod)))
	removal.Operation, removal.Old, removal.Object = policies.Delete, removal.Object, nil
	same(t, decide(t, ps, removal), "deny: by flux", "deny: deleted", "deny: in a")
	external := mustCompile(t, template("package judged\nviolation[{\"msg\": \"m\"}] { external_data({})}")+constraint("match: {}"))
	same(t, decide(t, external, knowing(creation(object(t, pod)))), "failed: external_data: gitgate asks no external data provider of Gatekeeper, so that it cannot tell")
}

func TestLibrariesAndVersions(t *testing.T) {
	head := "apiVersion: templates.gatekeeper.sh/%V\nkind: ConstraintTemplate\nmetadata: {name: judged}\nspec:\n  crd: {spec: {names: {kind: Judged}}}\n  targets:\n    - target: admission.k8s.gatekeeper.sh\n"
	v0 := "      rego: |\n        package judged\n        import data.lib.words\n        violation[{\"msg\": m}] { m := words.hello(input.review.object.metadata.name) }\n" +
		"      libs:\n        - |\n          package lib.words\n          import data.lib.more\n          hello(x) = y { y := concat(\" \", [data.lib.more.greeting, x]) }\n        - |\n          package lib.more\n          greeting = \"hello\"\n"
	v1 := "      code:\n        - engine: Rego\n          source:\n            version: v1\n            rego: |\n              package judged\n              violation contains {\"msg\": m} if { some m in {\"v1\"} }\n"
	code := "      code:\n        - engine: Rego\n          source:\n            rego: |\n              package judged\n              import future.keywords.in\n              violation[{\"msg\": m}] { some m in {\"v0\"} }\n"
	for _, tc := range []struct{ name, version, target, want string }{
		{"libraries may use each other", "v1", v0, "deny: hello web"},
		{"a template of v1beta1", "v1beta1", v0, "deny: hello web"},
		{"a template of v1alpha1", "v1alpha1", v0, "deny: hello web"},
		{"code in Rego v1", "v1", v1, "deny: v1"},
		{"code in Rego v0 with future keywords", "v1", code, "deny: v0"},
		{"code in Rego beside CEL, which goes before it", "v1", code + "        - engine: K8sNativeValidation\n          source: {validations: [{expression: \"false\", message: cel}]}\n", "deny: cel"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := replaced(head, "%V", tc.version) + tc.target + "---\n" + constraint("match: {}")
			same(t, decide(t, mustCompile(t, text), creation(object(t, pod))), tc.want)
		})
	}
}

func TestTheInventoryIsTheChangeSet(t *testing.T) {
	ps := mustCompile(t, template(`package judged
identical(obj, review) { obj.metadata.namespace == review.object.metadata.namespace; obj.metadata.name == review.object.metadata.name }
violation[{"msg": msg}] {
  other := data.inventory.namespace[ns][apiversion]["Ingress"][name]
  other.spec.host == input.review.object.spec.host
  not identical(other, input.review)
  msg := sprintf("host of %v/%v %v", [ns, name, apiversion])
}
violation[{"msg": msg}] { data.inventory.cluster["v1"]["Namespace"][name]; msg := sprintf("namespace %v", [name]) }`)+constraint("match: {kinds: [{apiGroups: [\"*\"], kinds: [Ingress]}]}"))
	same(t, []string{fmt.Sprint(ps[0].Refers)}, "[Ingress.* Namespace.*]")
	any := mustCompile(t, template("package judged\nviolation[{\"msg\": \"m\"}] { data.inventory.namespace[_][_][input.parameters.limit][_] }")+constraint("match: {}"))
	same(t, []string{fmt.Sprint(any[0].Refers)}, "[*.*]")
	ingress := func(name string) *policies.Object {
		return object(t, "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: "+name+"}\nspec: {host: a.example.com}\n")
	}
	own := ingress("own")
	c := creation(own)
	c.Set = policies.NewSet(own, ingress("other"), object(t, namespace))
	same(t, decide(t, ps, c), "deny: host of default/other networking.k8s.io/v1", "deny: namespace shop")
}

func TestPodsOfWorkloadsAreJudged(t *testing.T) {
	rego := "package judged\nviolation[{\"msg\": msg}] { msg := sprintf(\"image %v\", [input.review.object.spec.containers[_].image]) }"
	for _, tc := range []struct {
		name, match string
		want        []string
	}{
		{"a constraint for Pods", "kinds: [{apiGroups: [\"\"], kinds: [Pod]}]", []string{"deny: image nginx"}},
		{"a constraint for Pods that are generated", "{source: Generated, kinds: [{apiGroups: [\"\"], kinds: [Pod]}]}", []string{"deny: image nginx"}},
		{"a constraint for generated Pods by the begin of their name", "{name: web-*, kinds: [{apiGroups: [\"\"], kinds: [Pod]}]}", []string{"deny: image nginx"}},
		{"a constraint for everything judges what is written", "{}", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			same(t, decide(t, mustCompile(t, template(rego)+constraint("match:\n  "+tc.match)), creation(object(t, deployment))), tc.want...)
		})
	}
}
