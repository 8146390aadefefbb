package bundle_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
)

// rule makes a policy that finds nothing, written at the first line of d.
func rule(name string, d policies.Document) *policies.Policy {
	return &policies.Policy{Name: name, Origin: policies.Position{File: d.File, Line: 1}, Judge: func(context.Context, *policies.Change) (policies.Finding, error) {
		return policies.Finding{}, nil
	}}
}

// testKinds are a kind of schemas, and one whose documents are of the kind Rule and whose parameters are ConfigMaps.
func testKinds(*bundle.Config, bundle.Host) ([]bundle.Kind, error) {
	return []bundle.Kind{
		{Name: "schema", Also: []string{"schema/missing"}, Compile: func(_ context.Context, docs []policies.Document) ([]*policies.Policy, error) {
			p := rule("schema", policies.Document{})
			p.Rules = []string{"type", "unknown-field"}
			p.Doc = fmt.Sprint(len(docs))
			return []*policies.Policy{p}, nil
		}},
		{
			Name:   "test",
			Claims: func(d policies.Document) bool { return d.Object != nil && d.Object.Kind.Kind == "Rule" },
			Beside: func(claimed []policies.Document, d policies.Document) bool {
				return len(claimed) > 0 && d.Object != nil && d.Object.Kind.Kind == "ConfigMap"
			},
			Compile: func(_ context.Context, docs []policies.Document) ([]*policies.Policy, error) {
				var out []*policies.Policy
				var errs []error
				for _, d := range docs {
					switch {
					case d.Object.Kind.Kind == "ConfigMap":
					case d.Object.Name == "broken":
						errs = append(errs, policies.ErrorAt(d.Object.Locate(policies.Path{"metadata", "name"}, policies.AtValue), errors.New("does not compile")))
					default:
						p := rule(d.Object.Name, d)
						p.Action = policies.Audit
						out = append(out, p)
					}
				}
				return out, errors.Join(errs...)
			},
		},
	}, nil
}

func ruleFile(names ...string) *fstest.MapFile {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "---\napiVersion: test/v1\nkind: Rule\nmetadata: {name: %s}\n", name)
	}
	return file(b.String())
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

var day = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func load(files fstest.MapFS) (*bundle.Bundle, error) {
	return bundle.Load(context.Background(), bundle.Options{FS: files, File: "gitgate.yaml", Build: "v1", Now: func() time.Time { return day }, Kinds: testKinds})
}

func mustLoad(t *testing.T, files fstest.MapFS) *bundle.Bundle {
	t.Helper()
	b, err := load(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func names(b *bundle.Bundle) string {
	var out []string
	for _, p := range b.Engine.Policies() {
		out = append(out, p.Name+":"+p.Action.String())
	}
	return strings.Join(out, " ")
}

func TestWithoutAFileTheSchemaAloneJudges(t *testing.T) {
	b, err := bundle.Load(context.Background(), bundle.Options{Kinds: testKinds})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(b); got != "schema:deny" {
		t.Errorf("policies are %s", got)
	}
	if !strings.HasPrefix(b.Digest, "sha256:") || len(b.Digest) != len("sha256:")+64 {
		t.Errorf("digest is %q", b.Digest)
	}
}

func TestAnActionInTheFileGoesBeforeThePolicysOwn(t *testing.T) {
	b := mustLoad(t, fstest.MapFS{
		"gitgate.yaml":      file(head + "policies: [{path: own}, {path: warned.yaml, action: warn}]\n"),
		"own/z.yaml":        ruleFile("z"),
		"own/sub/a.yml":     ruleFile("a", "b"),
		"own/README.md":     file("no policy"),
		"own/.hidden.yaml":  file("no policy"),
		"own/.git/x.yaml":   file("no policy"),
		"warned.yaml":       ruleFile("w"),
		"elsewhere/no.yaml": ruleFile("no"),
	})
	if got, want := names(b), "schema:deny a:audit b:audit w:warn z:audit"; got != want {
		t.Errorf("policies are %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(b.Files), "[gitgate.yaml own/sub/a.yml own/z.yaml warned.yaml]"; got != want {
		t.Errorf("files are %s, want %s", got, want)
	}
}

func TestSchemasAreReadForTheSchemaKind(t *testing.T) {
	b := mustLoad(t, fstest.MapFS{
		"gitgate.yaml": file(head + "schemas: [{path: crds}, {kind: ConfigMap, jsonSchema: s.json}]\n"),
		"crds/a.yaml":  file("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n"),
		"s.json":       file("{}"),
	})
	if got, want := fmt.Sprint(b.PolicyFiles), "[s.json]"; got != want {
		t.Errorf("files that are no manifests are %s, want %s", got, want)
	}
	if len(b.Schemas) != 1 || b.Schemas[0].Name != "a" {
		t.Errorf("schemas are %v", b.Schemas)
	}
	if got := b.Engine.Policies()[0].Doc; got != "2" {
		t.Errorf("the schema kind got %s documents, want 2", got)
	}
}

func TestWhatCannotBeLoadedIsSaidAtItsPlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  []string
	}{
		{"no file of that name", fstest.MapFS{}, []string{"gitgate.yaml: does not exist"}},
		{"a path that is not there", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: nowhere}]\n")},
			[]string{"gitgate.yaml:3:19: nowhere does not exist"}},
		{"a folder without policies", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/README.md": file("x")},
			[]string{"gitgate.yaml:3:19: p has no file of policies (.yaml, .yml, .json, .rego)"}},
		{"a file of another sort", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p.txt}]\n"), "p.txt": file("x")},
			[]string{"gitgate.yaml:3:19: p.txt is no file of policies: expected the extension .yaml"}},
		{"a symbolic link", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": {Data: []byte("../b"), Mode: fs.ModeSymlink}},
			[]string{"p/a.yaml: is a symbolic link, which policies are not read through"}},
		{"an empty file", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": file("# nothing\n")},
			[]string{"p/a.yaml: is empty"}},
		{"broken YAML", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": file("a: [\n")},
			[]string{"p/a.yaml:"}},
		{"a file in two items", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}, {path: p/a.yaml}]\n"), "p/a.yaml": ruleFile("a")},
			[]string{"gitgate.yaml:3:30: policies[1].path: p/a.yaml is read by policies[0] already"}},
		{"a policy of another tool", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": file("apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: a}\n")},
			[]string{"p/a.yaml:2:7: Kyverno ClusterPolicy (kyverno.io/v1) is not supported by this version: it judges by policies of the kinds test"}},
		{"a manifest that is no policy", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": file("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")},
			[]string{"p/a.yaml:2:7: Pod (v1) is no policy that gitgate knows: expected one of the kinds test"}},
		{"a parameter of no policy", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
			[]string{"p/a.yaml:2:7: ConfigMap (v1) is no policy that gitgate knows"}},
		{"data of no policy", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": file("teams: [a]\n")},
			[]string{"p/a.yaml: is no policy: expected a document of one of the kinds test, or data beside them"}},
		{"a policy that does not compile", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": ruleFile("broken"), "p/b.yaml": ruleFile("good", "broken")},
			[]string{"p/a.yaml:4:18: does not compile", "p/b.yaml:8:18: does not compile"}},
		{"policies of one name", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": ruleFile("a"), "p/b.yaml": ruleFile("a")},
			[]string{"p/b.yaml:1: policy a is declared twice, also at p/a.yaml:1"}},
		{"a library where none ships", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{library: pod-security/restricted}]\n")},
			[]string{`gitgate.yaml:3:22: library: nothing ships with this program: name your own policies with path`}},
		{"a schema that is not there", fstest.MapFS{"gitgate.yaml": file(head + "schemas: [{kind: ConfigMap, jsonSchema: s.json}]\n")},
			[]string{"gitgate.yaml:3:41: s.json does not exist"}},
		{"exemptions of unknown policies", fstest.MapFS{"gitgate.yaml": file(head + "exempt: [{policies: [shema, schema/typ, x*], reason: r}]\n")},
			[]string{`gitgate.yaml:3:22: no policy or rule is named "shema": did you mean "schema"?`, `"schema/typ"`, `"x*"`}},
		{"many things at once", fstest.MapFS{"gitgate.yaml": file(head + "policies: [{path: nowhere}, {path: p}]\nschemas: [{path: gone}]\n"), "p/a.yaml": ruleFile("broken")},
			[]string{"gitgate.yaml:3:19: nowhere does not exist", "gitgate.yaml:4:18: gone does not exist", "p/a.yaml:4:18: does not compile"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := load(c.files)
			if err == nil {
				t.Fatalf("was loaded: %s", names(b))
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("said:\n%v\nwant:\n%s", err, want)
				}
			}
		})
	}
}

func TestParametersLieBesideTheirPolicies(t *testing.T) {
	b := mustLoad(t, fstest.MapFS{
		"gitgate.yaml": file(head + "policies: [{path: p}]\n"),
		"p/a.yaml":     file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: params}\n"),
		"p/b.yaml":     ruleFile("b"),
	})
	if got := names(b); got != "schema:deny b:audit" {
		t.Errorf("policies are %s", got)
	}
}

func TestAnExemptionHoldsUntilTheEndOfItsDay(t *testing.T) {
	for until, want := range map[string]string{"2026-11-21": "", "2026-11-20": "exempt[0] has expired: its last day was 2026-11-20; renew or remove it"} {
		b := mustLoad(t, fstest.MapFS{"gitgate.yaml": file(head + "exempt: [{policies: [schema/type, schema/missing], reason: r, until: " + until + "}]\n")})
		var got []string
		for _, w := range b.Warnings {
			got = append(got, w.Message)
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("until %s: warnings are %q, want %q", until, got, want)
		}
	}
}

func TestAModeNamesAPolicyThatExists(t *testing.T) {
	for name, want := range map[string]string{
		"schema":      "",
		"sch*":        "",
		"schema/type": `gitgate.yaml:3:21: no policy is named "schema/type": expected one of schema`,
	} {
		_, err := load(fstest.MapFS{"gitgate.yaml": file(head + "modes: [{policies: [\"" + name + "\"], action: warn}]\n")})
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != want {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

func TestDocumentsWithoutAPolicyAreAnErrorUnlessTheKindSaysWhy(t *testing.T) {
	for _, tc := range []struct {
		name string
		warn bool
		want string
	}{
		{"a kind that says nothing", false, "policies: the documents of the kind test hold no policy"},
		{"a kind that says why", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kinds := func(_ *bundle.Config, h bundle.Host) ([]bundle.Kind, error) {
				return []bundle.Kind{
					{Name: "schema", Compile: func(context.Context, []policies.Document) ([]*policies.Policy, error) {
						return []*policies.Policy{rule("schema", policies.Document{})}, nil
					}},
					{Name: "test", Claims: func(policies.Document) bool { return true }, Compile: func(_ context.Context, docs []policies.Document) ([]*policies.Policy, error) {
						if tc.warn {
							h.Warn(policies.ErrorAt(policies.Position{File: docs[0].File}, errors.New("is no validation; ignored")))
						}
						return nil, nil
					}},
				}, nil
			}
			_, err := bundle.Load(context.Background(), bundle.Options{Kinds: kinds, File: "gitgate.yaml", FS: fstest.MapFS{
				"gitgate.yaml": file("apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies: [{path: policies}]\n"), "policies/a.yaml": ruleFile("a"),
			}})
			if got := fmt.Sprint(err); tc.want == "" && err != nil || !strings.Contains(got, tc.want) {
				t.Errorf("error %v, expected %q", err, tc.want)
			}
		})
	}
}

func TestKindsReadFilesOfTheBundleAndWarn(t *testing.T) {
	b, err := bundle.Load(context.Background(), bundle.Options{
		FS: fstest.MapFS{"gitgate.yaml": file(head), "defs/a.json": file("{}")}, File: "gitgate.yaml",
		Kinds: func(c *bundle.Config, h bundle.Host) ([]bundle.Kind, error) {
			if _, err := h.Read("./defs/a.json"); err != nil {
				t.Error(err)
			}
			if _, err := h.Read("../a.json"); err == nil || !strings.Contains(err.Error(), "leads out of the folder") {
				t.Errorf("a file above the bundle: %v", err)
			}
			h.Warn(policies.ErrorAt(policies.Position{File: "p.rego", Line: 3}, errors.New("is odd")))
			return testKinds(c, h)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(b.Files), "[defs/a.json gitgate.yaml]"; got != want {
		t.Errorf("files are %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(b.Warnings), "[p.rego:3: is odd]"; got != want {
		t.Errorf("warnings are %s, want %s", got, want)
	}
}

func TestWhatIsNotEnforcedIsSaid(t *testing.T) {
	b := mustLoad(t, fstest.MapFS{"gitgate.yaml": file(head + `sources: [{name: a, trust: {ssh: {allowedSigners: k}}}]
reconcilers: [{flux: {namespace: flux-system}}]
writers: [{name: a, users: [u], writes: [{kinds: [Secret]}]}]
images: [{match: ["*"], signed: {keys: [k]}}]
trace: {}
`)})
	var got []string
	for _, w := range b.Warnings {
		got = append(got, w.String())
	}
	for i, want := range []string{
		"gitgate.yaml:6:1: images: not enforced by this version",
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Fatalf("warnings are %q, want %s at %d", got, want, i)
		}
	}
}

func TestTheDigestIsOfWhatDecidesAVerdict(t *testing.T) {
	files := func() fstest.MapFS {
		return fstest.MapFS{
			"gitgate.yaml": file(head + "policies: [{path: p}]\n"), "p/a.yaml": ruleFile("a"), "p/b.yaml": ruleFile("b"), "other.yaml": ruleFile("c"),
		}
	}
	first := mustLoad(t, files()).Digest
	if again := mustLoad(t, files()).Digest; again != first {
		t.Errorf("digests of the same files differ: %s, %s", first, again)
	}
	unread := files()
	unread["other.yaml"] = ruleFile("d")
	if got := mustLoad(t, unread).Digest; got != first {
		t.Error("a file that is not read changed the digest")
	}
	seen := []string{first}
	for name, change := range map[string]func(fstest.MapFS){
		"the configuration":    func(f fstest.MapFS) { f["gitgate.yaml"] = file(head + "policies: [{path: p, action: warn}]\n") },
		"a policy":             func(f fstest.MapFS) { f["p/a.yaml"] = ruleFile("a2") },
		"the name of a policy": func(f fstest.MapFS) { f["p/c.yaml"] = f["p/a.yaml"]; delete(f, "p/a.yaml") },
		"contents exchanged":   func(f fstest.MapFS) { f["p/a.yaml"], f["p/b.yaml"] = f["p/b.yaml"], f["p/a.yaml"] },
	} {
		changed := files()
		change(changed)
		got := mustLoad(t, changed).Digest
		if slices.Contains(seen, got) {
			t.Errorf("%s does not change the digest", name)
		}
		seen = append(seen, got)
	}
	other, err := bundle.Load(context.Background(), bundle.Options{FS: files(), File: "gitgate.yaml", Build: "v1", Kubernetes: "1.35", Kinds: testKinds})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(seen, other.Digest) {
		t.Error("the Kubernetes version does not change the digest")
	}
}

func TestAPolicyOfSeveralItemsHasOneAction(t *testing.T) {
	joint := func(*bundle.Config, bundle.Host) ([]bundle.Kind, error) {
		return []bundle.Kind{{Name: "joint", Claims: func(policies.Document) bool { return true }, Compile: func(_ context.Context, docs []policies.Document) ([]*policies.Policy, error) {
			p := rule("main", docs[0])
			for _, d := range docs {
				p.Files = append(p.Files, d.File)
			}
			return []*policies.Policy{p}, nil
		}}}, nil
	}
	for _, c := range []struct{ items, want, err string }{
		{"[{path: a}, {path: b}]", "deny", ""},
		{"[{path: a, action: warn}, {path: b, action: warn}]", "warn", ""},
		{"[{path: a, action: warn}, {path: b}]", "", "gitgate.yaml:3:37: policies[1]: policy main is written in files of policies[0] too, which has another action"},
		{"[{path: a, action: warn}, {path: b, action: deny}]", "", "policies[1]: policy main is written in files of policies[0] too"},
	} {
		files := fstest.MapFS{"gitgate.yaml": file(head + "policies: " + c.items + "\n"), "a/a.yaml": ruleFile("a"), "b/b.yaml": ruleFile("b")}
		b, err := bundle.Load(context.Background(), bundle.Options{FS: files, File: "gitgate.yaml", Kinds: joint})
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %s", c.items, err, c.err)
		case c.err == "" && (err != nil || b.Engine.Policies()[0].Action.String() != c.want):
			t.Errorf("%s: %v", c.items, err)
		}
	}
}
