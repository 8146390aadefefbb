package rego_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

func TestTheFieldThatARuleIsAboutIsFound(t *testing.T) {
	const lib = `package lib
import rego.v1
pod := input.spec.template if input.kind == "Deployment"
pod := input if input.kind == "Pod"
containers contains c if some c in pod.spec.containers
tag(image) := split(image, ":")[1]
other := input if input.kind == "Pod"
`
	for _, tc := range []struct{ name, rule, want string }{
		{"a field that is compared", `deny contains "m" if input.spec.replicas < 2`, "spec.replicas"},
		{"a field that is there", `deny contains "m" if input.spec.template`, "spec.template"},
		{"a field that is missing", `deny contains "m" if not input.spec.paused`, "spec.paused"},
		{"a field of an item", `deny contains c.name if { some c in input.spec.template.spec.containers; endswith(c.image, ":latest") }`, "spec.template.spec.containers[0].image"},
		{"a field of the second item", `deny contains c.name if { some c in input.spec.template.spec.containers; endswith(c.image, ":7") }`, "spec.template.spec.containers[1].image"},
		{"a missing field of an item", `deny contains sprintf("%s", [c.name]) if { c := input.spec.template.spec.containers[_]; not c.securityContext.runAsNonRoot; c.name == "b" }`, "spec.template.spec.containers[1].name"},
		{"the last condition counts, not the message", `deny contains msg if { c := input.spec.template.spec.containers[i]; not c.livenessProbe; msg := sprintf("%s %d %s", [c.name, i, c.image]) }`, "spec.template.spec.containers[0].livenessProbe"},
		{"a field by name", `deny contains "m" if { some field in ["paused", "replicas"]; input.spec[field] == 1 }`, "spec.replicas"},
		{"a key of a map", `deny contains k if { some k, v in input.metadata.labels; not startswith(v, "x") }`, "metadata.labels.b"},
		{"what a function is asked about", `deny contains "m" if { some c in input.spec.template.spec.containers; lib.tag(c.image) == "7" }`, "spec.template.spec.containers[1].image"},
		{"a value in a list", `deny contains "m" if not input.spec.replicas in [3, 5]`, "spec.replicas"},
		{"the kind alone is no place", `deny contains "m" if input.kind == "Deployment"`, ""},
		{"the name is no place", `deny contains "m" if startswith(input.metadata.name, "w")`, ""},
		{"an item of a helper's set", `deny contains c.name if { some c in lib.containers; endswith(c.image, ":7") }`, "spec.template.spec.containers[1].image"},
		{"a helper's value", `deny contains "m" if not lib.pod.spec.securityContext.runAsNonRoot`, "spec.template.spec.securityContext.runAsNonRoot"},
		{"a helper that does not hold", `deny contains "m" if not lib.other`, ""},
		{"a field of a helper that has no value", `deny contains "m" if not lib.other.spec.paused`, ""},
		{"a place that the result names", `deny contains {"msg": "m", "path": "metadata"} if input.spec.replicas < 2`, "metadata"},
		{"a path that it names from what it found", `deny contains {"msg": "m", "field": ["spec", f]} if { some f, v in input.spec; v == 1 }`, "spec.replicas"},
		{"every", `deny contains "m" if every c in input.spec.template.spec.containers { c.image }`, "spec.template.spec.containers"},
		{"a part that is only named for the message", `deny contains sprintf("%v", [input.spec.replicas]) if input.kind == "Deployment"`, "spec.replicas"},
		{"another input", `deny contains "m" if { input.spec.x == 1 with input as {"spec": {"x": 1}} }`, ""},
		{"rego v0", `deny[msg] { c := input.spec.template.spec.containers[_]; c.image == "redis:7"; msg := c.name }`, "spec.template.spec.containers[1].image"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := "package main\nimport data.lib\n"
			if strings.HasPrefix(tc.rule, "deny contains") {
				text += "import rego.v1\n"
			}
			ps := compile(t, rego.Options{}, files{"policy.rego": text + tc.rule, "lib.rego": lib})
			o := object(t, strings.Replace(web, `"namespace":"shop"`, `"namespace":"shop","labels":{"a":"x1","b":"y"}`, 1))
			d := decide(t, ps, creation(o))
			if d.Results[0].Outcome != policies.Violated {
				t.Fatalf("outcome %s %v", d.Results[0].Outcome, d.Results[0].Err)
			}
			if got := d.Results[0].Finding.Violations[0].Path.String(); got != tc.want {
				t.Errorf("path %q, want %q", got, tc.want)
			}
		})
	}
}

func TestARuleAnswersToOthersWithoutItsPlace(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"policy.rego": `package main
deny contains "m" if { some c in input.spec.template.spec.containers; c.image }
warn contains x if some x in deny
warn contains sprintf("%d", [count(deny)]) if "m" in deny
warn contains "deny" if deny["m"]
warn contains sprintf("%v", [deny]) if true
`})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{"main/deny ! m", "main/warn ? m", "main/warn ? 1", "main/warn ? deny", `main/warn ? {"m"}`})
}

func TestAReviewPolicysFieldIsFoundInTheObject(t *testing.T) {
	p := one(t, `package kubernetes.admission
deny contains c.name if { some c in input.request.object.spec.template.spec.containers; endswith(c.image, ":7") }
`)
	v := decide(t, []*policies.Policy{p}, creation(object(t, web))).Results[0].Finding.Violations[0]
	if got, want := v.Path.String(), "spec.template.spec.containers[1].image"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
}
