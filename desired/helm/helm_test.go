package helm_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	valuesutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

func view(t testing.TB, files map[string]string) *tree.View {
	t.Helper()
	r := gitserver.NewRepo(t)
	return at(t, r, r.Commit("files", files))
}

func at(t testing.TB, r *gitserver.Repo, commit string) *tree.View {
	t.Helper()
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	loaded, err := tree.Load(t.Context(), repo, git.Hash(commit))
	if err != nil {
		t.Fatal(err)
	}
	return loaded.View()
}

var release = helm.Release{Name: "web", Namespace: "shop", Cluster: helm.Cluster{Kubernetes: "1.36"}}

func render(t testing.TB, files map[string]string, r helm.Release) (*helm.Result, error) {
	t.Helper()
	return renderAt(t, view(t, files), "chart", r)
}

func renderAt(t testing.TB, v *tree.View, folder string, r helm.Release) (*helm.Result, error) {
	t.Helper()
	c, err := helm.Load(t.Context(), v, folder)
	if err != nil {
		return nil, err
	}
	return c.Render(t.Context(), r)
}

// shelf is a revision with many charts, the chart of a name below a folder of its number: a repository each would take long.
func shelf(t testing.TB, charts []map[string]string) func(i int) (*tree.View, string) {
	t.Helper()
	all := map[string]string{}
	for i, c := range charts {
		for name, text := range c {
			all[fmt.Sprintf("n%d/%s", i, name)] = text
		}
	}
	r := gitserver.NewRepo(t)
	commit := r.Commit("charts", all)
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	loaded, err := tree.Load(t.Context(), repo, git.Hash(commit))
	if err != nil {
		t.Fatal(err)
	}
	return func(i int) (*tree.View, string) { return loaded.View(), fmt.Sprintf("n%d/chart", i) }
}

// chart is a chart with the given files, and what every chart has.
func chart(files map[string]string) map[string]string {
	out := map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: \"4.5\"\n"}
	for name, text := range files {
		out["chart/"+name] = text
	}
	return out
}

// byName gives the objects as JSON, by kind and name.
func byName(t testing.TB, objects []helm.Object) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, o := range objects {
		text, err := json.Marshal(o.Content)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := policies.Lookup(o.Content, policies.Path{"metadata", "name"})
		out[fmt.Sprintf("%v %v", o.Content["kind"], name)] = string(text)
	}
	return out
}

// oracle renders with Helm's own engine.
func oracle(t testing.TB, chart map[string]string, r helm.Release) map[string]string {
	t.Helper()
	var files []*archive.BufferedFile
	for name, text := range chart {
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(name, "chart/"), Data: []byte(text)})
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(r.Values)
	values := map[string]any{}
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		t.Fatal(err)
	}
	caps := common.DefaultCapabilities.Copy()
	kube, _ := common.ParseKubeVersion("v1.36.0")
	caps.KubeVersion, caps.APIVersions = *kube, append(caps.APIVersions, r.Cluster.APIVersions...)
	merged, err := valuesutil.ToRenderValues(c, values, common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: 1, IsInstall: true}, caps)
	if err != nil {
		t.Fatal(err)
	}
	written, err := engine.Render(c, merged)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(written, func(name, _ string) bool { return strings.HasSuffix(name, "NOTES.txt") })
	hooks, manifests, err := releaseutil.SortManifests(written, nil, releaseutil.InstallOrder)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	add := func(text string) {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(text), &content); err != nil {
			t.Fatal(err)
		}
		if content == nil {
			return
		}
		name, _ := policies.Lookup(content, policies.Path{"metadata", "name"})
		text2, _ := json.Marshal(content)
		out[fmt.Sprintf("%v %v", content["kind"], name)] = string(text2)
	}
	for _, m := range manifests {
		add(m.Content)
	}
	for _, h := range hooks {
		add(h.Manifest)
	}
	return out
}

// folder reads the chart of testdata.
func folder(t testing.TB, name string) map[string]string {
	t.Helper()
	return chartAt(t, filepath.Join("testdata", name))
}

// chartAt reads the chart of a folder.
func chartAt(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		rel, _ := filepath.Rel(root, p)
		out["chart/"+filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// valuesOf reads a file of values.
func valuesOf(t testing.TB, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	values, err := helm.ParseValues(text)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestAChartIsRenderedAsHelmRendersIt(t *testing.T) {
	config := func(data string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n" + data
	}
	values := map[string]any{"replicas": int64(3), "sub": map[string]any{"size": "large"}, "global": map[string]any{"region": "eu"}, "big": int64(12345678)}
	tagged := map[string]any{"image": map[string]any{"tag": "1.9.3"}}
	cases := []struct {
		name   string
		chart  map[string]string
		values map[string]any
		apis   []string
	}{
		{"a whole chart", folder(t, "shop"), values, nil},
		{"its defaults", folder(t, "shop"), nil, nil},
		{"a dependency is turned off by its condition", folder(t, "shop"), map[string]any{"cache": map[string]any{"enabled": false}}, nil},
		{"a dependency is turned off by a tag", folder(t, "shop"), map[string]any{"tags": map[string]any{"extra": false}}, nil},
		{"a value is taken away by null", folder(t, "shop"), map[string]any{"labels": nil, "image": map[string]any{"tag": nil}}, nil},
		{"an API that the cluster serves", folder(t, "shop"), nil, []string{"monitoring.coreos.com/v1"}},
		{"the chart of the examples", chartAt(t, "../../examples/argocd-fleet/charts/service"), helm.MergeValues(valuesOf(t, "../../examples/argocd-fleet/environments/prod/payments.values.yaml"), tagged), nil},
		{"that of the other example", chartAt(t, "../../examples/flux-fleet/charts/service"), tagged, nil},
		{"gitgate's own chart", chartAt(t, "../../charts/gitgate"), map[string]any{"git": map[string]any{"repository": "https://git.example.com/platform/fleet.git"}}, nil},
		{"large numbers", chart(map[string]string{"templates/a.yaml": config("  n: \"{{ .Values.big }} {{ .Values.big | int64 }} {{ 1.5 }}\"\n")}), values, nil},
		{"a version with an address", chart(map[string]string{"templates/a.yaml": config("  k: {{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.Minor }}\n")}), nil, nil},
		{"values that are not there", chart(map[string]string{"templates/a.yaml": config("  k: \"[{{ .Values.none }}] {{ .Values.none | quote }} {{ print .Values.none }}\"\n")}), nil, nil},
		{"tpl, include, define and template", chart(map[string]string{
			"templates/_h.tpl": "{{ define \"a\" }}x: {{ .x }}{{ end }}{{ define \"empty\" }}{{ end }}",
			"templates/a.yaml": config("{{ include \"a\" (dict \"x\" 1) | indent 2 }}\n  z{{ template \"a\" (dict \"x\" 2) }}\n  y: {{ tpl \"{{ include \\\"a\\\" . }}{{ define \\\"b\\\" }}b{{ end }}{{ include \\\"b\\\" . }}\" (dict \"x\" 3) | quote }}\n"),
		}), nil, nil},
		{"trimmed blanks and comments", chart(map[string]string{"templates/a.yaml": config("{{- /* c */ -}}\n{{- range $i, $e := list 1 2 }}\n  k{{ $i }}: {{ $e | quote }}\n{{- end }}\n{{- if false }}\n  no: no\n{{- else if true }}\n  yes: \"yes\"\n{{- end }}\n{{- with .Values.big }}\n  w: {{ . | quote }}\n{{- end }}\n")}), values, nil},
		{"break and continue", chart(map[string]string{"templates/a.yaml": config("{{- range until 9 }}\n{{- if eq . 2 }}{{ continue }}{{ end }}\n{{- if eq . 4 }}{{ break }}{{ end }}\n  k{{ . }}: v\n{{- end }}\n")}), nil, nil},
		{"a document that begins on the line of its separator", chart(map[string]string{"templates/a.yaml": "---apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---   \napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n# nothing\n"}), nil, nil},
		{"files", chart(map[string]string{"files/a.txt": "A\nB\n", "files/b.txt": "B", "templates/a.yaml": config("{{ (.Files.Glob \"files/*\").AsConfig | indent 2 }}\n  c: {{ .Files.Get \"files/a.txt\" | quote }}\n  l: {{ .Files.Lines \"files/a.txt\" | join \",\" }}\n  s: {{ (.Files.Glob \"**.txt\").AsSecrets | b64enc }}\n{{ range $p, $_ := .Files.Glob \"files/*\" }}  {{ base $p }}x: {{ $.Files.Get $p | quote }}\n{{ end }}")}), nil, nil},
		{"conversions", chart(map[string]string{"templates/a.yaml": config("  y: {{ toYaml .Values | quote }}\n  j: {{ toJson .Values | quote }}\n  t: {{ toToml .Values | quote }}\n  p: {{ toYamlPretty .Values | quote }}\n  f: {{ (fromYaml \"a: {b: 1}\").a.b | quote }}\n  e: {{ (fromYaml \"a: b: c\").Error | quote }}\n  a: {{ fromYamlArray \"[1, 2]\" | join \"-\" | quote }}\n  g: {{ (fromJson \"{}\") | quote }}\n")}), values, nil},
		{"sprig", chart(map[string]string{"templates/a.yaml": config("  a: {{ list 3 1 2 | sortAlpha | join \",\" }}\n  b: {{ \"hello world\" | title | replace \" \" \"-\" | trunc 7 }}\n  c: {{ dict \"a\" 1 \"b\" (list 1 2) | toJson | quote }}\n  d: {{ regexReplaceAll \"a(b+)\" \"abb ab\" \"${1}x\" }}\n  e: {{ semverCompare \">=1.2\" \"1.3.0\" }}\n  f: {{ untilStep 1 9 3 | join \"/\" }}\n  g: {{ printf \"%05d|%-4s|%v\" 12 \"a\" (list 1 2) | quote }}\n  h: {{ merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3) | toJson | quote }}\n  i: {{ sha256sum \"x\" }}\n  j: {{ date \"2006\" (toDate \"2006-01-02\" \"2020-05-06\") | quote }}\n  k: {{ seq 1 2 7 }}\n  l: {{ \"a\" | repeat 3 }}\n  m: {{ list 1 1 2 | uniq | len }}\n  n: {{ getHostByName \"localhost\" | quote }}\n  o: {{ dig \"a\" \"b\" \"d\" (dict \"a\" (dict \"b\" \"c\")) }}\n")}), nil, nil},
		{"a value that contains itself is handed around", chart(map[string]string{"templates/a.yaml": "{{ $_ := set . \"self\" (dict \"root\" .) }}" + config("  a: {{ .self.root.Release.Name }}\n")}), nil, nil},
	}
	var charts []map[string]string
	for _, c := range cases {
		charts = append(charts, c.chart)
	}
	get := shelf(t, charts)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := release
			r.Values, r.Cluster.APIVersions = c.values, c.apis
			v, folder := get(i)
			result, err := renderAt(t, v, folder, r)
			if err != nil {
				t.Fatal(err)
			}
			got, want := byName(t, result.Objects), oracle(t, c.chart, r)
			if !maps.Equal(got, want) {
				for _, name := range slices.Sorted(maps.Keys(want)) {
					if got[name] != want[name] {
						t.Errorf("%s:\n got %s\nwant %s", name, got[name], want[name])
					}
				}
				t.Errorf("got %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		})
	}
}
