package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// rules is a small API server: ConfigMap, Secret and Deployment are namespaced, and so are kinds that a CRD of the set defines.
type rules struct{}

func (rules) Stored(_ *policies.Set, o *policies.Object) (map[string]any, error) { return o.Map(), nil }

func (rules) Resource(set *policies.Set, gvk policies.GroupVersionKind) (policies.Resource, bool, bool) {
	res := policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}
	switch gvk.Kind {
	case "ConfigMap", "Secret", "Deployment":
		return res, true, true
	case "Namespace", "CustomResourceDefinition":
		return res, false, true
	}
	for _, crd := range set.Of(definitions) {
		if kind, _ := policies.Lookup(crd.Map(), policies.ParsePath("spec.names.kind")); kind == gvk.Kind {
			return res, true, true
		}
	}
	return policies.Resource{}, false, false
}

func engine(t testing.TB, ps ...*policies.Policy) *policies.Engine {
	t.Helper()
	if len(ps) == 0 {
		ps = []*policies.Policy{{Name: "no-bad", Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
			if !strings.HasPrefix(c.Object.Name, "bad") {
				return policies.Finding{}, nil
			}
			return policies.Finding{Violations: []policies.Violation{{Message: "it is bad", Path: policies.Path{"metadata", "name"}}}}, nil
		}}}
	}
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func cm(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

// tree writes files below a new folder and goes there. A value that begins with "-> " is a symbolic link.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(filepath.FromSlash(target), path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.ToSlash(dir)
}

// check runs o over paths below dir and writes each decision as a line, without dir.
func check(t testing.TB, dir string, o Options) (lines []string, sum Summary, err error) {
	t.Helper()
	if o.Engine == nil {
		o.Engine = engine(t)
	}
	o.Rules = rules{}
	for i, p := range o.Paths {
		if p != "-" {
			o.Paths[i] = filepath.FromSlash(dir + "/" + p)
		}
	}
	sum, err = Run(t.Context(), o, func(d policies.Decision) error {
		var said []string
		for _, r := range d.Results {
			for _, v := range r.Finding.Violations {
				said = append(said, fmt.Sprintf("%s/%s %d:%d %s", r.Policy.Name, v.Rule, v.Pos.Line, v.Pos.Column, v.Message))
			}
			if r.Err != nil {
				said = append(said, r.Err.Error())
			}
		}
		line := fmt.Sprintf("%s:%d %s %s", d.Subject.Origin.File, d.Subject.Origin.Line, d.Verdict(), strings.Join(said, "; "))
		lines = append(lines, strings.TrimSpace(strings.ReplaceAll(line, dir+"/", "")))
		return nil
	})
	for i := range sum.Skipped {
		sum.Skipped[i].File = strings.TrimPrefix(sum.Skipped[i].File, dir+"/")
	}
	return lines, sum, err
}

func wantLines(t testing.TB, got, want []string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestObjectsOfFilesFoldersAndStdinAreJudgedInOrder(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"b/z.yml":   cm("z") + "---\n" + cm("bad-one"),
		"b/a.json":  `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"j"}}`,
		"a/x.yaml":  cm("x"),
		"b/read.me": "text",
		"c.txt":     cm("explicit"),
	})
	lines, sum, err := check(t, dir, Options{Paths: []string{"b", "a", "c.txt", "-", "b/z.yml"}, Stdin: strings.NewReader(cm("s")), StdinFilename: "zz.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{
		"a/x.yaml:1 allow", "b/a.json:1 allow", "b/z.yml:1 allow", "b/z.yml:6 deny no-bad/ 9:9 it is bad", "c.txt:1 allow", "zz.yaml:1 allow",
	})
	if sum.Files != 5 || sum.Objects != 6 || sum.Others != 1 || len(sum.Skipped) != 0 {
		t.Errorf("summary %+v", sum)
	}
}

func TestTwoObjectsOfOneIdentityAreAFinding(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"a.yaml": cm("x") + "---\n" + cm("w"),
		"b.yaml": cm("x\n  namespace: default") + "---\n" + cm("x\n  namespace: other") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: g}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: g}\n",
		"c.yaml": "apiVersion: v2\nkind: ConfigMap\nmetadata: {name: w}\n",
	})
	lines, sum, err := check(t, dir, Options{Paths: []string{"."}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{
		"a.yaml:1 allow", "a.yaml:6 allow",
		"b.yaml:1 deny manifest/duplicate-object 4:9 ConfigMap default/x is declared twice, first at a.yaml:1; expected once, for the last one applied would win",
		"b.yaml:7 allow", "b.yaml:13 allow", "b.yaml:17 allow",
		"c.yaml:1 deny manifest/duplicate-object 3:18 ConfigMap w is declared twice, first at a.yaml:6; expected once, for the last one applied would win",
	})
	if sum.Duplicates != 2 {
		t.Errorf("summary %+v", sum)
	}
}

func TestWhatIsNoManifestIsToldOrNoted(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"a/broken.yaml":             "a: b: c\n",
		"a/list.yaml":               "- a\n",
		"a/empty.yaml":              "# nothing\n",
		"a/values.yaml":             "replicaCount: 1\n",
		"b/values.yaml":             cm("hidden-as-values"),
		"b/kustomization.yaml":      "resources: [a.yaml]\n",
		"c/kustomization.yaml":      "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n",
		"c/gitgate.yaml":            "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\n",
		"chart/Chart.yaml":          "apiVersion: v2\nname: c\nversion: 1.0.0\n",
		"chart/templates/web.yaml":  "kind: {{ .Values.kind }}\n",
		"chart/templates/cm.yaml":   cm("plain"),
		"chart/templates/sly.yaml":  "# {{ hidden }}\n" + cm("sly"),
		"d/templates/template.yaml": "kind: {{ .Values.kind }}\n",
		"d/.hidden.yaml":            cm("h"),
		"d/.twice.yaml":             "kind: ConfigMap\nkind: ConfigMap\napiVersion: v1\n",
		"d/.separator.yaml":         "--- {apiVersion: v1, kind: ConfigMap, metadata: {name: bad}}\n",
		"d/.pre-commit-config.yaml": "repos: []\n",
		"d/.large.json":             "[" + strings.Repeat(`"a", `, smallFile) + "1]",
		"d/.large.yaml":             strings.Repeat("---\na: 1\n", smallFile/8) + "---\n" + cm("bad-large"),
		".vscode/settings.json":     "{\n  // of an editor\n  \"a\": [1 2\n}\n",
		".folder/.deep/bad.yaml":    cm("bad-deep"),
		".git/config.yaml":          cm("g"),
		"policies/p.yaml":           cm("p"),
		"utf16.yaml":                "a\x00p\x00i\x00V\x00",
	})
	lines, sum, err := check(t, dir, Options{Paths: []string{"."}, Exclude: []Exclusion{{filepath.FromSlash(dir + "/policies"), "policies of the gate"}}})
	if err != nil {
		t.Fatal(err)
	}
	const noManifest = "deny manifest/not-a-manifest"
	lines = slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "d/.large.yaml:") && strings.Contains(line, noManifest) && !strings.HasPrefix(line, "d/.large.yaml:2 ")
	})
	wantLines(t, lines, []string{
		".folder/.deep/bad.yaml:1 deny no-bad/ 4:9 it is bad",
		"a/broken.yaml:1 deny manifest/syntax 1:5 a key with a value stands where only a value can, expected a new line or quotes",
		"a/list.yaml:1 deny manifest/not-a-manifest 1:1 document is a list, expected a Kubernetes object with apiVersion and kind",
		"b/values.yaml:1 allow",
		"chart/templates/cm.yaml:1 allow",
		"chart/templates/sly.yaml:2 allow",
		"d/.hidden.yaml:1 allow",
		"d/.large.yaml:2 deny manifest/not-a-manifest 2:1 document has no apiVersion and no kind, expected a Kubernetes object",
		"d/.large.yaml:65538 deny no-bad/ 65541:9 it is bad",
		"d/.separator.yaml:1 deny manifest/syntax 1:4 document separator has text after it, which kubectl refuses",
		`d/.twice.yaml:2 deny manifest/duplicate-key 2:1 key "kind" is written twice, first at line 1; expected once`,
		"d/.twice.yaml:1 allow",
		"d/templates/template.yaml:1 deny manifest/syntax 1:7 text is no YAML and looks like a Helm or Go template, expected a rendered manifest",
		"utf16.yaml:1 deny manifest/encoding 1:1 text is UTF-16 or UTF-32, expected UTF-8",
	})
	want := []Skipped{
		{".vscode/settings.json", hiddenReason},
		{"a/empty.yaml", "it holds no object"},
		{"a/values.yaml", "Helm chart or values: check what the chart renders: helm template . | gitgate check -"},
		{"b/kustomization.yaml", "kustomization: check what it builds: kustomize build . | gitgate check -"},
		{"c/gitgate.yaml", "gitgate's own configuration"},
		{"c/kustomization.yaml", "kustomization: check what it builds: kustomize build . | gitgate check -"},
		{"chart/Chart.yaml", "Helm chart or values: check what the chart renders: helm template . | gitgate check -"},
		{"chart/templates/web.yaml", "Helm template: check what the chart renders"},
		{"d/.large.json", hiddenReason},
		{"d/.pre-commit-config.yaml", hiddenReason},
		{"policies", "policies of the gate"},
	}
	if !reflect.DeepEqual(sum.Skipped, want) {
		t.Errorf("skipped %+v\nwant %+v", sum.Skipped, want)
	}
}

func TestSymbolicLinksAreFollowedInsideTheFolderOnly(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"repo/a/x.yaml":           cm("x"),
		"repo/b/again.yaml":       "-> ../a/x.yaml",
		"repo/b/folder":           "-> ../a",
		"repo/b/up":               "-> ..",
		"repo/b/self.yaml":        "-> self.yaml",
		"repo/b/nowhere.yaml":     "-> gone.yaml",
		"repo/b/out.yaml":         "-> ../../out.yaml",
		"repo/b/outfolder":        "-> ../../other",
		"repo/c/..data":           "-> ..2026",
		"repo/c/..2026/real.yaml": cm("real"),
		"repo/c/real.yaml":        "-> ..data/real.yaml",
		"repo/c/text.yaml":        "-> text.txt",
		"repo/c/text.txt":         cm("text"),
		"out.yaml":                cm("out"),
		"other/o.yaml":            cm("o"),
	})
	lines, sum, err := check(t, dir, Options{Paths: []string{"repo"}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{
		"repo/a/x.yaml:1 allow",
		"repo/b/nowhere.yaml:0 unsure repo/b/nowhere.yaml: file cannot be read: symbolic link leads nowhere, expected a file",
		"repo/b/out.yaml:0 unsure repo/b/out.yaml: file cannot be read: symbolic link leads out of the folder that is checked, expected a target inside it",
		"repo/b/outfolder:0 unsure repo/b/outfolder: file cannot be read: symbolic link leads out of the folder that is checked, expected a target inside it",
		"repo/b/self.yaml:0 unsure repo/b/self.yaml: file cannot be read: symbolic link cannot be followed, perhaps because it leads in a circle: EvalSymlinks: too many links",
		"repo/c/..2026/real.yaml:1 allow",
		"repo/c/text.yaml:1 allow",
	})
	want := []Skipped{
		{"repo/b/again.yaml", "symbolic link to a file that is checked itself"},
		{"repo/b/folder", "symbolic link to a folder that is checked itself"},
		{"repo/b/up", "symbolic link to a folder that is checked itself"},
		{"repo/c/..data", "symbolic link to a folder that is checked itself"},
		{"repo/c/real.yaml", "symbolic link to a file that is checked itself"},
	}
	if !reflect.DeepEqual(sum.Skipped, want) {
		t.Errorf("skipped %+v\nwant %+v", sum.Skipped, want)
	}
	lines, _, err = check(t, dir, Options{Paths: []string{"repo/b/out.yaml", "repo/b/again.yaml", "repo/a/x.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{"repo/b/again.yaml:1 allow", "repo/b/out.yaml:1 allow"})
}

func TestSpecialFilesAreRefusedWithoutBeingOpened(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a/x.yaml": cm("x")})
	if err := syscall.Mkfifo(filepath.Join(dir, "a", "pipe.yaml"), 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	for _, path := range []string{"a", "a/pipe.yaml"} {
		lines, _, err := check(t, dir, Options{Paths: []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		if want := "a/pipe.yaml:0 unsure a/pipe.yaml: file cannot be read: it is a named pipe, expected a regular file"; lines[0] != want {
			t.Errorf("got %q, want %q", lines[0], want)
		}
	}
}

func TestWrongPathsAreErrorsOfUsage(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a/x.yaml": cm("x"), "empty/.keep": ""})
	var usage *UsageError
	if _, _, err := check(t, dir, Options{Paths: []string{"a", "gone", "missing.yaml"}}); !errors.As(err, &usage) || !strings.Contains(err.Error(), "gone does not exist") || !strings.Contains(err.Error(), "missing.yaml does not exist") {
		t.Errorf("missing paths: %v", err)
	}
	if _, _, err := check(t, dir, Options{Paths: []string{"-", "-"}, Stdin: strings.NewReader("")}); !errors.As(err, &usage) {
		t.Errorf("stdin twice: %v", err)
	}
	for _, paths := range [][]string{{"empty"}, {"-"}, nil} {
		if _, _, err := check(t, dir, Options{Paths: paths, Stdin: strings.NewReader("# nothing\n")}); !errors.Is(err, ErrNothing) {
			t.Errorf("%v: got %v, want ErrNothing", paths, err)
		}
		if paths != nil {
			paths = []string{filepath.Base(paths[0])}
		}
		if _, _, err := check(t, dir, Options{Paths: paths, Stdin: strings.NewReader(""), AllowEmpty: true}); err != nil {
			t.Errorf("%v: got %v, want nothing with AllowEmpty", paths, err)
		}
	}
}

func TestChangesKnowTheirNamespaceAndTheirSet(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"a.yaml": "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g, namespace: shop}\n---\n" + cm("x"),
		"b.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {a: b}}\n---\napiVersion: example.com/v1\nkind: Body\nmetadata: {name: u}\n",
		"z.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.com}\nspec: {names: {kind: Gadget}}\n",
	})
	var said []string
	p := &policies.Policy{Name: "p", Refers: []policies.GroupKind{{Kind: "ConfigMap"}}, Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
		labels := ""
		if c.Holder != nil {
			labels = fmt.Sprint(c.Holder.Map()["metadata"])
		}
		return policies.Finding{Violations: []policies.Violation{{Message: fmt.Sprintf("%s %s %s ns=%q namespaced=%v knows=%v %s refers=%d",
			c.Operation, c.Object, c.Resource.Resource, c.Namespace, c.Namespaced, c.Knows.Has(policies.KnowsNamespace), labels, len(c.Set.Of(policies.GroupKind{Kind: "ConfigMap"})))}}}, nil
	}}
	_, err := Run(t.Context(), Options{Paths: []string{dir}, Engine: engine(t, p), Rules: rules{}}, func(d policies.Decision) error {
		said = append(said, d.Results[0].Finding.Violations[0].Message)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, said, []string{
		`CREATE Gadget shop/g gadgets ns="shop" namespaced=true knows=true map[labels:map[a:b] name:shop] refers=1`,
		`CREATE ConfigMap x configmaps ns="default" namespaced=true knows=false  refers=1`,
		`CREATE Namespace shop namespaces ns="" namespaced=false knows=true  refers=1`,
		`CREATE Body u bodies ns="" namespaced=false knows=true  refers=1`,
		`CREATE CustomResourceDefinition gadgets.example.com customresourcedefinitions ns="" namespaced=false knows=true  refers=1`,
	})
}

func TestKnownObjectsAreInTheSetUnlessAPathHoldsThem(t *testing.T) {
	crd := func(name, from string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " + name + ", labels: {from: " + from + "}}\n"
	}
	known, problems := manifest.Decode("known.yaml", []byte(crd("a", "known")+"---\n"+crd("b", "known")+"---\n"+cm("c")), manifest.DefaultLimits())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	dir := tree(t, map[string]string{"a.yaml": crd("a", "path"), "c.yaml": cm("d")})
	var mu sync.Mutex
	seen := map[string]bool{}
	spy := &policies.Policy{Name: "spy", Refers: []policies.GroupKind{definitions}, Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
		mu.Lock()
		defer mu.Unlock()
		for o := range c.Set.All() {
			from, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "labels", "from"})
			seen[fmt.Sprintf("%s from %v", o.Name, from)] = true
		}
		return policies.Finding{}, nil
	}}
	lines, _, err := check(t, dir, Options{Paths: []string{"."}, Engine: engine(t, spy), Known: known})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{"a.yaml:1 allow", "c.yaml:1 allow"})
	if want := map[string]bool{"a from path": true, "b from known": true}; !reflect.DeepEqual(seen, want) {
		t.Errorf("the set held %v, want %v", seen, want)
	}
}

func TestAPathThatIsExcludedIsNotedAndNotJudged(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a.yaml": cm("a"), "data.yaml": "teams: [a]\n"})
	lines, sum, err := check(t, dir, Options{
		Paths: []string{"a.yaml", "data.yaml"}, Exclude: []Exclusion{{filepath.FromSlash(dir + "/data.yaml"), "data of a policy"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{"a.yaml:1 allow"})
	if want := []Skipped{{"data.yaml", "data of a policy"}}; !reflect.DeepEqual(sum.Skipped, want) {
		t.Errorf("skipped %v, want %v", sum.Skipped, want)
	}
}

func TestRunDoesNotWaitForStandardInputThatIsIdle(t *testing.T) {
	t.Parallel()
	idle, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = w.Write([]byte("kind: "))
		cancel()
	}()
	_, err := Run(ctx, Options{Paths: []string{"-"}, Stdin: idle, Engine: engine(t), Rules: rules{}}, func(policies.Decision) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that the context has ended", err)
	}
}

func TestRunStopsEarlyWhenAsked(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 500 {
		files[fmt.Sprintf("%03d.yaml", i)] = cm(fmt.Sprintf("x%d", i))
	}
	files["007.yaml"] = cm("bad")
	dir := tree(t, files)
	lines, sum, err := check(t, dir, Options{Paths: []string{"."}, FailFast: policies.Denied})
	if err != nil || len(lines) != 8 || !sum.Stopped {
		t.Errorf("fail-fast: %d decisions, %+v, %v", len(lines), sum, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	_, err = Run(ctx, Options{Paths: []string{dir}, Engine: engine(t), Rules: rules{}}, func(policies.Decision) error {
		if n++; n == 20 {
			cancel(errors.New("enough"))
		}
		return nil
	})
	if err == nil || err.Error() != "enough" || n != 20 {
		t.Errorf("cancel: %d decisions, %v", n, err)
	}
	broken := errors.New("disk is full")
	if _, err = Run(t.Context(), Options{Paths: []string{dir}, Engine: engine(t), Rules: rules{}}, func(policies.Decision) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("sink's error: %v", err)
	}
}

func TestLargeStreamsAreJudgedInOrder(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	const n = 20000
	for i := range n {
		if i%5000 == 17 {
			text.WriteString("a: [\n---\n")
		}
		fmt.Fprintf(&text, "%s---\n", cm(fmt.Sprintf("x%d", i)))
	}
	text.WriteString(cm("x3"))
	dir := tree(t, map[string]string{"a.yaml": text.String()})
	for _, o := range []Options{{Paths: []string{"a.yaml"}}, {Paths: []string{"-"}, Stdin: io.MultiReader(&text)}} {
		lines, sum, err := check(t, dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if sum.Objects != n+1 || sum.Malformed != 4 || sum.Duplicates != 1 || len(lines) != n+5 || !strings.Contains(lines[n+4], "x3 is declared twice") {
			t.Errorf("%d lines, summary %+v, last %s", len(lines), sum, lines[len(lines)-1])
		}
		last := 0
		for _, line := range lines {
			var at int
			if _, err := fmt.Sscanf(line[strings.IndexByte(line, ':')+1:], "%d", &at); err != nil || at <= last {
				t.Fatalf("%q comes after line %d", line, last)
			}
			last = at
		}
	}
}

func TestADocumentBeyondTheLimitIsToldAndPassed(t *testing.T) {
	t.Parallel()
	big := io.MultiReader(strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata:\n  x: \""), io.LimitReader(zeros{}, 100<<20), strings.NewReader("\"\n---\n"+cm("bad-after")))
	lines, _, err := check(t, ".", Options{Paths: []string{"-"}, Stdin: big, Limits: manifest.Limits{Document: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines, []string{
		"stdin:1 deny manifest/too-large 1:1 document is larger than 1 MiB, expected less",
		"stdin:7 deny no-bad/ 10:9 it is bad",
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// What the first pass does not see, no referring policy sees: however a kind is written, it is found.
func TestAKindThatIsWrittenInAnotherWayIsKept(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{
		"a binary tag":                   `!!binary TmFtZXNwYWNl`,
		"a binary tag with an escape":    `!!bin%61ry TmFtZXNwYWNl`,
		"a verbatim tag with an escape":  `!<tag:yaml.org,2002:bin%61ry> TmFtZXNwYWNl`,
		"an escaped letter":              `"N\x61mespace"`,
		"an escaped line break":          "\"Name\\\n  space\"",
		"an escaped next line":           "\"Name\\\u0085  space\"",
		"an escaped line separator":      "\"Name\\\u2028  space\"",
		"an escaped paragraph separator": "\"Name\\\u2029  space\"",
	} {
		dir := tree(t, map[string]string{"a.yaml": "apiVersion: v1\nmetadata: {name: prod}\nkind: " + kind + "\n"})
		held := 0
		p := &policies.Policy{Name: "p", Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
			held = len(c.Set.Of(namespaces))
			return policies.Finding{}, nil
		}}
		lines, _, err := check(t, dir, Options{Paths: []string{"."}, Engine: engine(t, p)})
		if err != nil || held != 1 {
			t.Errorf("%s: the set holds %d namespaces: %s, %v", name, held, lines, err)
		}
	}
}
