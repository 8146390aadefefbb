package schema_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/schema"
)

func rules(t testing.TB) *apiserver.Rules {
	t.Helper()
	r, err := apiserver.New("")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// objects reads manifests as the doors do: with positions, and stored as the rules say.
func objects(t testing.TB, r *apiserver.Rules, set *policies.Set, text string) []*policies.Object {
	t.Helper()
	read, problems := manifest.Decode("test.yaml", []byte(text), manifest.DefaultLimits())
	for _, p := range problems {
		t.Fatalf("manifest of the test: %+v", p)
	}
	for i, o := range read {
		read[i] = o.WithStored(func(o *policies.Object) (map[string]any, error) { return r.Stored(set, o) })
	}
	return read
}

func compile(t testing.TB, o schema.Options, docs ...policies.Document) []*policies.Policy {
	t.Helper()
	if o.Rules == nil {
		o.Rules = rules(t)
	}
	made, err := schema.Compiler(o)(context.Background(), docs)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// verdicts asks an engine about the creation of each object, and tells what it says: "policy/rule line:column message (fix)".
func verdicts(t testing.TB, made []*policies.Policy, set *policies.Set, all ...*policies.Object) (lines []string, verdict policies.Verdict) {
	t.Helper()
	engine, err := policies.New(made, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		d := engine.Decide(context.Background(), &policies.Change{
			Operation: policies.Create, Object: o, Namespace: o.Namespace, Set: set,
			Resource: policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: strings.ToLower(o.Kind.Kind) + "s"},
		})
		verdict = max(verdict, d.Verdict())
		for _, r := range d.Results {
			if r.Err != nil {
				lines = append(lines, fmt.Sprintf("%s failed: %v", r.Policy.Name, r.Err))
			}
			for _, v := range r.Finding.Violations {
				line := fmt.Sprintf("%s/%s %d:%d %s", r.Policy.Name, v.Rule, v.Pos.Line, v.Pos.Column, v.Message)
				if v.Fix != "" {
					line += " (" + v.Fix + ")"
				}
				lines = append(lines, line)
			}
		}
	}
	return lines, verdict
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("said\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const widgetCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
`

func TestTheAPIServersAnswerBecomesFindings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, object string
		options      schema.Options
		want         []string
		verdict      policies.Verdict
	}{
		{name: "a good object is let in", object: "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", verdict: policies.Allow},
		{name: "an unknown field is refused where it is written", object: "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  lables: {}\n",
			want: []string{`schema/unknown-field 5:3 unknown field metadata.lables (did you mean "labels"?)`}, verdict: policies.Denied},
		{name: "two variables of one name are refused, as server-side apply does", object: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: a\n    env:\n    - name: A\n    - name: A\n",
			want: []string{
				`schema/apply/ 10:13 spec.containers[0].env[1].name is a duplicate, server-side apply refuses the list: "A" is also item 0`,
				`schema/warning/ 10:7 spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply`}, verdict: policies.Denied},
		{name: "a deprecated version is a warning", object: "apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\n",
			want: []string{`schema/deprecated/ 1:13 v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice`}, verdict: policies.AllowWarn},
		{name: "a version that is gone is refused", object: "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n",
			want: []string{`schema/removed-api 1:13 policy/v1beta1 PodDisruptionBudget was removed in Kubernetes 1.25; use policy/v1 PodDisruptionBudget (write apiVersion: policy/v1 (an empty spec.selector selects every Pod of the namespace there, not none))`}, verdict: policies.Denied},
		{name: "a kind that nothing covers is a named warning", object: "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: a}\n",
			want: []string{`schema/missing/ 2:7 no schema covers example.com/v1 Gadget, so that only its policies judge it (add its CustomResourceDefinition to the change set or under schemas in gitgate.yaml)`}, verdict: policies.AllowWarn},
		{name: "a kind that nothing covers can be silent", object: "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: a}\n",
			options: schema.Options{IgnoreMissing: true}, verdict: policies.Allow},
		{name: "a kind that nothing covers can be refused", object: "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: a}\n",
			options: schema.Options{StrictMissing: true},
			want:    []string{`schema/missing/ 2:7 no schema covers example.com/v1 Gadget, so that only its policies judge it (add its CustomResourceDefinition to the change set or under schemas in gitgate.yaml)`}, verdict: policies.Denied},
		{name: "to be strict beats to be silent", object: "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: a}\n",
			options: schema.Options{StrictMissing: true, IgnoreMissing: true},
			want:    []string{`schema/missing/ 2:7 no schema covers example.com/v1 Gadget, so that only its policies judge it (add its CustomResourceDefinition to the change set or under schemas in gitgate.yaml)`}, verdict: policies.Denied},
		{name: "a kind in a group that is misspelt is guessed", object: "apiVersion: aps/v1\nkind: Deployment\nmetadata: {name: a}\n",
			want: []string{`schema/missing/ 2:7 no schema covers aps/v1 Deployment, so that only its policies judge it (did you mean apps/v1 Deployment?)`}, verdict: policies.AllowWarn},
		{name: "a custom resource is judged by its CRD", object: "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec:\n  size: big\n",
			want: []string{`schema/type 5:9 spec.size: expected integer, got string "big"`}, verdict: policies.Denied},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.options.Rules = rules(t)
			set := policies.NewSet(objects(t, c.options.Rules, nil, widgetCRD)...)
			got, verdict := verdicts(t, compile(t, c.options), set, objects(t, c.options.Rules, set, c.object)...)
			equal(t, got, c.want)
			if verdict != c.verdict {
				t.Errorf("verdict is %v, expected %v", verdict, c.verdict)
			}
		})
	}
}

func TestACRDThatCannotBeUsedIsNoVerdictOnItsObjects(t *testing.T) {
	t.Parallel()
	r := rules(t)
	set := policies.NewSet(objects(t, r, nil, strings.Replace(widgetCRD, "type: object\n", "type: objekt\n", 1))...)
	got, verdict := verdicts(t, compile(t, schema.Options{}), set, objects(t, r, set, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n")...)
	if len(got) != 1 || !strings.HasPrefix(got[0], "schema failed: Widget a: CustomResourceDefinition widgets.example.com") || verdict != policies.Unsure {
		t.Errorf("said %q, verdict %v", got, verdict)
	}
}

func TestACRDOfTheConfigurationHasToBeGood(t *testing.T) {
	t.Parallel()
	bad := objects(t, rules(t), nil, strings.Replace(widgetCRD, "plural: widgets", "plural: wodgets", 1))
	options := schema.Options{Rules: rules(t), JSONSchemas: []schema.JSONSchema{{File: "a.json", Kind: "ConfigMap"}}}
	_, err := schema.Compiler(options)(context.Background(), []policies.Document{{File: "crd.yaml", Object: bad[0]}, {File: "a.json", Text: []byte("[]")}})
	if err == nil || !strings.HasPrefix(err.Error(), "test.yaml:4:18: metadata.name: invalid value") || !strings.Contains(err.Error(), "\na.json:1:1: JSON Schema: is array, expected boolean or object") {
		t.Errorf("error is %v, expected it to name the CRD and the JSON Schema", err)
	}
}

const appSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Application settings",
  "type": "object",
  "required": ["port"],
  "additionalProperties": false,
  "properties": {
    "port": {"type": "integer", "maximum": 65535},
    "mode": {"enum": ["fast", "safe"]},
    "peers": {"type": "array", "items": {"$ref": "defs/peer.yaml#/definitions/peer"}},
    "store": {"anyOf": [{"type": "object", "required": ["bucket"], "properties": {"bucket": {"type": "string"}}}, {"type": "null"}]}
  }
}
`

const peerSchema = `
definitions:
  peer:
    type: object
    properties:
      address: {type: string, format: hostname}
      weight: {type: number, exclusiveMinimum: 0}
`

var schemaFiles = fstest.MapFS{"schemas/defs/peer.yaml": {Data: []byte(peerSchema)}}

func read(name string) ([]byte, error) { return fs.ReadFile(schemaFiles, name) }

func TestJSONSchemasJudgeObjectsAndTheDataOfConfigMaps(t *testing.T) {
	t.Parallel()
	docs := []policies.Document{
		{File: "schemas/app.json", Text: []byte(appSchema)},
		{File: "schemas/labels.yaml", Text: []byte("$schema: http://json-schema.org/draft-04/schema#\nproperties:\n  metadata:\n    required: [labels]\n    properties:\n      name: {pattern: '^[a-z]+$'}\n      labels: {required: [team]}\n  spec:\n    properties:\n      replicas: {minimum: 2}\n")},
	}
	options := schema.Options{Read: read, JSONSchemas: []schema.JSONSchema{
		{File: "schemas/app.json", Kind: "ConfigMap", Names: []string{"app-*"}, Key: "app.yaml"},
		{File: "schemas/app.json", Kind: "ConfigMap", Names: []string{"app-*"}, Key: "app.json"},
		{File: "schemas/app.json", Kind: "Secret", Key: "app.yaml"},
		{File: "schemas/labels.yaml", Kind: "Deployment.apps"},
	}}
	made := compile(t, options, docs...)
	for _, c := range []struct {
		name, object string
		want         []string
	}{
		{name: "good settings pass", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata:\n  app.yaml: |\n    port: 80\n    peers: [{address: a.example, weight: 0.5}]\n    store: null\n"},
		{name: "settings without a port, and with other fields, are located in the block", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata:\n  app.yaml: |\n    # comment\n    mode: quick\n    prot: 80\n",
			want: []string{
				`schema/schemas/app.json/additionalProperties 8:5 data[app.yaml]: prot is a field that the schema does not have`,
				`schema/schemas/app.json/enum 7:11 data[app.yaml]: mode value must be one of 'fast', 'safe'`,
				`schema/schemas/app.json/required 5:13 data[app.yaml]: field port is missing`}},
		{name: "a $ref to a file beside the schema is followed, and items are located", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata:\n  app.yaml: |\n    port: 1\n    peers:\n    - address: a.example\n    - address: not_a_host!\n      weight: 0\n",
			want: []string{
				`schema/schemas/app.json/exclusiveMinimum 10:15 data[app.yaml]: peers[1].weight exclusiveMinimum: got 0, want 0`,
				`schema/schemas/app.json/format 9:16 data[app.yaml]: peers[1].address 'not_a_host!' is not valid hostname: invalid character '_'`}},
		{name: "of alternatives the one that is meant is told", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata:\n  app.json: |\n    {\"port\": 1,\n     \"store\": {\"bucket\": 5}}\n",
			want: []string{`schema/schemas/app.json/type 7:26 data[app.json]: store.bucket is number, expected string`}},
		{name: "text that is not what its key says", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata: {app.json: '{port: 1}'}\n",
			want: []string{`schema/schemas/app.json/syntax 4:18 data[app.json] is no JSON: invalid character 'p' looking for beginning of object key string`}},
		{name: "a doubled key is not what YAML is", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata:\n  app.yaml: |\n    port: 1\n    port: 2\n",
			want: []string{`schema/schemas/app.json/syntax 7:5 data[app.yaml] is no YAML: key "port" already set in map`}},
		{name: "a second document is told, not passed over", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata:\n  app.yaml: |\n    port: 1\n    ---\n    port: no\n",
			want: []string{`schema/schemas/app.json/syntax 7:5 data[app.yaml] is no YAML: a second document begins, expected one`}},
		{name: "other names are left alone", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {app.yaml: 'x: 1'}\n"},
		{name: "a ConfigMap without the key is left alone", object: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-a}\ndata: {other: 'x: 1'}\n"},
		{name: "what a Secret holds is not told", object: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  app.yaml: |\n    port: 99999\n    mode: hunter2\n",
			want: []string{
				`schema/schemas/app.json/enum 5:13 stringData[app.yaml]: mode breaks enum of the schema`,
				`schema/schemas/app.json/maximum 5:13 stringData[app.yaml]: port breaks maximum of the schema`}},
		{name: "what a Secret holds in base64 is judged", object: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  app.yaml: bW9kZTogZmFzdAo=\n",
			want: []string{`schema/schemas/app.json/required 5:13 data[app.yaml]: field port is missing`}},
		{name: "an object is judged with its defaults, by an old draft", object: "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-1\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}\n",
			want: []string{
				`schema/schemas/labels.yaml/pattern 4:9 metadata.name: 'web-1' does not match pattern '^[a-z]+$'`,
				`schema/schemas/labels.yaml/required 3:1 metadata: field labels is missing`,
				`schema/schemas/labels.yaml/minimum 5:1 spec.replicas: minimum: got 1, want 2`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, _ := verdicts(t, made, nil, objects(t, rules(t), nil, c.object)...)
			// The library goes through the keywords of a schema in no order.
			slices.Sort(got)
			slices.Sort(c.want)
			equal(t, got, c.want)
		})
	}
}

func TestHostileDataIsAFindingOrNothing(t *testing.T) {
	t.Parallel()
	made := compile(t, schema.Options{Read: read, JSONSchemas: []schema.JSONSchema{{File: "schemas/app.json", Kind: "ConfigMap", Key: "app.yaml"}}},
		policies.Document{File: "schemas/app.json", Text: []byte(appSchema)})
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for name, text := range map[string]string{
		"aliases that explode":          laughs,
		"an alias that contains itself": "a: &a [*a]\n",
		"an alias of nothing":           "a: *b\n",
		"a deep list":                   strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"a deep map":                    strings.Repeat("{a: ", 20_000),
		"several documents":             "port: 1\n---\nport: 2\n",
		"nothing":                       "",
		"a byte that is no text":        "port: \x01",
		"merge keys":                    "x: &x {port: 1}\n<<: *x\n",
		"a million wrong fields":        "port: 1\n" + strings.Repeat("f", 10) + ": 1\n" + strings.Join(numbered(50_000), ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := policies.NewObject(map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"app.yaml": text},
			}, policies.Origin{File: "a.yaml"}, nil, nil)
			got, verdict := verdicts(t, made, nil, o)
			if strings.Contains(strings.Join(got, ""), "failed") || verdict == policies.Unsure || len(got) > 60 {
				t.Errorf("verdict %v, %d lines: %.500q", verdict, len(got), got)
			}
		})
	}
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("f%d: 1\n", i)
	}
	return out
}

func TestAJSONSchemaThatDoesNotCompileIsLocated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, text, want string }{
		{"a wrong type", "a.json", "{\n  \"properties\": {\n    \"a\": {\"type\": \"strnig\"}}}", `a.json:3:11: JSON Schema: properties.a.type`},
		{"a reference to nothing in the file", "a.json", "{\n \"items\": {\"$ref\": \"#/definitions/x\"}}", `a.json:2:`},
		{"a reference to a file that is not there", "a.yaml", "items:\n  $ref: gone.json\n", `a.yaml:2:9: JSON Schema: gone.json does not exist`},
		{"a reference to the network", "a.json", "{\n \"items\":\n {\"$ref\": \"https://example.com/x.json\"}}", `a.json:3:11: JSON Schema: https://example.com/x.json is not in the bundle: expected a $ref to a file beside the schema, nothing is fetched`},
		{"a reference out of the bundle", "s/a.json", "{\"$ref\": \"file:///etc/passwd\"}", `s/a.json:1:10: JSON Schema: file:///etc/passwd is not in the bundle`},
		{"a reference above the bundle stays in it", "s/a.json", "{\"$ref\": \"../../../etc/passwd\"}", `s/a.json:1:10: JSON Schema: etc/passwd does not exist`},
		{"a pattern that is none", "a.json", "{\n \"properties\": {\"a\": {\n  \"pattern\": \"(\"}}}", `a.json:3:3: JSON Schema: properties.a.pattern`},
		{"a text that is no JSON", "a.json", "{\n", `a.json: JSON Schema: unexpected`},
		{"a draft that is not known", "a.json", "{\"$schema\": \"https://example.com/draft-99\"}", `a.json:1:13: JSON Schema: https://example.com/draft-99 is not in the bundle`},
		{"a schema that refers to itself alone", "a.json", "{\"$ref\": \"#\"}", `a.json: JSON Schema: a.json refers to itself without end, at /a.json#`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.Compiler(schema.Options{Rules: rules(t), Read: read, JSONSchemas: []schema.JSONSchema{{File: c.file, Kind: "ConfigMap"}}})(
				context.Background(), []policies.Document{{File: c.file, Text: []byte(c.text)}})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error is %v, expected %s…", err, c.want)
			}
		})
	}
}

func TestEveryDraftIsRead(t *testing.T) {
	t.Parallel()
	for draft, text := range map[string]string{
		"draft-04":      `{"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"data": {"properties": {"text": {"maxLength": 1}}}, "x": {"minimum": 1, "exclusiveMinimum": true}}}`,
		"draft-06":      `{"$schema": "http://json-schema.org/draft-06/schema#", "properties": {"data": {"propertyNames": {"maxLength": 0}}}}`,
		"draft-07":      `{"$schema": "http://json-schema.org/draft-07/schema#", "if": {"required": ["data"]}, "then": {"required": ["nothing"]}}`,
		"2019-09":       `{"$schema": "https://json-schema.org/draft/2019-09/schema", "dependentRequired": {"data": ["nothing"]}}`,
		"2020-12":       `{"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"data": {"unevaluatedProperties": false}}}`,
		"without draft": `{"properties": {"data": {"properties": {"text": {"const": "other"}}}}}`,
	} {
		made := compile(t, schema.Options{JSONSchemas: []schema.JSONSchema{{File: "a.json", Kind: "ConfigMap"}}}, policies.Document{File: "a.json", Text: []byte(text)})
		got, _ := verdicts(t, made, nil, objects(t, rules(t), nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {text: abc}\n")...)
		if len(got) != 1 {
			t.Errorf("%s: said %q", draft, got)
		}
	}
}

func TestThePoliciesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	made := compile(t, schema.Options{JSONSchemas: []schema.JSONSchema{{File: "a.json", Kind: "ConfigMap"}}}, policies.Document{File: "a.json", Text: []byte(appSchema)[:0:0]}, policies.Document{File: "a.json", Text: []byte(`{"title": "Settings", "description": "What an app reads."}`)})
	var names []string
	for _, p := range made {
		names = append(names, p.Name)
		if p.Doc == "" || p.Kind != "schema" || p.Severity == "" || strings.HasSuffix(p.Doc, ".") {
			t.Errorf("%s: doc %q, kind %q, severity %q", p.Name, p.Doc, p.Kind, p.Severity)
		}
	}
	equal(t, names, []string{"schema", "schema/apply", "schema/deprecated", "schema/warning", "schema/missing", "schema/a.json"})
	if doc := made[5].Doc; doc != "Settings: What an app reads" {
		t.Errorf("doc is %q", doc)
	}
}
