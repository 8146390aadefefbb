package helm_test

import (
	"fmt"
	"maps"
	"testing"

	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func TestAFieldLeadsToTheValueThatItComesFrom(t *testing.T) {
	files := map[string]string{
		"chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\ndependencies:\n  - {name: cache, alias: store, version: 1.0.0}\n",
		"chart/values.yaml": `base: &base
  size: 7
image: {repository: registry.example.com/web, tag: "1.2"}
enabled: true
type: ClusterIP
ports:
  - {name: http, number: 8080}
  - {name: admin, number: 9090}
copy: *base
names: [first, second]
store:
  host: above
`,
		"chart/charts/cache/Chart.yaml":            "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
		"chart/charts/cache/values.yaml":           "host: below\nlimit: 55\n",
		"chart/charts/cache/templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cache}\ndata:\n  host: {{ .Values.host }}\n  limit: {{ .Values.limit | quote }}\n",
		"chart/templates/_helpers.tpl":             `{{ define "web.name" }}{{ .Values.image.tag | upper }}-{{ .Release.Name }}{{ end }}`,
		"chart/templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: web
data:
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
  helper: {{ include "web.name" . }}
  literal: "true"
  enabled: {{ .Values.enabled | quote }}
  type: {{ .Values.type }}
  size: {{ .Values.copy.size | quote }}
  {{- range .Values.ports }}
  {{ .name }}: "{{ .number }}"
  {{- end }}
  list: {{ index .Values.names 1 }}
  over: {{ .Values.over }}
  set: {{ .Values.deep.set | quote }}
  text: {{ .Values.text }}
  computed: {{ mul .Values.copy.size 3 | quote }}
  secret: {{ .Values.over | b64enc }}
{{- if .Values.enabled }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: other
{{- end }}
`,
	}
	objects, problems := manifest.Decode("app.yaml", []byte("kind: A\napiVersion: v1\nspec:\n  parameter: four\n  values:\n    over: mine\n  text: |\n    # first\n    text: inside\n"), manifest.DefaultLimits())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	app, r := objects[0], release
	text, _ := policies.Lookup(app.Map(), policies.ParsePath("spec.text"))
	r.Values = map[string]any{"over": "mine", "deep": map[string]any{"set": "four"}, "text": "inside"}
	r.Written = []helm.Written{
		helm.InText(app, policies.ParsePath("spec.text"), text.(string)),
		helm.InObject(app, policies.ParsePath("spec.values")),
		helm.InParameter(app, policies.ParsePath("spec.parameter"), "deep.set"),
	}
	result, err := render(t, files, r)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]helm.Object{}
	for _, o := range result.Objects {
		name, _ := policies.Lookup(o.Content, policies.ParsePath("metadata.name"))
		byName[name.(string)] = o
	}
	want := map[string]string{
		"web data.image":    "chart/values.yaml:3",
		"web data.enabled":  "chart/values.yaml:4",
		"web data.type":     "chart/values.yaml:5",
		"web data.size":     "chart/values.yaml:2",
		"web data.http":     "chart/values.yaml:7",
		"web data.admin":    "chart/values.yaml:8",
		"web data.list":     "chart/values.yaml:10",
		"web data.over":     "app.yaml:6",
		"web data.set":      "app.yaml:4",
		"web data.text":     "app.yaml:9",
		"cache data.host":   "chart/values.yaml:12",
		"cache data.limit":  "chart/charts/cache/values.yaml:2",
		"web data.literal":  "",
		"web data.computed": "",
		"web data.secret":   "",
		"web data.helper":   "chart/values.yaml:3",
		"web metadata.name": "",
		"web data":          "",
		"web data.absent":   "",
	}
	got := maps.Clone(want)
	for question := range want {
		var name, field string
		fmt.Sscan(question, &name, &field)
		got[question] = ""
		if place, ok := byName[name].Source.Value(policies.ParsePath(field)); ok {
			got[question] = fmt.Sprintf("%s:%d", place.File, place.Line)
		}
	}
	for question := range want {
		if got[question] != want[question] {
			t.Errorf("%s comes from %q, want %q", question, got[question], want[question])
		}
	}
}
