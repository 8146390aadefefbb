package library_test

import (
	"context"
	"fmt"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/library"
	"gitgate.dev/gitgate/policies/rego"
)

// compiled makes the policies that a name stands for.
func compiled(t testing.TB, name, version string) []*policies.Policy {
	t.Helper()
	docs, err := library.Library{}.Select(name, version)
	if err != nil {
		t.Fatal(err)
	}
	all, err := rego.Compiler(rego.Options{RegoVersion: "v1"})(context.Background(), docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		library.Dress(p)
	}
	return all
}

// engineOf asks the policies that a name stands for.
func engineOf(t testing.TB, name, version string) *policies.Engine {
	t.Helper()
	e, err := policies.New(compiled(t, name, version), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// creation is the creation of a manifest that no file holds.
func creation(content map[string]any, resource policies.Resource) *policies.Change {
	o := policies.NewObject(content, policies.Origin{}, nil, nil)
	return &policies.Change{Operation: policies.Create, Resource: resource, Namespaced: true, Object: o, Namespace: o.Namespace, Knows: policies.KnowsOld}
}

var podResource = policies.Resource{Version: "v1", Resource: "pods"}

// broken lists what a decision found: policy and message, by policy. It fails the test when something could not be judged.
func broken(t testing.TB, d policies.Decision) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, r := range d.Results {
		switch r.Outcome {
		case policies.Violated:
			for _, v := range r.Finding.Violations {
				out[r.Policy.Name] = append(out[r.Policy.Name], fmt.Sprintf("%s: %s", v.Path, v.Message))
			}
		case policies.Failed:
			t.Fatalf("%s could not judge: %v", r.Policy.Name, r.Err)
		}
	}
	return out
}
