package rego_test

import (
	"fmt"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

const combined = `# METADATA
# custom: {combine: true}
package main

deployments contains name if { input[i].contents.kind == "Deployment"; name := input[i].contents.metadata.name }

deny contains sprintf("service %s selects nothing", [name]) if {
	some i
	input[i].contents.kind == "Service"
	name := input[i].contents.metadata.name
	not input[i].contents.spec.selector.app in deployments
}

warn contains {"msg": "first of b", "_loc": {"file": "b.yaml"}} if true

warn_all contains sprintf("%d objects in %s", [count(input), concat(" ", [f.path | some f in input])]) if true
`

func TestCombinedInputIsJudgedOnceForTheSet(t *testing.T) {
	make := func(file string, document int, kind, name, app string) *policies.Object {
		return policies.NewObject(map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name},
			"spec": map[string]any{"selector": map[string]any{"app": app}}}, policies.Origin{File: file, Document: document, Line: 1}, nil, nil)
	}
	objects := []*policies.Object{
		make("b.yaml", 1, "Service", "lost", "nobody"), make("b.yaml", 0, "Service", "web", "web"), make("a.yaml", 0, "Deployment", "web", "")}
	ps := compile(t, rego.Options{}, files{"policy.rego": combined})
	if p := ps[0]; len(p.Refers) != 1 || p.Refers[0] != (policies.GroupKind{Group: "*", Kind: "*"}) || !p.Match.NoPods {
		t.Errorf("policy %+v", p)
	}
	set := policies.NewSet(objects...)
	for _, tc := range []struct {
		name   string
		object *policies.Object
		knows  policies.Facts
		want   []string
	}{
		{"the first of the set is told what is about none", objects[2], 0, []string{"main/warn_all ? 3 objects in a.yaml b.yaml b.yaml"}},
		{"the first of a file is told what is about the file", objects[1], 0, []string{"main/warn ? first of b"}},
		{"an object is told what is about it", objects[0], 0, []string{"main/deny ! service lost selects nothing"}},
		{"a change is told what is about none", objects[0], policies.KnowsOld, []string{"main/deny ! service lost selects nothing", "main/warn_all ? 3 objects in a.yaml b.yaml b.yaml"}},
		{"what comes from no file waits", policies.NewObject(objects[0].Map(), policies.Origin{}, nil, nil), 0, []string{"main deferred: the files of the change set"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := creation(tc.object)
			c.Set, c.Knows = set, tc.knows
			d := decide(t, ps, c)
			same(t, told(d), tc.want)
			if tc.object == objects[0] {
				same(t, []string{fmt.Sprint(d.Results[0].Finding.Violations[0].Path)}, []string{"spec.selector.app"})
			}
		})
	}
}
