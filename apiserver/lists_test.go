package apiserver_test

import (
	"fmt"
	"os"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func TestListsAreMergedAsTheSchemaSays(t *testing.T) {
	t.Parallel()
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/lists-crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crds, problems := manifest.Decode("lists-crd.yaml", text, manifest.DefaultLimits())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	set := policies.NewSet(crds...)
	deployment := policies.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	shelf := policies.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Shelf"}
	for _, tc := range []struct {
		kind policies.GroupVersionKind
		path string
		want string
	}{
		{deployment, "spec.template.spec.containers", "keys [name]"},
		{deployment, "spec.template.spec.containers[1].ports", "keys [containerPort protocol]"},
		{deployment, "spec.template.spec.containers[0].args", "one value"},
		{deployment, "spec.template.spec.tolerations", "one value"},
		{deployment, "spec.template.spec", "one value"},
		{deployment, "spec.nothing.of.that", "one value"},
		{deployment, "metadata.finalizers", "set"},
		{deployment, "metadata.ownerReferences", "keys [uid]"},
		{shelf, "spec.books", "keys [title]"},
		{shelf, "spec.books[0].authors", "set"},
		{shelf, "spec.rows[a]", "one value"},
		{shelf, "spec.rows[a][0].tags", "set"},
		{shelf, "spec.nothing", "one value"},
		{shelf, "metadata.finalizers", "set"},
		{shelf, "metadata.ownerReferences", "keys [uid]"},
		{policies.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "Shelf"}, "spec.books", "one value"},
		{policies.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Other"}, "spec.books", "one value"},
	} {
		got := "one value"
		switch values, keys := rules.List(set, tc.kind, policies.ParsePath(tc.path)); {
		case values:
			got = "set"
		case len(keys) > 0:
			got = fmt.Sprintf("keys %v", keys)
		}
		if got != tc.want {
			t.Errorf("%s %s: %s, expected %s", tc.kind.Kind, tc.path, got, tc.want)
		}
	}
}
