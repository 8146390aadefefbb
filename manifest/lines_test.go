package manifest_test

import (
	"testing"

	"gitgate.dev/gitgate/manifest"
)

func TestADocumentShowsItsLines(t *testing.T) {
	t.Parallel()
	objects, problems := manifest.Decode("a.yaml", []byte("apiVersion: v1\nkind: ConfigMap\r\n---\napiVersion: v1\nkind: Pod\n---\nkind: Secret\napiVersion: v1\n"), manifest.DefaultLimits())
	if len(problems) > 0 || len(objects) != 3 {
		t.Fatalf("%d objects, problems %v", len(objects), problems)
	}
	for _, tc := range []struct {
		object, line int
		want         string
		ok           bool
	}{
		{0, 1, "apiVersion: v1", true},
		{0, 2, "kind: ConfigMap", true},
		{0, 0, "", false},
		{1, 5, "kind: Pod", true},
		{1, 1, "", false},
		{1, 99, "", false},
		{2, 7, "", false}, // a Secret shows nothing
	} {
		if got, ok := objects[tc.object].Line(tc.line); got != tc.want || ok != tc.ok {
			t.Errorf("object %d line %d is %q, %v: want %q, %v", tc.object, tc.line, got, ok, tc.want, tc.ok)
		}
	}
}
