package library_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/library"
)

// hostile are values that belong nowhere.
var hostile = []any{nil, int64(7), "x", []any{int64(1), nil}, map[string]any{"x": map[string]any{}}, true}

// Content that no API server takes, each field of every fixture in turn replaced by what does not belong there, is a finding or
// none, and never a policy that could not judge: that would make every malformed manifest of a pull request exit 3.
func TestMalformedObjectsAreJudged(t *testing.T) {
	t.Parallel()
	engines := []*policies.Engine{engineOf(t, "best-practices", library.Latest), engineOf(t, "pod-security", library.Latest)}
	n := 0
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".yaml" || !strings.Contains(name, "/bad/") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		objects, _ := manifest.Decode(name, text, manifest.DefaultLimits())
		for _, o := range objects {
			for _, path := range pathsOf(o.Map(), nil) {
				n++
				if len(path) < 2 && path[0] != "spec" && path[0] != "data" && path[0] != "metadata" || testing.Short() && n%4 != 0 {
					continue
				}
				broken := policies.NewObject(replaced(o.Map(), path, hostile[n%len(hostile)]).(map[string]any), o.Origin, nil, nil)
				for _, e := range engines {
					d := e.Decide(t.Context(), &policies.Change{
						Operation: policies.Create, Object: broken, Namespace: broken.Namespace,
						Resource: policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: strings.ToLower(o.Kind.Kind) + "s"},
					})
					for _, r := range d.Results {
						if r.Outcome == policies.Failed {
							t.Errorf("%s with %v at %s: %s could not judge: %v", name, hostile[n%len(hostile)], path, r.Policy.Name, r.Err)
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 500 {
		t.Errorf("%d fields were replaced, expected many", n)
	}
}

// pathsOf lists the fields of v, below at.
func pathsOf(v any, at policies.Path) (out []policies.Path) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			p := at.Append(key)
			out = append(append(out, p), pathsOf(v[key], p)...)
		}
	case []any:
		for i, value := range v {
			p := at.Append(i)
			out = append(append(out, p), pathsOf(value, p)...)
		}
	}
	return out
}

// replaced is v with another value at p.
func replaced(v any, p policies.Path, by any) any {
	if len(p) == 0 {
		return by
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = value
			if key == p[0] {
				out[key] = replaced(value, p[1:], by)
			}
		}
		return out
	case []any:
		out := append([]any{}, v...)
		if i, ok := p[0].(int); ok && i < len(out) {
			out[i] = replaced(out[i], p[1:], by)
		}
		return out
	default:
		return v
	}
}
