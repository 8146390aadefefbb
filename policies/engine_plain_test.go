package policies_test

import (
	"context"
	"slices"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestADocumentThatIsNoObjectMeetsOnlyPoliciesThatTakeIt(t *testing.T) {
	t.Parallel()
	judge := func(context.Context, *policies.Change) (policies.Finding, error) { return policies.Finding{}, nil }
	var all []*policies.Policy
	for name, m := range map[string]policies.Match{
		"objects":      {},
		"both":         {Plain: policies.AlsoPlain},
		"documents":    {Plain: policies.OnlyPlain},
		"deployments":  {Plain: policies.AlsoPlain, Kinds: []policies.KindRule{{Group: "*", Kind: "Deployment"}}},
		"pods":         {Plain: policies.AlsoPlain, Kinds: []policies.KindRule{{Kind: "Pod"}}},
		"updates":      {Plain: policies.AlsoPlain, Operations: []policies.Operation{policies.Update}},
		"pods by name": {Resources: []policies.ResourceRule{{Groups: []string{""}, Versions: []string{"v1"}, Resources: []string{"pods"}}}},
	} {
		all = append(all, &policies.Policy{Name: name, Match: m, Judge: judge})
	}
	e, err := policies.New(all, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	deployment := map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": map[string]any{"template": map[string]any{"spec": map[string]any{}}}}
	for _, c := range []struct {
		name string
		root any
		want []string
	}{
		{"a map without kind", map[string]any{"a": 1}, []string{"both", "documents"}},
		{"a list", []any{"a"}, []string{"both", "documents"}},
		{"what calls itself a Deployment", deployment, []string{"both", "deployments", "documents"}},
	} {
		o := policies.NewDocument(c.root, policies.Origin{File: "f"}, nil)
		d := e.Decide(context.Background(), &policies.Change{Operation: policies.Create, Object: o, Plain: true})
		var asked []string
		for _, r := range d.Results {
			if r.Outcome == policies.Passed {
				asked = append(asked, r.Policy.Name)
			}
		}
		slices.Sort(asked)
		if !slices.Equal(asked, c.want) {
			t.Errorf("%s: asked %v, expected %v", c.name, asked, c.want)
		}
		if d.Subject.Text != "document f" {
			t.Errorf("%s: is called %q", c.name, d.Subject.Text)
		}
	}
	d := e.Decide(context.Background(), &policies.Change{Operation: policies.Create, Object: policies.NewObject(deployment, policies.Origin{}, nil, nil)})
	for _, r := range d.Results {
		if r.Policy.Name == "documents" {
			t.Error("a policy of documents alone is asked about an object")
		}
	}
}
