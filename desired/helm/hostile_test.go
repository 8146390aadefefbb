package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"

func TestWhatIsWrongWithAChartIsToldAtItsPlace(t *testing.T) {
	template := func(text string) map[string]string { return chart(map[string]string{"templates/a.yaml": text}) }
	cases := []struct {
		name  string
		chart map[string]string
		want  string
	}{
		{"no Chart.yaml", map[string]string{"chart/templates/a.yaml": cm}, "chart: folder is no chart"},
		{"a Chart.yaml that is no YAML", map[string]string{"chart/Chart.yaml": "name: a\n b: c\n"}, "chart/Chart.yaml:2: chart cannot be read"},
		{"values that are no YAML", chart(map[string]string{"values.yaml": "a: 1\nb: [\n"}), "chart/values.yaml:"},
		{"a template that cannot be parsed", template("kind: A\nb: {{ if }}\n"), "chart/templates/a.yaml:2:"},
		{"an unknown function", template("{{ nonesuch }}"), "function \"nonesuch\" not defined"},
		{"env", template("{{ env \"HOME\" }}"), "function \"env\" not defined"},
		{"a function of ours", template("{{ _leave 1000 }}"), "function \"_leave\" not defined"},
		{"fail", template("a: b\n{{ fail \"no such region\" }}"), "chart/templates/a.yaml:2:4: template cannot be executed: no such region"},
		{"required", template("a: {{ required \"host is needed\" .Values.host }}"), "chart/templates/a.yaml:1:7: template cannot be executed: error calling required: host is needed"},
		{"nil pointer", template("a: 1\nb: {{ .Values.a.b }}"), "chart/templates/a.yaml:2:14: template cannot be executed: nil pointer evaluating interface {}.b"},
		{"output that is no YAML", template("apiVersion: v1\nkind: A\nmetadata:\n  name: {{ \"a: b\" }}\n"), "chart/templates/a.yaml:4:"},
		{"output that is no manifest", template("a: b\n"), "chart/templates/a.yaml:1:1: what the template writes is no manifest"},
		{"a chart for another Kubernetes", map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\nkubeVersion: \"<1.20\"\n"}, "chart/Chart.yaml:4:1: chart wants Kubernetes <1.20"},
		{"a library", map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\ntype: library\n"}, "chart/Chart.yaml:4:1: chart is of type library"},
		{"values that the schema lacks or does not know", chart(map[string]string{"values.yaml": "a: {c: secret-value, d: e}\n", "values.schema.json": `{"properties": {"a": {"required": ["b"], "additionalProperties": false, "properties": {"d": {"enum": ["f", "g"]}}}}}`}), "chart/values.schema.json: values of chart shop: they break the schema: a.d: expected one of [f g]; a: has c, which the schema does not know; a: lacks b"},
		{"values that break the schema", chart(map[string]string{"values.yaml": "a: {b: secret-value}\n", "values.schema.json": `{"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}`}), "chart/values.schema.json: values of chart shop: they break the schema: a.b: is of type string, expected integer"},
		{"a schema that is none", chart(map[string]string{"values.schema.json": `{"type": 3}`}), "chart/values.schema.json: values of chart shop: schema cannot be compiled"},
	}
	var charts []map[string]string
	for _, c := range cases {
		charts = append(charts, c.chart)
	}
	get := shelf(t, charts)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v, folder := get(i)
			_, err := renderAt(t, v, folder, release)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret-value") {
				t.Errorf("the error tells a value: %v", err)
			}
			var opaque *kustomize.OpaqueError
			if errors.As(err, &opaque) {
				t.Errorf("a broken chart is opaque: %v", err)
			}
		})
	}
}

func TestWhatARevisionAloneDoesNotSayIsOpaque(t *testing.T) {
	cases := []struct {
		name  string
		chart map[string]string
		want  string
	}{
		{"a dependency that is not in charts/", map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies:\n  - {name: redis, version: 1.x, repository: \"https://charts.example.com\"}\n"}, "chart/Chart.yaml:4:1: chart redis of https://charts.example.com: it is not in charts/"},
		{"a chart of apiVersion v3", map[string]string{"chart/Chart.yaml": "apiVersion: v3\nname: a\nversion: 1.0.0\n"}, "chart of apiVersion v3"},
		{"a schema of another machine", chart(map[string]string{"values.schema.json": `{"$ref": "http://127.0.0.1:1/a.json"}`}), "schema of the values"},
		{"a schema of this machine", chart(map[string]string{"values.schema.json": `{"$ref": "file:///etc/passwd"}`}), "schema of the values"},
	}
	var charts []map[string]string
	for _, c := range cases {
		charts = append(charts, c.chart)
	}
	get := shelf(t, charts)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v, folder := get(i)
			_, err := renderAt(t, v, folder, release)
			var opaque *kustomize.OpaqueError
			if !errors.As(err, &opaque) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want an opaque one with %q", err, c.want)
			}
		})
	}
}

func TestFieldsOfChanceTimeAndStateAreOpaque(t *testing.T) {
	data := func(value string) map[string]string {
		return chart(map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  fix: b\n  a: " + value + "\n"})
	}
	cases := []struct {
		name  string
		chart map[string]string
		live  bool
		want  string // the opaque fields, and what is told
	}{
		{"nothing", data("x"), true, "[] []"},
		{"letters", data("{{ randAlphaNum 8 }}"), false, "[data.a] [randAlphaNum]"},
		{"a password of a cluster's secret, or a new one", data("{{ (lookup \"v1\" \"Secret\" \"shop\" \"p\").data | default (randAlpha 9) }}"), true, "[data.a] [randAlpha lookup]"},
		{"lookup in helm template", data("{{ lookup \"v1\" \"Secret\" \"shop\" \"p\" | toJson | quote }}"), false, "[] []"},
		{"a certificate", data("{{ $ca := genCA \"a\" 9 }}{{ (genSignedCert \"b\" nil nil 9 $ca).Cert | b64enc }}"), false, "[data.a] [genCA genSignedCert]"},
		{"the time", data("{{ now | date \"2006\" | quote }}"), false, "[data.a] [now]"},
		{"a time that is given", data("{{ toDate \"2006\" \"2020\" | date \"2006\" | quote }}"), false, "[] []"},
		{"a uuid", data("{{ uuidv4 }}"), false, "[data.a] [uuidv4]"},
		{"a hash with salt", data("{{ htpasswd \"a\" \"b\" | quote }}"), false, "[data.a] [htpasswd]"},
		{"chance that is not used", data("{{ $_ := randAlpha 3 }}x"), false, "[] [randAlpha]"},
		{"the revision of a live release", data("{{ .Release.Revision | quote }}"), true, "[data.a] []"},
		{"the revision in helm template", data("{{ .Release.Revision | quote }}"), false, "[] []"},
		{"a field of upgrades only", data("b\n{{ if .Release.IsUpgrade }}  u: v\n{{ end }}"), true, "[data.u] []"},
	}
	var charts []map[string]string
	for _, c := range cases {
		charts = append(charts, c.chart)
	}
	get := shelf(t, charts)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := release
			r.Live = c.live
			v, folder := get(i)
			result, err := renderAt(t, v, folder, r)
			if err != nil {
				t.Fatal(err)
			}
			var fields, told []string
			for _, p := range result.Objects[0].Opaque {
				fields = append(fields, p.String())
			}
			for _, o := range result.Opaque {
				told = append(told, strings.Fields(o.What)[1])
			}
			if got := fmt.Sprint(fields, " ", told); got != strings.Replace(c.want, "] [", "]   [", 1) && got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAFieldIsFoundInItsTemplate(t *testing.T) {
	files := folder(t, "shop")
	files["chart/templates/two.yaml"] = "{{- define \"in\" }}\nkind: Secret{{ end -}}\n# first\n---apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n---\n{{- range list \"xx\" \"yy\" }}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ . }}\ndata: {k: \"{{ . }}\", l: w}\n---\n{{- end }}\n"
	r := release
	r.CRDs = true
	result, err := render(t, files, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ object, field, want string }{
		{"Deployment web-shop", "spec.replicas", "chart/templates/deployment.yaml:8:16"},
		{"Deployment web-shop", "spec.template.spec.containers[0].ports[0].containerPort", "chart/templates/deployment.yaml:23:30"},
		{"Deployment web-shop", "metadata.labels[team]", "chart/templates/deployment.yaml:6:9"},
		{"Deployment web-shop", "kind", "chart/templates/deployment.yaml:2:7"},
		{"ConfigMap web-sub", "data.size", "chart/charts/cache/templates/cm.yaml:6:12"},
		{"ConfigMap one", "metadata.name", "chart/templates/two.yaml:7:9"},
		{"ConfigMap one", "apiVersion", "chart/templates/two.yaml:4:16"},
		{"ConfigMap yy", "kind", "chart/templates/two.yaml:11:7"},
		{"ConfigMap yy", "data.l", "chart/templates/two.yaml:14:25"},
		{"CustomResourceDefinition widgets.example.com", "spec.group", "chart/crds/widget.yaml:6:10"},
	} {
		t.Run(c.object+" "+c.field, func(t *testing.T) {
			for _, o := range result.Objects {
				name, _ := policies.Lookup(o.Content, policies.Path{"metadata", "name"})
				if fmt.Sprintf("%v %v", o.Content["kind"], name) != c.object {
					continue
				}
				pos, _ := o.Source.Locate(policies.ParsePath(c.field), policies.AtValue)
				if got := fmt.Sprintf("%s:%d:%d", pos.File, pos.Line, pos.Column); got != c.want {
					t.Errorf("got %s (%s), want %s", got, pos.Text, c.want)
				}
				return
			}
			t.Fatal("no such object")
		})
	}
	hooks := map[string][]string{}
	for _, o := range result.Objects {
		if len(o.Hooks) > 0 {
			hooks[o.Content["kind"].(string)] = o.Hooks
		}
	}
	if fmt.Sprint(hooks) != "map[Job:[pre-install pre-upgrade] Pod:[test]]" {
		t.Errorf("hooks %v", hooks)
	}
}

type entry struct {
	name, text string
	kind       byte
	link       string
}

// tgz makes an archive.
func tgz(t testing.TB, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.text)), Typeflag: tar.TypeReg}
		if e.kind != 0 {
			h.Typeflag, h.Linkname, h.Size = e.kind, e.link, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Close()
	z.Close()
	return b.String()
}

func TestADependencyInAnArchiveIsRendered(t *testing.T) {
	inner := tgz(t, entry{name: "leaf/Chart.yaml", text: "apiVersion: v2\nname: leaf\nversion: 1.0.0\n"}, entry{name: "leaf/templates/a.yaml", text: strings.ReplaceAll(cm, "c}", "leaf}")})
	outer := tgz(t, entry{name: "dep/Chart.yaml", text: "apiVersion: v2\nname: dep\nversion: 1.0.0\n"},
		entry{name: "dep/charts/leaf-1.0.0.tgz", text: inner}, entry{name: "dep/templates/a.yaml", text: strings.ReplaceAll(cm, "c}", "{{ .Values.name }}}")}, entry{name: "dep/values.yaml", text: "name: dep\n"})
	files := chart(map[string]string{"charts/dep-1.0.0.tgz": outer, "values.yaml": "dep: {name: changed}\n"})
	result, err := render(t, files, release)
	if err != nil {
		t.Fatal(err)
	}
	got := byName(t, result.Objects)
	if len(got) != 2 || got["ConfigMap leaf"] == "" || got["ConfigMap changed"] == "" {
		t.Errorf("got %v", got)
	}
	if pos, _ := result.Objects[0].Source.Locate(policies.Path{"kind"}, policies.AtValue); pos.File != "chart/charts/dep-1.0.0.tgz" || pos.Line != 0 {
		t.Errorf("place %v", pos)
	}
}

func TestAHostileArchiveIsRefused(t *testing.T) {
	self := []entry{{name: "a/Chart.yaml", text: "apiVersion: v2\nname: a\nversion: 1.0.0\n"}}
	nested := tgz(t, self...)
	for range 12 {
		nested = tgz(t, append(self, entry{name: "a/charts/a.tgz", text: nested})...)
	}
	var many []entry
	for i := range 11_000 {
		many = append(many, entry{name: fmt.Sprintf("a/f%d", i)})
	}
	zeros := strings.Repeat("\x00", 4<<20)
	var bomb []entry
	for i := range 12 {
		bomb = append(bomb, entry{name: fmt.Sprintf("a/z%d", i), text: zeros})
	}
	cases := []struct{ name, text, want string }{
		{"a path out of it", tgz(t, entry{name: "a/../../x", text: "x"}), "leads out of it"},
		{"an absolute path", tgz(t, entry{name: "/etc/passwd", text: "x"}), "leads out of it"},
		{"a path of Windows", tgz(t, entry{name: "a/c:/x", text: "x"}), "leads out of it"},
		{"a file beside the chart", tgz(t, entry{name: "Chart.yaml", text: "x"}), "not in the chart's folder"},
		{"a symbolic link", tgz(t, entry{name: "a/x", kind: tar.TypeSymlink, link: "/etc/passwd"}), "no file and no folder"},
		{"a hard link", tgz(t, entry{name: "a/x", kind: tar.TypeLink, link: "/etc/passwd"}), "no file and no folder"},
		{"a device", tgz(t, entry{name: "a/x", kind: tar.TypeChar}), "no file and no folder"},
		{"archives in archives", nested, "more than 8 levels"},
		{"many files", tgz(t, many...), "more than 10000"},
		{"a bomb", tgz(t, bomb...), "more than 33554432 bytes"},
		{"a large file", tgz(t, entry{name: "a/x", text: strings.Repeat("x", 6<<20)}), "more than 5242880 bytes"},
		{"no archive", "hello", "cannot be read"},
		{"a cut archive", tgz(t, self...)[:40], "cannot be read"},
		{"nothing", tgz(t), "is empty"},
	}
	var charts []map[string]string
	for _, c := range cases {
		charts = append(charts, chart(map[string]string{"charts/a.tgz": c.text}))
	}
	get := shelf(t, charts)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v, folder := get(i)
			_, err := renderAt(t, v, folder, release)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "chart") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestLinksStayInTheRepository(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write(chart(map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: {{ .Files.Get \"out.txt\" | quote }}, b: {{ .Files.Get \"../other.txt\" | quote }}}\n"}))
	r.Write(map[string]string{"other.txt": "other"})
	for name, target := range map[string]string{"out.txt": "/etc/hostname"} {
		if err := os.Symlink(target, filepath.Join(r.Dir, "chart", name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := helm.Load(t.Context(), at(t, r, r.Commit("a link out", nil)), "chart")
	if err == nil || !strings.Contains(err.Error(), "leads out of the repository") {
		t.Errorf("error %v", err)
	}
	os.Remove(filepath.Join(r.Dir, "chart/out.txt"))
	c, err := helm.Load(t.Context(), at(t, r, r.Commit("none", nil)), "chart")
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Render(t.Context(), release)
	if err != nil {
		t.Fatal(err)
	}
	if got := byName(t, result.Objects)["ConfigMap c"]; !strings.Contains(got, `"a":"","b":""`) {
		t.Errorf("files outside the chart are read: %s", got)
	}
	for _, name := range []string{"x", "y", "z"} {
		if err := os.Symlink(".", filepath.Join(r.Dir, "chart", name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := helm.Load(t.Context(), at(t, r, r.Commit("links to itself", nil)), "chart"); err == nil {
		t.Error("a chart that contains itself is loaded")
	}
}

func TestAHostileTemplateIsStopped(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"an endless loop", "{{ range 1000000000 }}{{ end }}", "more than 3000000 steps"},
		{"loops in loops", "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}", "more than 3000000 steps"},
		{"a long list", "{{ range until 1000000000 }}{{ end }}", "until could write more"},
		{"a long list by steps", "{{ untilStep 0 2000000000 1 | len }}", "untilStep could write more"},
		{"a long sequence", "{{ seq 1 2000000000 }}", "seq could write more"},
		{"a long text", "{{ repeat 1000000000 \"x\" }}", "repeat could write more"},
		{"a text that doubles", "{{ $x := \"xxxxxxxx\" }}{{ range 60 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "templates cost too much"},
		{"a text that doubles by cat", "{{ $x := \"xxxxxxxx\" }}{{ range 60 }}{{ $x = cat $x $x }}{{ end }}", "too large"},
		{"a text that doubles by include", "{{ define \"d\" }}{{ . }}{{ . }}{{ end }}{{ $x := \"xxxxxxxx\" }}{{ range 60 }}{{ $x = include \"d\" $x }}{{ end }}", "too large"},
		{"a text that doubles by join", "{{ $x := \"xxxxxxxx\" }}{{ range 60 }}{{ $x = join \",\" (list $x $x) }}{{ end }}", "too large"},
		{"a replacement that grows", "{{ $x := repeat 1000000 \"x\" }}{{ replace \"x\" $x $x }}", "replace could write more"},
		{"a wide format", "{{ printf \"%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d\" 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 }}", "printf could write more"},
		{"a large indentation", "{{ indent 1000000000 \"x\\ny\" }}", "indent could write more"},
		{"a value that contains itself is written", "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ $d }}", "contains itself"},
		{"a value that contains itself is printed", "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ print $d }}", "contains itself"},
		{"a value that contains itself is encoded", "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ toYamlPretty $d }}", "contains itself"},
		{"a value that contains itself is copied", "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ deepCopy $d | len }}", "contains itself"},
		{"a value that laughs", "{{ $d := dict \"a\" 1 }}{{ range 60 }}{{ $d = dict \"x\" $d \"y\" $d }}{{ end }}{{ toJson $d }}", "too large"},
		{"tpl in tpl", "{{ tpl .Values.t . }}", "nested too deeply"},
		{"include of itself", "{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}", "includes itself more than"},
		{"template of itself", "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}", "nested too deeply"},
		{"includes of each other", "{{ range 200 }}{{ end }}{{ define \"a\" }}{{ include \"b\" . }}{{ end }}{{ define \"b\" }}{{ include \"c\" . }}{{ end }}{{ define \"c\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}", "nested too deeply"},
		{"deep parentheses", "{{ " + strings.Repeat("(", 200_000) + "1" + strings.Repeat(")", 200_000) + " }}", "max expression depth"},
		{"deep conditions", strings.Repeat("{{if 1}}", 60_000) + strings.Repeat("{{end}}", 60_000), "more than 50000 actions"},
		{"a large output", "{{ range 100 }}{{ repeat 1000000 \"x\" }}{{ end }}", "writes more than"},
		{"much memory", "{{ $l := list }}{{ range 2000 }}{{ $l = append $l (repeat 1000000 \"x\") }}{{ end }}", "functions handle more"},
		{"much memory by files", "{{ range 1000000 }}{{ $x := $.Files.AsConfig }}{{ end }}", "functions handle more"},
		{"an expression that takes long", "{{ regexMatch \"((a{1,30}){1,30})x\" (repeat 1000000 \"a\") }}", "regexMatch could write more"},
		{"a list that is compared with itself", "{{ uniq (until 100000) | len }}", "uniq could write more"},
	}
	var charts []map[string]string
	for _, c := range cases {
		charts = append(charts, chart(map[string]string{"templates/a.yaml": c.text, "values.yaml": "t: \"{{ tpl .Values.t . }}\"\n", "big.txt": strings.Repeat("x\n", 100_000)}))
	}
	get := shelf(t, charts)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v, folder := get(i)
			_, err := renderAt(t, v, folder, release)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "chart/templates/a.yaml:1") {
				if err != nil && len(err.Error()) > 500 {
					err = errors.New(err.Error()[:500])
				}
				t.Errorf("error %v, want one with %q at the template", err, c.want)
			}
		})
	}
}

func TestARenderingEndsWithItsContext(t *testing.T) {
	c, err := helm.Load(t.Context(), view(t, chart(map[string]string{"templates/a.yaml": "{{ range 2000000 }}{{ end }}"})), "chart")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := c.Render(ctx, release); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestManyAliasesOfAChartAreRefused(t *testing.T) {
	aliases := func(name string, n int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "dependencies:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: %s, version: \"*\", alias: %s%d}\n", name, name, i)
		}
		return b.String()
	}
	head := func(name string) string { return "apiVersion: v2\nname: " + name + "\nversion: 1.0.0\n" }
	_, err := render(t, map[string]string{
		"chart/Chart.yaml":                    head("a") + aliases("b", 30),
		"chart/charts/b/Chart.yaml":           head("b") + aliases("c", 30),
		"chart/charts/b/charts/c/Chart.yaml":  head("c"),
		"chart/charts/b/charts/c/values.yaml": "a: b\n",
	}, release)
	if err == nil || !strings.Contains(err.Error(), "more than 500 charts") {
		t.Errorf("error %v", err)
	}
}
