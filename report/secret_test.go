package report

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestValuesOfSecretsAreInNoReport(t *testing.T) {
	t.Parallel()
	password := policies.Path{"data", "password"}
	for _, c := range []struct {
		name    string
		path    policies.Path
		text    string
		message string
		line    string // the source line that is shown
		says    string // the message that is shown
	}{
		{"a plain value", password, "  password: aHVudGVyMg==", "data.password is aHVudGVyMg==", "  password: ***", "data.password is ***"},
		{"its decoded form", password, "  password: aHVudGVyMg==", "the password hunter2 is weak", "  password: ***", "the password *** is weak"},
		{"a quoted value", policies.Path{"stringData", "pin"}, `  "pin": "hunter2",`, "pin is hunter2", `  "pin": ***`, "pin is ***"},
		{"a value that only the message has", password, "", `"hunter2" is not base64`, "", `"***" is not base64`},
		{"the key stays in the message", password, "", `key "password" is "hunter2"`, "", `key "password" is "***"`},
		{"a line of a block scalar", policies.Path{"stringData", "conf"}, "    hunter2: x", "bad", "    ***", "bad"},
		{"a flow mapping", password, `data: {password: hunter2}`, "bad", "data: ***", "bad"},
		{"one line of JSON", policies.Path{"metadata", "name"}, `{"kind":"Secret","data":{"p":"hunter2"}}`, "bad name", "***", "bad name"},
		{"the last applied configuration", policies.Path{"metadata", "annotations", "x"}, `    x: '{"data":{"p":"hunter2"}}'`, "bad", "    x: ***", "bad"},
		{"a field that is open", policies.Path{"metadata", "name"}, "  name: db_1", `metadata.name is "db_1"`, "  name: db_1", `metadata.name is "db_1"`},
		{"the kind", nil, "kind: Secret", "Secret shop/db has no owner", "kind: Secret", "Secret shop/db has no owner"},
		{"the key of a map", policies.Path{"data"}, "data:", "bad", "data:", "bad"},
		{"what a field named kind in the data has", policies.Path{"data", "kind"}, "  kind: hunter2", "bad", "  kind: ***", "bad"},
		{"a line that is masked already", password, "  password: ***", "bad", "  password: ***", "bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := policies.Decision{
				Subject: policies.ObjectRef{Kind: policies.GroupVersionKind{Version: "v1", Kind: "Secret"}, Name: "db", Text: "Secret shop/db", Origin: policies.Origin{File: "a.yaml"}},
				Results: []policies.Result{{
					Policy: &policies.Policy{Name: "p"}, Outcome: policies.Violated,
					Finding: policies.Finding{Violations: []policies.Violation{{
						Message: c.message, Path: c.path, Pos: policies.Position{File: "a.yaml", Line: 9, Column: 3, EndColumn: 30, Text: c.text},
					}}},
				}},
			}
			f := flattener{prints: fingerprints{name: func(s string) string { return s }}}
			r := f.rows(&d)[0]
			if r.pos.Text != c.line || r.message != c.says {
				t.Errorf("shown are %q and %q, expected %q and %q", r.pos.Text, r.message, c.line, c.says)
			}
			for _, format := range Formats() {
				got := render(t, format, Options{Verbose: true}, []policies.Decision{d}, Summary{})
				if strings.Contains(got, "hunter2") || strings.Contains(got, "aHVudGVyMg") {
					t.Errorf("%s tells the value:\n%s", format, got)
				}
			}
		})
	}
}
