package bundle_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
)

const head = "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\n"

// full has every field once.
const full = head + `kubernetes: "1.36"
sources:
  - name: fleet
    url: https://git.example.com/platform/fleet.git
    branch: main
    path: clusters/prod
    trust:
      ssh: {allowedSigners: .gitgate/allowed_signers, revoked: .gitgate/revoked_keys}
      openpgp: {keys: [.gitgate/release.asc]}
      x509:
        roots: .gitgate/fulcio.pem
        identities: [{issuer: "https://accounts.example.com", subject: alice@example.com}, {subjectPattern: ".*@example[.]com"}]
      platforms: [{key: "SHA256:abc", squash: true}]
      paths: [{pattern: clusters/prod/**, signers: [alice@example.com]}]
  - {name: tenant, url: "https://git.example.com/tenant.git", referenced: true}
reconcilers: [{flux: {namespace: flux-system, defaultServiceAccount: reconciler}}, {argocd: {namespace: argocd}}]
writers:
  - name: cert-manager
    users: ["system:serviceaccount:cert-manager:*"]
    groups: ["system:serviceaccounts"]
    writes: [{kinds: [Secret], namespaces: [shop], names: ["*-tls"], fields: [data], subresources: [status]}]
policies:
  - {library: pod-security/restricted, version: "1.34", action: warn}
  - {path: policies/, action: deny}
schemas:
  - path: crds/
  - {kind: ConfigMap, names: [app-*], jsonSchema: schemas/app.json, key: config.yaml}
images:
  - match: ["registry.example.com/**"]
    signed: {keys: [.gitgate/cosign.pub]}
    provenance: {builders: ["https://github.com/actions/runner"], sources: ["https://git.example.com/apps/*"], branches: [main]}
trace: {action: deny}
breakGlass: {maximum: 30m, approvals: 1}
modes:
  - {policies: [trace], namespaces: [shop], kinds: [Deployment], action: audit}
exempt:
  - {policies: [pod-security/restricted], namespaces: [kube-system], kinds: [DaemonSet], names: [node-*], reason: "node agents", until: 2027-06-30}
rego: {allowBuiltins: [http.send], namespaces: [main]}
cel: {implicitBinding: true}
limits: {documentSize: 1048576, depth: 100}
`

func TestEveryFieldIsRead(t *testing.T) {
	c, err := bundle.Decode("gitgate.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sources[0].Trust.SSH.AllowedSigners; got != ".gitgate/allowed_signers" {
		t.Errorf("allowedSigners is %q", got)
	}
	if got := *c.Policies[0].Action; got != policies.Warn {
		t.Errorf("action is %v", got)
	}
	if got, want := c.Exempt[0].Until, time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("until is %v, want %v", got, want)
	}
	if c.Limits.Depth != 100 || c.Limits.DocumentSize != 1<<20 {
		t.Errorf("limits are %+v", c.Limits)
	}
	if pos := c.Position("policies", 1, "action"); pos.Line != 26 || pos.Column != 31 {
		t.Errorf("policies[1].action stands at %d:%d", pos.Line, pos.Column)
	}
	for _, path := range emptyFields(reflect.ValueOf(c).Elem(), "") {
		t.Errorf("field %s of the fixture was not read", path)
	}
}

// emptyFields lists the fields of a decoded configuration that hold nothing anywhere.
func emptyFields(v reflect.Value, at string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return []string{at}
		}
		return emptyFields(v.Elem(), at)
	case reflect.Slice:
		if v.Len() == 0 {
			return []string{at}
		}
		empty := emptyFields(v.Index(0), at)
		for i := 1; i < v.Len(); i++ {
			empty = both(empty, emptyFields(v.Index(i), at))
		}
		return empty
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		var empty []string
		for i := range v.NumField() {
			if name := v.Type().Field(i).Tag.Get("json"); name != "-" && name != "" {
				empty = append(empty, emptyFields(v.Field(i), at+"."+name)...)
			}
		}
		return empty
	default:
		if v.IsZero() && v.Type() != reflect.TypeFor[policies.Action]() {
			return []string{at}
		}
		return nil
	}
}

func both(a, b []string) []string {
	var out []string
	for _, x := range a {
		for _, y := range b {
			if x == y {
				out = append(out, x)
			}
		}
	}
	return out
}

// refused are files that Decode refuses; schema says whether the JSON Schema can see it too.
var refused = []struct {
	name, text string
	schema     bool
	want       []string
}{
	{"an empty file", "", false, []string{"gitgate.yaml: is empty: expected apiVersion: gitgate.dev/v1alpha1 and kind: Gate"}},
	{"a list", "- a\n", true, []string{"gitgate.yaml:1:1: no gitgate.yaml: expected one document with apiVersion: gitgate.dev/v1alpha1 and kind: Gate"}},
	{"two documents", head + "---\n" + head, false, []string{"gitgate.yaml:4:1: second document: expected one document in the file"}},
	{"another kind", "apiVersion: v1\nkind: Pod\n", true, []string{
		`gitgate.yaml:1:13: apiVersion: expected gitgate.dev/v1alpha1, got text "v1"`, `gitgate.yaml:2:7: kind: expected Gate, got text "Pod"`}},
	{"an unknown field", head + "polices: []\n", true, []string{`gitgate.yaml:3:1: unknown field "polices": did you mean "policies"?`}},
	{"an unknown field that is near nothing", head + "zzz: 1\n", true, []string{`gitgate.yaml:3:1: unknown field "zzz": expected one of apiVersion, kind, kubernetes, sources`}},
	{"an unknown field inside", head + "policies:\n  - path: p\n    acton: deny\n", true, []string{`gitgate.yaml:5:5: unknown field "acton" in policies[0]: did you mean "action"?`}},
	{"a doubled field", head + "policies: []\npolicies: []\n", false, []string{"gitgate.yaml:4:1: "}},
	{"a version as a number", head + "kubernetes: 1.36\n", true, []string{"gitgate.yaml:3:13: kubernetes: expected text, got the number 1.36: write it in quotes"}},
	{"a version that does not exist", head + "kubernetes: \"1.12\"\n", true, []string{`gitgate.yaml:3:13: kubernetes: "1.12" is no version that gitgate knows: expected one of 1.34, 1.35, 1.36, 1.37`}},
	{"a list with nothing", head + "policies:\n", true, []string{"gitgate.yaml:3:1: policies: expected a list, got nothing"}},
	{"a map for a list", head + "policies: {path: p}\n", true, []string{"gitgate.yaml:3:1: policies: expected a list, got a map"}},
	{"an unknown action", head + "policies: [{path: p, action: block}]\n", true, []string{`gitgate.yaml:3:30: policies[0].action: "block" is no action: expected deny, warn or audit`}},
	{"a policy of nowhere", head + "policies: [{action: deny}]\n", true, []string{"policies[0]: names no policies: expected path or library"}},
	{"a version of a path", head + "policies: [{path: p, version: latest}]\n", true, []string{"policies[0].version does not go with path"}},
	{"a version that is none", head + "policies: [{library: a, version: v2}]\n", true, []string{`policies[0].version: "v2" is no version: expected latest or a version of Kubernetes`}},
	{"a policy of two places", head + "policies: [{path: p, library: a/b}]\n", true, []string{"gitgate.yaml:3:22: policies[0] has path and library: expected one of them"}},
	{"an empty path", head + "policies: [{path: \"\"}]\n", true, []string{"policies[0].path: is empty: give it a value or remove the field"}},
	{"a path above", head + "policies: [{path: ../other}]\n", false, []string{`policies[0].path: "../other" leads out of the folder of gitgate.yaml`}},
	{"an absolute path", head + "policies: [{path: /etc}]\n", true, []string{`policies[0].path: "/etc" leads out of the folder of gitgate.yaml`}},
	{"sources of one name", head + "sources: [{name: a}, {name: a}]\n", false, []string{`sources[1].name: "a" is the name of sources[0] too: expected another`}},
	{"a source without a name", head + "sources: [{path: a}]\n", true, []string{"sources[0]: needs the field name"}},
	{"a source with a password", head + "sources: [{name: a, url: \"https://u:secret@example.com/x\"}]\n", false, []string{"sources[0].url: the URL of example.com carries a password: remove it, and give credentials to git"}},
	{"a source that is no URL", head + "sources: [{name: a, url: fleet}]\n", false, []string{`sources[0].url: "fleet" is no URL of a Git repository`}},
	{"a branch that is none", head + "sources: [{name: a, branch: \"a..b\"}]\n", false, []string{`sources[0].branch: "a..b" is no branch name`}},
	{"a source that is referenced and has a path", head + "sources: [{name: a}, {name: b, url: \"https://git.example.com/b.git\", path: x, referenced: true}]\n", false, []string{"sources[1].path: is what the source declares by itself"}},
	{"sources that are all referenced", head + "sources: [{name: a, referenced: true}]\n", false, []string{"sources: are all referenced"}},
	{"a default account that is no name", head + "reconcilers: [{flux: {namespace: flux-system, defaultServiceAccount: \"a:b\"}}]\n", true, []string{"\"a:b\" is no name"}},
	{"a default account of Argo CD, which has none", head + "reconcilers: [{argocd: {namespace: argocd, defaultServiceAccount: x}}]\n", true, []string{"defaultServiceAccount"}},
	{"a reconciler of no sort", head + "reconcilers: [{}]\n", true, []string{"reconcilers[0]: expected either flux or argocd"}},
	{"a writer that writes nothing", head + "writers: [{name: a, users: [u], writes: []}]\n", true, []string{"writers[0].writes: is empty: expected at least one"}},
	{"a schema of nothing", head + "schemas: [{kind: ConfigMap}]\n", true, []string{"schemas[0]: names no schema: expected path, or kind and jsonSchema"}},
	{"a schema for no kind", head + "schemas: [{jsonSchema: a.json}]\n", true, []string{"schemas[0]: needs the field kind: which objects a.json judges"}},
	{"a schema of both sorts", head + "schemas: [{path: crds, kind: ConfigMap}]\n", true, []string{"schemas[0].kind does not go with path"}},
	{"a key of what has no data", head + "schemas: [{kind: Pod, jsonSchema: a.json, key: k}]\n", false, []string{"schemas[0].key is for the data of a ConfigMap or a Secret, and kind is Pod"}},
	{"images that nothing is asked of", head + "images: [{match: [\"*\"]}]\n", true, []string{"images[0]: asks for nothing: expected signed, provenance or both"}},
	{"an exemption without a reason", head + "exempt: [{policies: [a]}]\n", true, []string{"exempt[0]: needs the field reason"}},
	{"an exemption of everything", head + "exempt: [{policies: [], reason: r}]\n", true, []string{"exempt[0].policies: is empty: expected at least one"}},
	{"a day that does not exist", head + "exempt: [{policies: [a], reason: r, until: 2027-02-30}]\n", false, []string{`exempt[0].until: "2027-02-30" is no date: expected YYYY-MM-DD`}},
	{"a pattern that is none", head + "exempt: [{policies: [\"[a\"], reason: r}]\n", false, []string{`exempt[0].policies[0]: "[a" is no pattern`}},
	{"a limit that is text", head + "limits: {depth: many}\n", true, []string{`limits.depth: expected a whole number, got text "many"`}},
	{"a switch that is text", head + "cel: {implicitBinding: \"yes\"}\n", true, []string{`cel.implicitBinding: expected true or false, got text "yes"`}},
	{"a limit of nothing", head + "limits: {depth: 0}\n", true, []string{"limits.depth: expected a number of at least 16, got 0"}},
	{"everything wrong at once", head + "polices: []\nkubernetes: \"9\"\ntrace: {action: x}\n", true, []string{"gitgate.yaml:3:1: ", "gitgate.yaml:4:13: ", "gitgate.yaml:5:17: "}},
}

func TestWhatIsWrongIsSaidAtItsPlace(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			_, err := bundle.Decode("gitgate.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("was accepted")
			}
			last := -1
			for _, want := range c.want {
				at := strings.Index(err.Error(), want)
				if at < 0 {
					t.Errorf("said:\n%v\nwant:\n%s", err, want)
				}
				if at < last {
					t.Errorf("said out of order: %s\n%v", want, err)
				}
				last = at
			}
		})
	}
}

func TestTheJSONSchemaHasEveryField(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(bundle.JSONSchema()), &schema); err != nil {
		t.Fatal(err)
	}
	sameFields(t, schema, schema, reflect.TypeFor[bundle.Config](), "")
}

// sameFields compares the properties of a JSON Schema with the fields of a type, both ways.
func sameFields(t *testing.T, root, schema map[string]any, of reflect.Type, at string) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	switch {
	case of.Kind() == reflect.Pointer:
		sameFields(t, root, schema, of.Elem(), at)
		return
	case of.Kind() == reflect.Slice:
		items, ok := schema["items"].(map[string]any)
		if !ok {
			t.Errorf("%s is a list; its schema has no items", at)
			return
		}
		sameFields(t, root, items, of.Elem(), at+"[]")
		return
	case of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]():
		return
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%s: the schema lets unknown fields in", at)
	}
	properties, _ := schema["properties"].(map[string]any)
	known := map[string]bool{}
	for i := range of.NumField() {
		field := of.Field(i)
		name := field.Tag.Get("json")
		if name == "" || name == "-" {
			continue
		}
		known[name] = true
		property, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("the schema lacks %s.%s", at, name)
			continue
		}
		required, _ := schema["required"].([]any)
		if field.Tag.Get("gate") == "required" && !contains(required, name) {
			t.Errorf("the schema does not ask for %s.%s", at, name)
		}
		sameFields(t, root, property, field.Type, at+"."+name)
	}
	for name := range properties {
		if !known[name] {
			t.Errorf("the schema has %s.%s, which is no field", at, name)
		}
	}
}

func contains(list []any, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func TestTheJSONSchemaAgreesWithDecode(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(bundle.JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("gitgate.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("gitgate.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return err
		}
		return schema.Validate(value)
	}
	for name, text := range map[string]string{"everything": full, "nothing but its name": head} {
		if err := validate(text); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
		if _, err := bundle.Decode("gitgate.yaml", []byte(text)); err != nil {
			t.Errorf("%s: Decode refuses it: %v", name, err)
		}
	}
	for _, c := range refused {
		if !c.schema {
			continue
		}
		if validate(c.text) == nil {
			t.Errorf("%s: the schema accepts it", c.name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(full))
	for _, c := range refused {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := bundle.Decode("gitgate.yaml", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v and error %v", c, err)
		}
		if err == nil {
			return
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if !strings.HasPrefix(line, "gitgate.yaml") {
				t.Errorf("error without a place: %q", line)
			}
		}
	})
}

func TestTheDocumentSaysEveryField(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		switch {
		case of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice:
			walk(of.Elem())
		case of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]():
			for i := range of.NumField() {
				name := of.Field(i).Tag.Get("json")
				if name == "" || name == "-" {
					continue
				}
				if !regexp.MustCompile("`([A-Za-z0-9.\\[\\]]+\\.)?" + name + `[\[.` + "`]").Match(text) {
					t.Errorf("docs/configuration.md does not name %s", name)
				}
				walk(of.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[bundle.Config]())
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllSubmatch(text, -1) {
		if _, err := bundle.Decode("docs/configuration.md", block[1]); err != nil {
			t.Error(err)
		}
	}
}
