package rego_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

// files are documents by name.
type files map[string]string

func (f files) documents() []policies.Document {
	var out []policies.Document
	for name, text := range f {
		out = append(out, policies.Document{File: name, Text: []byte(text)})
	}
	return out
}

func compile(t testing.TB, o rego.Options, f files) []*policies.Policy {
	t.Helper()
	ps, err := rego.Compiler(o)(context.Background(), f.documents())
	if err != nil {
		t.Fatalf("policies do not compile: %v", err)
	}
	return ps
}

func object(t testing.TB, text string) *policies.Object {
	t.Helper()
	var content map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&content); err != nil {
		t.Fatal(err)
	}
	return policies.NewObject(content, policies.Origin{File: "object.json", Line: 1, Column: 1}, nil, nil)
}

func decodes(text string, v any) bool { return json.Unmarshal([]byte(text), v) == nil }

func creation(o *policies.Object) *policies.Change {
	return &policies.Change{Operation: policies.Create, Object: o, Namespace: o.Namespace, Namespaced: o.Namespace != "",
		Resource: policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: strings.ToLower(o.Kind.Kind) + "s"}}
}

func decide(t testing.TB, ps []*policies.Policy, c *policies.Change) policies.Decision {
	t.Helper()
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.Decide(context.Background(), c)
}

// told is a decision in one line a violation: policy/rule, ! for a violation or ? for a warning, message; failures and deferrals as such.
func told(d policies.Decision) []string {
	out := []string{}
	for _, r := range d.Results {
		switch r.Outcome {
		case policies.Violated:
			for _, v := range r.Finding.Violations {
				mark := " ! "
				if v.Warning {
					mark = " ? "
				}
				out = append(out, r.Policy.Name+"/"+v.Rule+mark+v.Message)
			}
		case policies.Failed:
			out = append(out, r.Policy.Name+" failed: "+r.Err.Error())
		case policies.Deferred:
			out = append(out, r.Policy.Name+" deferred: "+r.Missing)
		}
	}
	return out
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

const web = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},
"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"a","image":"nginx:latest"},{"name":"b","image":"redis:7"}]}}}}`

func TestConftestConventions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy string
		want   []string
	}{
		{"a deny rule with a message", `package main
			deny contains msg if { input.kind == "Deployment"; msg := sprintf("%s is a Deployment", [input.metadata.name]) }`,
			[]string{"main/deny ! web is a Deployment"}},
		{"a warn rule warns", `package main
			warn contains "one replica" if input.spec.replicas == 1`, []string{"main/warn ? one replica"}},
		{"a violation rule with a map and metadata", `package main
			violation contains {"msg": "no", "details": {"x": 1}} if true`, []string{"main/violation ! no"}},
		{"rules with suffixes", `package main
			deny_one contains "a" if true
			warn_two_b contains "b" if true
			violation_3 contains "c" if true`, []string{"main/deny_one ! a", "main/warn_two_b ? b", "main/violation_3 ! c"}},
		{"names that only begin like rules are helpers", `package main
			denyall contains "a" if true
			warning contains "b" if true
			deny_ contains "c" if true
			deny contains "d" if true`, []string{"main/deny ! d"}},
		{"several definitions of one rule", `package main
			deny contains "a" if true
			deny contains "b" if input.kind == "Service"
			deny contains "c" if true`, []string{"main/deny ! a", "main/deny ! c"}},
		{"the same message of two definitions is told once", `package main
			deny contains "a" if input.spec
			deny contains "a" if input.metadata`, []string{"main/deny ! a"}},
		{"a rule that another rule counts", `package main
			deny contains "a" if true
			deny contains "b" if true
			warn contains sprintf("%d denied", [count(deny)]) if true`, []string{"main/deny ! a", "main/deny ! b", "main/warn ? 2 denied"}},
		{"a list as value", `package main
			deny := ["a", {"msg": "b"}]`, []string{"main/deny ! a", "main/deny ! b"}},
		{"a list made by a comprehension", `package main
			deny := [m | m := input.spec.template.spec.containers[_].image]`, []string{"main/deny ! nginx:latest", "main/deny ! redis:7"}},
		{"a set as value", `package main
			deny := {"a"}`, []string{"main/deny ! a"}},
		{"a truth as value", `package main
			default deny := false
			deny if input.spec.replicas == 1`, []string{"main/deny ! rule deny holds, expected it not to"}},
		{"an untruth as value", `package main
			default deny := false
			deny if input.spec.replicas == 2`, nil},
		{"an undefined value", `package main
			deny := "x" if input.spec.replicas == 2`, nil},
		{"a message as value", `package main
			deny := "x" if input.spec.replicas == 1`, []string{"main/deny ! x"}},
		{"nothing found", `package main
			deny contains "x" if input.kind == "Service"`, nil},
		{"an empty message is still a violation", `package main
			deny contains "" if true`, []string{"main/deny ! rule deny holds, expected it not to"}},
		{"rego v0", `package main
			deny[msg] { input.kind == "Deployment"; msg = "v0" }
			warn[{"msg": msg}] { msg := "v0 too" }`, []string{"main/deny ! v0", "main/warn ? v0 too"}},
		{"rego v0 with future keywords", `package main
			import future.keywords
			deny contains msg if { some c in input.spec.template.spec.containers; msg := c.name }`, []string{"main/deny ! a", "main/deny ! b"}},
		{"import rego.v1", `package main
			import rego.v1
			deny contains "x" if true`, []string{"main/deny ! x"}},
		{"an exception by suffix", `package main
			deny_a contains "a" if true
			deny_b contains "b" if true
			exception contains rules if { input.metadata.name == "web"; rules := ["a"] }`, []string{"main/deny_b ! b"}},
		{"an exception of the rule without suffix", `package main
			deny contains "a" if true
			violation contains "c" if true
			deny_b contains "b" if true
			exception contains rules if rules := [""]`, []string{"main/deny_b ! b"}},
		{"an exception of several rules, v0", `package main
			deny_a[msg] { msg = "a" }
			warn_a[msg] { msg = "w" }
			deny_b[msg] { msg = "b" }
			exception[rules] { rules = ["a", "b"] }`, nil},
		{"an exception that does not hold", `package main
			deny_a contains "a" if true
			exception contains rules if { input.metadata.name == "other"; rules := ["a"] }`, []string{"main/deny_a ! a"}},
		{"a result without a message cannot be read", `package main
			deny contains {"message": "a"} if true`, []string{`main failed: policy.rego:2:4: rule deny: result has no message, expected a string in msg`}},
		{"a result that is a number cannot be read", `package main
			deny contains 7 if true`, []string{`main failed: policy.rego:2:4: rule deny: result is number, expected a message or a map with the message in msg`}},
		{"a conflict is an error, not a pass", `package main
			a := 1 if input.kind
			a := 2 if input.spec
			deny contains "x" if a == 3`, []string{`main failed: policy.rego:2:4: complete rules must not produce multiple outputs`}},
		{"a function named like a rule is no rule", `package main
			deny_f(x) := "x" if x
			deny contains deny_f(true) if true`, []string{"main/deny ! x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ps := compile(t, rego.Options{}, files{"policy.rego": tc.policy})
			same(t, told(decide(t, ps, creation(object(t, web)))), tc.want)
		})
	}
}
