package policies_test

import (
	"reflect"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestPathsReadBackAsTheyWereWritten(t *testing.T) {
	for _, tc := range []struct {
		path policies.Path
		text string
	}{
		{nil, ""},
		{policies.Path{"spec", "containers", 0, "image"}, "spec.containers[0].image"},
		{policies.Path{"metadata", "labels", "app.kubernetes.io/name"}, "metadata.labels[app.kubernetes.io/name]"},
		{policies.Path{"data", "a.b"}, "data[a.b]"},
		{policies.Path{"data", "0"}, "data.0"},
		{policies.Path{"data", "a]b"}, `data["a]b"]`},
		{policies.Path{"data", "a b"}, "data[a b]"},
		{policies.Path{"data", ""}, `data[""]`},
		{policies.Path{"data", `"`}, `data["\""]`},
	} {
		t.Run(tc.text, func(t *testing.T) {
			if got := tc.path.String(); got != tc.text {
				t.Errorf("written as %s, want %s", got, tc.text)
			}
			if got := policies.ParsePath(tc.text); len(got)+len(tc.path) > 0 && !reflect.DeepEqual(got, tc.path) {
				t.Errorf("read as %#v, want %#v", got, tc.path)
			}
		})
	}
}

func TestPathsOfOtherEnginesAreRead(t *testing.T) {
	for text, want := range map[string]policies.Path{
		".spec.replicas":         {"spec", "replicas"},
		"data['app.json']":       {"data", "app.json"},
		"spec.containers[0":      {"spec", "containers", "0"},
		"spec.ports[k8s].number": {"spec", "ports", "k8s", "number"},
	} {
		if got := policies.ParsePath(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s read as %#v, want %#v", text, got, want)
		}
	}
}

func FuzzPath(f *testing.F) {
	f.Add("spec.containers[0].image")
	f.Add(`data["a]b"].x['y']`)
	f.Fuzz(func(t *testing.T, s string) {
		p := policies.ParsePath(s)
		if again := policies.ParsePath(p.String()); len(p)+len(again) > 0 && !reflect.DeepEqual(p, again) {
			t.Errorf("%q read as %#v, and its text %q as %#v", s, p, p.String(), again)
		}
	})
}

type textSource []string

func (textSource) Locate(policies.Path, policies.Aspect) (policies.Position, int) {
	return policies.Position{}, 0
}

func (s textSource) Line(n int) (string, bool) {
	if n < 1 || n > len(s) {
		return "", false
	}
	return s[n-1], true
}

func TestAnObjectShowsTheLinesOfItsText(t *testing.T) {
	o := policies.NewObject(map[string]any{}, policies.Origin{}, textSource{"kind: Pod"}, nil)
	if text, ok := o.Line(1); !ok || text != "kind: Pod" {
		t.Errorf("line 1 is %q, %v", text, ok)
	}
	if _, ok := o.Line(2); ok {
		t.Error("a line after the last one was shown")
	}
	if _, ok := policies.NewObject(map[string]any{}, policies.Origin{}, nil, nil).Line(1); ok {
		t.Error("an object without a text showed a line")
	}
}
