package rego_test

import (
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

func one(t testing.TB, text string) *policies.Policy {
	t.Helper()
	ps := compile(t, rego.Options{}, files{"policy.rego": text})
	if len(ps) != 1 {
		t.Fatalf("%d policies, want one", len(ps))
	}
	return ps[0]
}

// kindCases are policies and the kinds that they can hold for.
var kindCases = []struct{ name, policy, want string }{
	{"a condition on the kind", `package main
			deny contains "x" if input.kind == "Pod"`, "Pod"},
	{"a condition the other way round", `package main
			deny contains "x" if "Pod" == input.kind`, "Pod"},
	{"a condition on a name for the kind", `package main
			deny contains "x" if { k := input.kind; k == "Pod" }`, "Pod"},
	{"rego v0", `package main
			deny["x"] { input.kind = "Pod" }`, "Pod"},
	{"a set of kinds", `package main
			deny contains "x" if input.kind in {"Pod", "Job"}`, "Job Pod"},
	{"a list of kinds that is asked", `package main
			deny contains "x" if input.kind == ["Pod", "Job"][_]`, "Job Pod"},
	{"a set that is indexed", `package main
			deny contains "x" if {"Pod", "Job"}[input.kind]`, "Job Pod"},
	{"a set that is a rule", `package main
			kinds := {"Pod", "Job"}
			deny contains "x" if input.kind in kinds`, "Job Pod"},
	{"a set that is a rule, in v0", `package main
			kinds = {"Pod", "Job"}
			deny["x"] { kinds[input.kind] }`, "Job Pod"},
	{"a union of sets", `package main
			kinds := {"Pod", "Job"}
			deny contains "x" if input.kind in kinds | {"CronJob"}`, "CronJob Job Pod"},
	{"a set with several definitions", `package main
			kinds contains "Pod"
			kinds contains "Job"
			deny contains "x" if input.kind in kinds`, "Job Pod"},
	{"a helper that says so", `package main
			is_pod if input.kind == "Pod"
			deny contains "x" if is_pod`, "Pod"},
	{"a helper with a default", `package main
			default is_pod := false
			is_pod if input.kind == "Pod"
			deny contains "x" if is_pod`, "Pod"},
	{"a helper whose default is asked for", `package main
			default is_pod := false
			is_pod if input.kind == "Pod"
			deny contains "x" if is_pod == false`, ""},
	{"a function that says so", `package main
			is(kind) if input.kind == "Pod"
			deny contains "x" if is("Pod")`, "Pod"},
	{"a set that is filled for some kinds", `package main
			containers contains c if { input.kind == "Pod"; some c in input.spec.containers }
			containers contains c if { input.kind == "Job"; some c in input.spec.template.spec.containers }
			deny contains "x" if { some c in containers; c.image }`, "Job Pod"},
	{"a set that is only counted", `package main
			containers contains c if { input.kind == "Pod"; some c in input.spec.containers }
			deny contains "x" if count(containers) == 0`, ""},
	{"a helper's two ways", `package main
			is_it if input.kind == "Pod"
			is_it if input.kind == "Job"
			deny contains "x" if is_it`, "Job Pod"},
	{"an else", `package main
			spec := input.spec if { input.kind == "Pod" } else := input.spec.template.spec if { input.kind == "Job" }
			deny contains "x" if spec.hostNetwork`, "Job Pod"},
	{"the union of all rules", `package main
			deny contains "x" if input.kind == "Pod"
			warn contains "x" if input.kind == "Job"`, "Pod Job"},
	{"a rule for everything", `package main
			deny contains "x" if input.kind == "Pod"
			deny contains "x" if not input.metadata.labels`, ""},
	{"a negated condition", `package main
			deny contains "x" if not input.kind == "Pod"`, ""},
	{"another kind than this", `package main
			deny contains "x" if input.kind != "Pod"`, ""},
	{"a kind under another input", `package main
			deny contains "x" if { is_pod with input as {"kind": "Pod"} }
			is_pod if input.kind == "Pod"`, ""},
	{"a truth as value", `package main
			default deny := false
			deny if input.kind == "Pod"`, "Pod"},
	{"METADATA of the package", `# METADATA
			# custom: {match: {kinds: [Pod, apps/Deployment, batch/v1/Job]}}
			package main
			deny contains "x" if input.kind`, "Pod Deployment.apps Job.batch/v1"},
	{"METADATA of a rule", `package main
			# METADATA
			# custom:
			#   match:
			#     kinds: [Pod]
			deny contains "x" if input.kind`, "Pod"},
	{"the kind of a review", `package kubernetes.admission
			deny contains "x" if input.request.kind.kind == "Pod"`, "Pod"},
	{"the kind of the object of a review", `package kubernetes.admission
			request := input.request
			deny contains "x" if { o := input.request.object; o.kind == "Pod" }`, "Pod"},
}

// policyText is the text of a case: METADATA has to start at the beginning of a line.
func policyText(text string) string { return strings.ReplaceAll(text, "\n\t\t\t#", "\n#") }

func TestKindsThatARuleCanHoldForAreKnown(t *testing.T) {
	for _, tc := range kindCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			policy := policyText(tc.policy)
			var got []string
			for _, k := range one(t, policy).Match.Kinds {
				s := k.Kind
				if k.Group != "*" {
					s += "." + k.Group
				}
				if k.Version != "" {
					s += "/" + k.Version
				}
				got = append(got, s)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("kinds %q, want %q", strings.Join(got, " "), tc.want)
			}
		})
	}
}

// What is inferred of kinds must lose nothing: a policy that is asked about every kind finds the same.
func TestInferredKindsLoseNothing(t *testing.T) {
	const spec = `"spec":{"hostNetwork":true,"containers":[{"image":"a"}],"template":{"spec":{"hostNetwork":true,"containers":[{"image":"a"}]}}}`
	for _, tc := range kindCases {
		if strings.Contains(tc.policy, "METADATA") {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			inferred := one(t, tc.policy)
			all := one(t, "# METADATA\n# custom: {match: {kinds: ['*']}}\n"+tc.policy)
			for _, kind := range []string{"Pod", "Job", "CronJob", "Service", "Thing", ""} {
				c := func() *policies.Change {
					return creation(object(t, `{"apiVersion":"example.com/v1","kind":"`+kind+`","metadata":{"name":"x"},`+spec+`}`))
				}
				same(t, told(decide(t, []*policies.Policy{inferred}, c())), told(decide(t, []*policies.Policy{all}, c())))
			}
		})
	}
}

func TestWhatAReviewPolicyNeedsIsKnown(t *testing.T) {
	const actor, old = policies.KnowsActor, policies.KnowsOld
	for _, tc := range []struct {
		name, body string
		want       policies.Facts
	}{
		{"the object alone", `deny contains "x" if input.request.object.spec`, 0},
		{"the actor", `deny contains "x" if input.request.userInfo.username == "a"`, actor},
		{"the actor in a message only", `deny contains input.request.userInfo.username if true`, actor},
		{"the old object", `deny contains "x" if input.request.oldObject.spec.a != input.request.object.spec.a`, old},
		{"the actor of a request that has a name", `deny contains "x" if { r := input.request; r.object.spec; r.userInfo.groups[_] == "g" }`, actor},
		{"the object of a request that has a name", `deny contains "x" if { r := input.request; r.object.spec }`, 0},
		{"the actor in a helper", `is_root if input.request.userInfo.username == "root"
			deny contains "x" if is_root`, actor},
		{"the actor in a rule's value", `request := input.request
			deny contains "x" if request.userInfo.username == "root"`, actor},
		{"only the object in a rule's value", `request := input.request
			deny contains "x" if request.object.spec`, 0},
		{"the actor in a function's argument", `root(r) if r.userInfo.username == "root"
			deny contains "x" if root(input.request)`, actor},
		{"only the object in a function's argument", `bad(r) if r.object.spec.bad
			deny contains "x" if bad(input.request)`, 0},
		{"the actor through a function's value", `f(r) := r.userInfo
			deny contains "x" if { u := f(input.request); u.username == "root" }`, actor},
		{"the actor by object.get", `deny contains "x" if object.get(input.request, ["userInfo", "username"], "") == "root"`, actor},
		{"only the object by object.get", `deny contains "x" if object.get(input.request, "object", {}) == {}`, 0},
		{"the whole request goes somewhere", `deny contains "x" if count(input.request) > 20`, actor | old},
		{"fields of the request one by one", `deny contains "x" if { some k; input.request[k].a }`, actor | old},
		{"the actor in a comprehension", `deny contains "x" if count([g | g := input.request.userInfo.groups[_]]) > 3`, actor},
		{"the actor under every", `deny contains "x" if every g in input.request.userInfo.groups { g != "a" }`, actor},
		{"the actor under not", `deny contains "x" if not input.request.userInfo.groups`, actor},
		{"a rule that nothing reaches", `other if input.request.userInfo.username
			deny contains "x" if input.request.object`, 0},
		{"the actor in an exception", `deny contains "x" if input.request.object
			exception contains [""] if input.request.userInfo.username == "root"`, actor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := one(t, "package kubernetes.admission\n"+tc.body).Needs; got != tc.want {
				t.Errorf("needs %v, want %v", got.Names(), tc.want.Names())
			}
		})
	}
}

func TestOtherObjectsAreKeptOnlyForThosePoliciesThatLookAtThem(t *testing.T) {
	for _, tc := range []struct{ name, policy, want string }{
		{"none", `package main
			deny contains "x" if input.kind`, ""},
		{"an inventory by kind", `package main
			deny contains "x" if data.inventory.namespace[_]["v1"].Service[_].spec`, "Service.*"},
		{"an inventory of the cluster by kind", `package main
			deny contains "x" if { some name; data.inventory.cluster.v1.Namespace[name] }`, "Namespace.*"},
		{"an inventory that has a name", `package main
			inv := data.inventory
			deny contains "x" if inv.namespace[_]["networking.k8s.io/v1"].Ingress[_]`, "Ingress.*"},
		{"an inventory of any kind", `package main
			deny contains "x" if { some k; data.inventory.namespace[_]["v1"][k][_] }`, "*.*"},
		{"the whole inventory", `package main
			deny contains "x" if count(data.inventory) > 7`, "*.*"},
		{"kube-mgmt's layout", `package kubernetes.admission
			import data.kubernetes.namespaces
			deny contains "x" if namespaces[input.request.namespace].metadata.labels.x`, "*.*"},
		{"another package under kubernetes", `package kubernetes.admission
			import data.kubernetes.lib
			deny contains "x" if lib.yes`, ""},
		{"a package that is found by name", `package main
			deny contains m if { some p; m := data.policies[p].deny[_] }`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ps := compile(t, rego.Options{}, files{"policy.rego": tc.policy, "lib.rego": "package kubernetes.lib\nyes := true"})
			var got []string
			for _, gk := range ps[0].Refers {
				got = append(got, gk.String())
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tc.want {
				t.Errorf("refers to %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOperationsThatAReviewPolicySpeaksOfAreAsked(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"none", `deny contains "x" if input.request.object`, ""},
		{"creation", `deny contains "x" if input.request.operation == "CREATE"`, ""},
		{"deletion", `deny contains "x" if input.request.operation == "DELETE"`, "CREATE UPDATE DELETE"},
		{"deletion among others", `ops := {"DELETE", "CONNECT"}
			deny contains "x" if input.request.operation in ops`, "CREATE UPDATE DELETE CONNECT"},
		{"METADATA", `# METADATA
# custom: {match: {operations: [update]}}
deny contains "x" if input.request.object`, "UPDATE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, op := range one(t, "package kubernetes.admission\n"+tc.body).Match.Operations {
				got = append(got, string(op))
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("operations %q, want %q", got, tc.want)
			}
		})
	}
}
