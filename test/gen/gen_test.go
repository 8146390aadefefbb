package gen_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/gen"
)

func TestASmallerTreeIsThePrefixOfALargerOne(t *testing.T) {
	t.Parallel()
	small, large := slices.Collect(gen.Manifests(500)), slices.Collect(gen.Manifests(1500))
	if len(small) != 500 || len(large) != 1500 {
		t.Fatalf("%d and %d manifests, expected 500 and 1500", len(small), len(large))
	}
	if !slices.Equal(small, large[:500]) {
		t.Error("the first 500 of 1500 manifests differ from the tree of 500")
	}
}

func TestEveryManifestIsADocumentOfItsKindAndNoIdentityComesTwice(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	kinds := map[string]int{}
	for m := range gen.Manifests(5000) {
		var o struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
		}
		if err := yaml.UnmarshalStrict([]byte(m.Text), &map[string]any{}); err != nil {
			t.Fatalf("%s: %v\n%s", m.Path, err, m.Text)
		}
		if err := yaml.Unmarshal([]byte(m.Text), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind != m.Kind || o.APIVersion == "" || o.Metadata.Name == "" {
			t.Errorf("%s: %+v, expected a named %s", m.Path, o, m.Kind)
		}
		id := strings.Join([]string{o.APIVersion, o.Kind, o.Metadata.Namespace, o.Metadata.Name}, " ")
		if seen[id] {
			t.Errorf("%s: %s comes twice", m.Path, id)
		}
		seen[id] = true
		kinds[m.Kind]++
	}
	if len(kinds) < 24 {
		t.Errorf("%d kinds among 5000 manifests, expected all 24: %v", len(kinds), kinds)
	}
	t.Log(kinds)
}

func TestTheTreeOnDiskHoldsWhatTheFileHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree, err := gen.WriteTree(filepath.Join(dir, "tree"), 700)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	files := 0
	err = filepath.WalkDir(filepath.Join(dir, "tree"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		all = append(append(all, "---\n"...), text...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	one := filepath.Join(dir, "one.yaml")
	if err := gen.WriteFile(one, 700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Files != files || tree.Manifests != 700 {
		t.Errorf("tree says %+v, %d files are there", tree, files)
	}
	count := func(b []byte) []string {
		docs := strings.Split("\n"+string(b), "\n---\n")[1:]
		slices.Sort(docs)
		for i := range docs {
			docs[i] = strings.TrimSpace(docs[i])
		}
		return docs
	}
	if a, b := count(all), count(text); len(a) != 700 || !slices.Equal(a, b) {
		t.Errorf("%d documents in the tree and %d in the file, expected the same 700", len(a), len(b))
	}
	if bytes.Contains(text, []byte("<no value>")) {
		t.Error("a template left a hole")
	}
}
