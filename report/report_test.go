package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gitgate.dev/gitgate/policies"
)

var update = flag.Bool("update", false, "write the golden files and the examples of docs/output.md")

func render(t testing.TB, format string, o Options, decisions []policies.Decision, s Summary) string {
	t.Helper()
	var b bytes.Buffer
	sink, err := New(format, &b, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		if err := sink.Decision(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./report -update rewrites it); got:\n%s", file, got)
	}
}

func TestEachFormatWritesTheSameRunAsBefore(t *testing.T) {
	t.Parallel()
	cases := []struct {
		golden, format string
		opts           Options
	}{
		{"text.golden", "text", Options{}},
		{"text-verbose.golden", "text", Options{Verbose: true}},
		{"text-narrow.golden", "text", Options{Width: 40, Verbose: true}},
		{"text-color.golden", "text", Options{Color: true}},
		{"report.json", "json", Options{Version: "v0.1.0"}},
		{"report.sarif", "sarif", Options{Version: "v0.1.0"}},
		{"junit.xml", "junit", Options{}},
		{"junit-fail-on-warn.xml", "junit", Options{FailOnWarn: true}},
		{"by-control.golden", "text", Options{ByControl: true, Verbose: true}},
		{"by-control.json", "json", Options{Version: "v0.1.0", ByControl: true}},
		{"github.golden", "github", Options{}},
		{"gitlab.json", "gitlab", Options{}},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			t.Parallel()
			decisions, s := fleet()
			golden(t, c.golden, render(t, c.format, c.opts, decisions, s))
		})
	}
	t.Run("summary.golden", func(t *testing.T) {
		t.Parallel()
		_, s := fleet()
		var b bytes.Buffer
		if err := WriteSummary(&b, s); err != nil {
			t.Fatal(err)
		}
		golden(t, "summary.golden", b.String())
	})
}

func TestARunWithoutDecisionsIsAValidDocumentInEachFormat(t *testing.T) {
	t.Parallel()
	for _, format := range Formats() {
		got := render(t, format, Options{}, nil, Summary{Verdict: policies.Allow})
		checkDocument(t, format, got)
		switch format {
		case "text", "github":
			if got != "" {
				t.Errorf("%s of nothing is %q, expected nothing", format, got)
			}
		default:
			if got == "" {
				t.Errorf("%s of nothing is empty, expected a document", format)
			}
		}
	}
}

// checkDocument fails the test when got is not well-formed, or breaks the schema of its format.
func checkDocument(t testing.TB, format, got string) {
	t.Helper()
	switch format {
	case "json":
		validate(t, schemaOf(t, "schema/report-v1.schema.json"), got)
	case "sarif":
		validate(t, schemaOf(t, "testdata/sarif-schema-2.1.0.json"), got)
	case "gitlab":
		validate(t, schemaOf(t, "testdata/gitlab-code-quality.schema.json"), got)
	case "junit":
		checkJUnit(t, got)
	default:
		for _, r := range got {
			if r != '\n' && !shows(r) {
				t.Fatalf("%s holds the raw character %U:\n%q", format, r, got)
			}
		}
	}
}

func schemaOf(t testing.TB, file string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("https://example.com/schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("https://example.com/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t testing.TB, schema *jsonschema.Schema, text string) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	if err := schema.Validate(doc); err != nil {
		t.Fatalf("breaks its schema: %v\n%s", err, text)
	}
}

// checkJSON fails the test when got is not one JSON document or shows raw what a terminal could obey.
func checkJSON(t testing.TB, format, got string) {
	t.Helper()
	if !json.Valid([]byte(got)) {
		t.Fatalf("%s is not JSON:\n%s", format, got)
	}
	for _, r := range got {
		if r != '\n' && !shows(r) {
			t.Fatalf("%s holds the raw character %U:\n%q", format, r, got)
		}
	}
}

func TestMachineFormatsKeepTheirSchemas(t *testing.T) {
	t.Parallel()
	decisions, s := fleet()
	for _, format := range []string{"json", "sarif", "gitlab", "junit"} {
		checkDocument(t, format, render(t, format, Options{Version: "v0.1.0", Root: "/src", Dir: "/src"}, decisions, s))
	}
}

// Every property that the json format writes is in its schema, so that the schema cannot fall behind.
func TestTheJSONSchemaKnowsEveryFieldThatIsWritten(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	decisions, s := fleet()
	var doc any
	if err := json.Unmarshal([]byte(render(t, "json", Options{Version: "v0.1.0"}, decisions, s)), &doc); err != nil {
		t.Fatal(err)
	}
	defs := schema["$defs"].(map[string]any)
	var walk func(at string, schema map[string]any, doc any)
	walk = func(at string, schema map[string]any, doc any) {
		if ref, ok := schema["$ref"].(string); ok {
			schema = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		switch doc := doc.(type) {
		case map[string]any:
			properties, _ := schema["properties"].(map[string]any)
			for key, value := range doc {
				sub, ok := properties[key].(map[string]any)
				if !ok {
					t.Errorf("%s.%s is not in the schema", at, key)
					continue
				}
				if _, ok := sub["description"]; !ok && sub["$ref"] == nil {
					t.Errorf("%s.%s is not described", at, key)
				}
				walk(at+"."+key, sub, value)
			}
		case []any:
			for _, item := range doc {
				walk(at+"[]", schema["items"].(map[string]any), item)
			}
		}
	}
	walk("", schema, doc)
}

// junitSuite is what junit-10.xsd of Jenkins's xUnit plugin demands of a testsuite.
type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Attrs   []xml.Attr `xml:",any,attr"`
	Failure []struct{} `xml:"failure"`
	Error   []struct{} `xml:"error"`
	Skipped []struct{} `xml:"skipped"`
}

func checkJUnit(t testing.TB, text string) {
	t.Helper()
	var doc struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("not XML: %v\n%s", err, text)
	}
	for _, s := range doc.Suites {
		failures, errs, skipped := 0, 0, 0
		for _, c := range s.Cases {
			failures, errs, skipped = failures+len(c.Failure), errs+len(c.Error), skipped+len(c.Skipped)
			if n := len(c.Failure) + len(c.Error) + len(c.Skipped); n > 1 {
				t.Errorf("a testcase of %s has %d outcomes, expected at most one", s.Name, n)
			}
			for _, a := range c.Attrs {
				if a.Name.Local != "name" && a.Name.Local != "classname" {
					t.Errorf("a testcase of %s has the attribute %s, which junit-10.xsd does not allow", s.Name, a.Name.Local)
				}
			}
		}
		if s.Name == "" || s.Tests != len(s.Cases) || s.Failures != failures || s.Errors != errs || s.Skipped != skipped {
			t.Errorf("testsuite %+v counts wrong: %d testcases, %d failures, %d errors, %d skipped", s, len(s.Cases), failures, errs, skipped)
		}
	}
}

func TestAnUnknownFormatIsRefusedWithTheKnownOnes(t *testing.T) {
	t.Parallel()
	_, err := New("yaml", io.Discard, Options{})
	if err == nil || err.Error() != `output format "yaml" is not known, expected one of github, gitlab, json, junit, sarif, text` {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAnOutputThatCannotBeWrittenIsAnErrorInEachFormat(t *testing.T) {
	t.Parallel()
	for _, format := range Formats() {
		decisions, s := fleet()
		sink, err := New(format, brokenWriter{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got error
		for _, d := range decisions {
			got = errors.Join(got, sink.Decision(d))
		}
		got = errors.Join(got, sink.Close(s))
		if got == nil || !strings.Contains(got.Error(), "no space left on device") {
			t.Errorf("%s: got %v, expected the writer's error", format, got)
		}
	}
}
