package manifest

import (
	"encoding/json"
	"os"
	"testing"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

func deployment(b *testing.B) []byte {
	b.Helper()
	text, err := os.ReadFile("testdata/deployment.yaml")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	return text
}

func BenchmarkDecode(b *testing.B) {
	text := deployment(b)
	for b.Loop() {
		if objects, problems := Decode("f.yaml", text, Limits{}); len(objects) != 1 || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	text, err := yaml.YAMLToJSON(deployment(b))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if objects, problems := Decode("f.json", text, Limits{}); len(objects) != 1 || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

func BenchmarkDecodeAndLocate(b *testing.B) {
	text := deployment(b)
	path := policies.ParsePath("spec.template.spec.containers[0].securityContext.privileged")
	for b.Loop() {
		objects, _ := Decode("f.yaml", text, Limits{})
		if pos := objects[0].Locate(path, policies.AtValue); pos.Line == 0 {
			b.Fatal(pos)
		}
	}
}

// A document with an anchor is for the library.
func BenchmarkDecodeByLibrary(b *testing.B) {
	text := append(deployment(b), "x: &a b\n"...)
	for b.Loop() {
		if objects, problems := Decode("f.yaml", text, Limits{}); len(objects) != 1 || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

// What sigs.k8s.io/yaml and encoding/json need, without positions.
func BenchmarkPeer(b *testing.B) {
	text := deployment(b)
	for b.Loop() {
		js, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			b.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(js, &m); err != nil {
			b.Fatal(err)
		}
	}
}
