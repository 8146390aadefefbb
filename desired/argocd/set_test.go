package argocd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/argocd"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

var tenants = map[string]string{
	"apps/web/kustomization.yaml":  "resources: []\n",
	"apps/api/kustomization.yaml":  "resources: []\n",
	"apps/old/kustomization.yaml":  "resources: []\n",
	"apps/web/deep/a.yaml":         "a: b\n",
	".github/workflows/a.yaml":     "a: b\n",
	"clusters/prod/config.json":    `{"cluster": {"name": "prod", "size": 3}, "tier": "gold"}`,
	"clusters/dev/config.json":     `{"cluster": {"name": "dev", "size": 1}, "tier": "tin"}`,
	"clusters/My_Team/config.json": `[{"cluster": {"name": "a", "size": 1}}, {"cluster": {"name": "b", "size": 1}}]`,
	"clusters/broken/broken.json":  `{"a": `,
}

func set(t *testing.T, spec string) (*argocd.ApplicationSet, error) {
	t.Helper()
	return argocd.ParseSet(object(t, "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: fleet, namespace: argocd}\nspec:\n"+spec))
}

const repo = "repoURL: \"https://git.example.com/fleet.git\", revision: main"

func TestTheApplicationsOfASet(t *testing.T) {
	resolve := repository(t, tenants)
	template := func(name, path string) string {
		return "  template: {metadata: {name: \"" + name + "\"}, spec: {source: {path: \"" + path + "\"}}}\n"
	}
	for _, c := range []struct{ name, spec, want string }{
		{"a list", "  generators: [{list: {elements: [{env: dev, values: {num: \"1\"}}, {env: prod, values: {num: \"2\"}}]}}]\n" + template("a-{{env}}", "{{ env }}/{{values.num}}/{{none}}"), "a-dev=dev/1/{{none}} a-prod=prod/2/{{none}}"},
		{"a list with Go templates", "  goTemplate: true\n  goTemplateOptions: [missingkey=error]\n  generators: [{list: {elements: [{env: dev, num: 1}]}}]\n" + template("a-{{ .env | upper | lower }}", "{{ add .num 1 }}"), "a-dev=2"},
		{"folders", "  generators: [{git: {" + repo + ", directories: [{path: apps/*}, {path: apps/old, exclude: true}]}}]\n" + template("{{path.basename}}", "{{path}}-{{path[0]}}"), "api=apps/api-apps web=apps/web-apps"},
		{"folders with Go templates", "  goTemplate: true\n  generators: [{git: {" + repo + ", directories: [{path: apps/*}], values: {team: \"t-{{ .path.basename }}\"}}}]\n" + template("{{ .path.basename }}", "{{ .path.path }}-{{ index .path.segments 0 }}-{{ .values.team }}"), "api=apps/api-apps-t-api old=apps/old-apps-t-old web=apps/web-apps-t-web"},
		{"a prefix", "  generators: [{git: {" + repo + ", pathParamPrefix: app, directories: [{path: apps/web}]}}]\n" + template("{{app.path.basename}}", "{{app.path}}"), "web=apps/web"},
		{"every folder but hidden ones", "  generators: [{git: {" + repo + ", directories: [{path: \"*\"}]}}]\n" + template("{{path.basename}}", "{{path}}"), "apps=apps clusters=clusters"},
		{"files", "  generators: [{git: {" + repo + ", files: [{path: \"clusters/*/config.json\"}, {path: \"clusters/My_Team/*\", exclude: true}]}}]\n" + template("{{cluster.name}}", "{{path}} {{path.filename}} {{cluster.size}} {{tier}}"), "dev=clusters/dev config.json 1 tin prod=clusters/prod config.json 3 gold"},
		{"files that are lists, with Go templates", "  goTemplate: true\n  generators: [{git: {" + repo + ", files: [{path: \"clusters/My_Team/config.json\"}]}}]\n" + template("{{ .cluster.name }}-{{ .path.basenameNormalized }}", "{{ .path.basename }}"), "a-my-team=My_Team b-my-team=My_Team"},
		{"a matrix", "  generators: [{matrix: {generators: [{list: {elements: [{env: dev}, {env: prod}]}}, {git: {" + repo + ", directories: [{path: apps/web}, {path: apps/api}]}}]}}]\n" + template("{{env}}-{{path.basename}}", "{{path}}"), "dev-api=apps/api dev-web=apps/web prod-api=apps/api prod-web=apps/web"},
		{"a matrix whose second reads the first", "  goTemplate: true\n  generators: [{matrix: {generators: [{list: {elements: [{env: dev}, {env: prod}]}}, {git: {" + repo + ", files: [{path: \"clusters/{{ .env }}/config.json\"}]}}]}}]\n" + template("{{ .env }}", "{{ .tier }}"), "dev=tin prod=gold"},
		{"a merge", "  generators: [{merge: {mergeKeys: [env], generators: [{list: {elements: [{env: dev, num: \"1\"}, {env: prod, num: \"1\"}]}}, {list: {elements: [{env: prod, num: \"3\"}, {env: none, num: \"9\"}]}}]}}]\n" + template("{{env}}", "{{num}}"), "dev=1 prod=3"},
		{"a matrix in a merge", "  generators: [{merge: {mergeKeys: [id], generators: [{matrix: {generators: [{list: {elements: [{a: x}]}}, {list: {elements: [{id: one, num: \"1\"}]}}]}}, {list: {elements: [{id: one, num: \"2\"}]}}]}}]\n" + template("{{a}}-{{id}}", "{{num}}"), "x-one=2"},
		{"a selector", "  generators: [{list: {elements: [{env: dev}, {env: prod}, {env: test}]}, selector: {matchExpressions: [{key: env, operator: In, values: [prod, test]}, {key: env, operator: NotIn, values: [test]}]}}]\n" + template("{{env}}", "x"), "prod=x"},
		{"a template of the generator", "  generators: [{list: {elements: [{env: dev}], template: {metadata: {}, spec: {project: \"\", source: {path: own}}}}}]\n" + template("{{env}}", "x"), "dev=own"},
		{"a patch", "  goTemplate: true\n  generators: [{list: {elements: [{env: dev, path: special}, {env: prod}]}}]\n  templatePatch: |\n    {{- if .path }}\n    spec: {source: {path: {{ .path }}}}\n    {{- end }}\n" + template("{{ .env }}", "x"), "dev=special prod=x"},
		{"functions", "  goTemplate: true\n  generators: [{list: {elements: [{b: \"Feature/Add A_Thing & More\", \"y\": \"key: val\"}]}}]\n" + template("{{ normalize .b }}", "{{ slugify 20 true .b }} {{ slugify .b }} {{ toYaml (dict .b 1) }} {{ (fromYaml .y).key }}"), "feature-add-a-thing---more=feature-add-a_thing feature-add-a_thing-and-more Feature/Add A_Thing & More: 1 val"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := set(t, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			made, notes, err := s.Generate(t.Context(), resolve)
			if err != nil || len(notes) > 0 {
				t.Fatal(err, notes)
			}
			var got []string
			for _, o := range made {
				path, _ := policies.Lookup(o.Map(), policies.Path{"spec", "source", "path"})
				got = append(got, fmt.Sprintf("%s=%v", o.Name, path))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestAnApplicationOfASetIsMadeAsTheControllerMakesIt(t *testing.T) {
	s, err := set(t, "  goTemplate: true\n  generators: [{list: {elements: [{env: dev}]}}]\n  template:\n    metadata:\n      name: \"{{ .env }}\"\n      labels: {\"is-{{ .env }}\": \"yes\"}\n    spec:\n      project: default\n      syncPolicy: {automated: {prune: true}}\n")
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := s.Generate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(made[0].Map())
	if want := `{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"finalizers":["resources-finalizer.argocd.argoproj.io"],"labels":{"is-dev":"yes"},"name":"dev","namespace":"argocd"},"spec":{"project":"default","syncPolicy":{"automated":{"prune":true}}}}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if pos := made[0].Locate(policies.Path{"spec", "project"}, policies.AtValue); pos.File != "app.yaml" || pos.Line != 12 {
		t.Errorf("the project is at %s:%d", pos.File, pos.Line)
	}
}

func TestWhatIsWrongWithASetIsToldAtItsPlace(t *testing.T) {
	resolve := repository(t, tenants)
	list := func(rest string) string {
		return "  goTemplate: true\n  goTemplateOptions: [missingkey=error]\n  generators: [{list: {elements: [{env: dev}]}}]\n  template: {metadata: {name: \"" + rest + "\"}, spec: {}}\n"
	}
	for _, c := range []struct{ name, spec, want string }{
		{"an unknown generator", "  generators: [{magic: {}}]\n", "generator \"magic\" is unknown"},
		{"two kinds in one", "  generators: [{list: {}, git: {}}]\n", "expected one kind of generator"},
		{"a name that is not there", list("{{ .none }}"), "app.yaml:8:31: template cannot be executed: at <.none>: map has no entry for key \"none\""},
		{"a template that cannot be parsed", list("{{ if }}"), "template cannot be parsed"},
		{"include, which Argo CD has not", list("{{ include \\\"a\\\" . }}"), "function \"include\" not defined"},
		{"env, which Argo CD has not", list("{{ env \\\"HOME\\\" }}"), "function \"env\" not defined"},
		{"one name twice", "  generators: [{list: {elements: [{a: x}, {a: z}]}}]\n  template: {metadata: {name: same}, spec: {}}\n", "makes two applications named \"same\""},
		{"no name", "  generators: [{list: {elements: [{a: x}]}}]\n  template: {metadata: {}, spec: {}}\n", "application has no name"},
		{"a number without Go templates", "  generators: [{list: {elements: [{a: 1}]}}]\n  template: {metadata: {name: a}, spec: {}}\n", "expected a text, as goTemplate is not set"},
		{"a matrix of three", "  generators: [{matrix: {generators: [{list: {}}, {list: {}}, {list: {}}]}}]\n", "matrix has 3 generators: expected 2"},
		{"generators that are deep", "  generators: [{matrix: {generators: [{list: {elements: [{a: x}]}}, {matrix: {generators: [{list: {elements: [{b: x}]}}, {matrix: {generators: [{list: {elements: [{c: x}]}}, {list: {}}]}}]}}]}}]\n", "more than 2 levels deep"},
		{"a merge without keys", "  generators: [{merge: {generators: [{list: {}}, {list: {}}]}}]\n", "and mergeKeys"},
		{"a file of parameters that is none", "  generators: [{git: {" + repo + ", files: [{path: clusters/broken/broken.json}]}}]\n", "clusters/broken/broken.json: parameters cannot be read"},
		{"parameters that differ in a matrix", "  generators: [{matrix: {generators: [{list: {elements: [{a: x}]}}, {list: {elements: [{a: z}]}}]}}]\n", "parameter a is x in one generator and z in the other"},
		{"an option that is none", "  goTemplateOptions: [missingkey=maybe]\n", "option \"missingkey=maybe\""},
		{"a loop without end", list("{{ range 1000000000 }}{{ end }}a"), "templates cost too much: more than"},
		{"a large name", list("{{ repeat 1000000000 .env }}"), "repeat could write more"},
		{"a template that calls itself", list("{{ define \\\"a\\\" }}{{ template \\\"a\\\" . }}{{ end }}{{ template \\\"a\\\" . }}"), "nested too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := set(t, c.spec)
			if err == nil {
				_, _, err = s.Generate(t.Context(), resolve)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			var placed *policies.PositionError
			if !errors.As(err, &placed) {
				t.Errorf("the error names no place: %v", err)
			}
		})
	}
}

func TestGeneratorsOfTheNetworkAreOpaque(t *testing.T) {
	for _, kind := range []string{"clusters", "scmProvider", "pullRequest", "plugin", "clusterDecisionResource"} {
		t.Run(kind, func(t *testing.T) {
			s, err := set(t, "  generators: [{"+kind+": {}}, {list: {elements: [{a: x}]}}, {matrix: {generators: [{list: {elements: [{a: x}]}}, {"+kind+": {}}]}}]\n  template: {metadata: {name: \"{{a}}\"}, spec: {}}\n")
			if err != nil {
				t.Fatal(err)
			}
			made, notes, err := s.Generate(t.Context(), nil)
			if err != nil || len(made) != 1 || len(notes) != 2 || !strings.Contains(notes[0].What, kind) {
				t.Errorf("got %v, %v, %v", made, notes, err)
			}
		})
	}
	s, err := set(t, "  generators: [{git: {repoURL: \"https://other.example.com/a.git\", directories: [{path: a}]}}]\n  template: {metadata: {name: \"{{path}}\"}, spec: {}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, notes, err := s.Generate(t.Context(), repository(t, tenants)); err != nil || len(notes) != 1 {
		t.Errorf("got %v, %v", notes, err)
	}
}

func TestALargeMatrixIsRefused(t *testing.T) {
	var elements []string
	for i := range 300 {
		elements = append(elements, fmt.Sprintf("{a%d: x}", i))
	}
	list := "{list: {elements: [" + strings.Join(elements, ", ") + "]}}"
	s, err := set(t, "  generators: [{matrix: {generators: ["+list+", "+list+"]}}]\n  template: {metadata: {name: a}, spec: {}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Generate(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "more than 5000 applications") {
		t.Errorf("error %v", err)
	}
	var opaque *kustomize.OpaqueError
	if errors.As(err, &opaque) {
		t.Error("a set that is too large is opaque")
	}
}
