package policies_test

import (
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func TestAPlaceInsideATextIsFoundInTheManifest(t *testing.T) {
	t.Parallel()
	const file = `apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data:
  block: |
    a: 1
    b:
      c: 2
  folded: >-
    a: 1
    b: 2
  quoted: 'a: ''1'', b: 2'
  escaped: "a: 1\nb: 2"
`
	objects, problems := manifest.Decode("app.yaml", []byte(file), manifest.DefaultLimits())
	if len(objects) != 1 || len(problems) != 0 {
		t.Fatalf("%d objects, problems %v", len(objects), problems)
	}
	o := objects[0]
	for _, c := range []struct {
		name, key    string
		line, column int // in the text
		want         [2]int
	}{
		{"the first line of a block", "block", 1, 0, [2]int{6, 5}},
		{"a nested line of a block", "block", 3, 5, [2]int{8, 10}},
		{"a line of a folded block", "folded", 1, 5, [2]int{11, 5}},
		{"a place behind a doubled quote", "quoted", 1, 8, [2]int{12, 22}},
		{"an escaped line break is where the next line begins", "escaped", 2, 0, [2]int{13, 17}},
		{"a place outside of the text is its beginning", "block", 99, 0, [2]int{5, 10}},
	} {
		text := o.Map()["data"].(map[string]any)[c.key].(string)
		pos := o.LocateInside(policies.Path{"data", c.key}, text, c.line, c.column)
		if got := [2]int{pos.Line, pos.Column}; got != c.want {
			t.Errorf("%s: at %v, expected %v", c.name, got, c.want)
		}
	}
}
