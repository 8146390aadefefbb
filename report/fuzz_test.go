package report

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
)

// FuzzFormats puts hostile content everywhere where content of a change set can come: no sink may write what is not of its format.
func FuzzFormats(f *testing.F) {
	f.Add("Pod", "web", "apps/web.yaml", "no label owner", "add\na label", "  name: web", 3, 9, 12, "policy", byte(3))
	f.Add("Secret", "db\x1b[31m", "a\n::error::b", "x\r\n##vso[a]\u202e", "\u2028", "\tpass: \xff\x00日本", 1, 2, 900, "p,q:r%", byte(0x57))
	f.Add("", "", "", "", "", "]]>&<\"'", -1, -5, 1<<40, "", byte(0xff))
	f.Fuzz(func(t *testing.T, kind, name, file, message, fix, text string, line, column, end int, policy string, bits byte) {
		p := &policies.Policy{Name: policy, Kind: name, Doc: message, URL: file, Severity: policies.High, Action: policies.Action(bits % 3), Controls: []string{fix}, Rules: []string{kind}}
		x := &policies.Exemption{Reason: message, Pos: policies.Position{File: file, Line: line}, Until: time.Unix(int64(line%1e9), 0)}
		v := policies.Violation{Rule: kind, Message: message, Path: policies.Path{"data", name, column}, Fix: fix, URL: file,
			Pos: policies.Position{File: file, Line: line, Column: column, EndColumn: end, Text: text}}
		d := policies.Decision{
			Subject:   policies.ObjectRef{Kind: policies.GroupVersionKind{Version: "v1", Kind: kind}, Namespace: fix, Name: name, Text: kind + " " + name, Origin: policies.Origin{File: file, Line: line, Column: column}},
			Operation: policies.Create,
			Results: []policies.Result{
				{Policy: p, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{v, v}}, Exempted: []*policies.Exemption{x, nil}},
				{Policy: p, Outcome: policies.Outcome(bits % 7), Missing: message, Finding: policies.Finding{Skipped: fix, Evidence: []policies.Evidence{{Kind: kind, Value: text}}}},
			},
		}
		s := Summary{Digest: name, Policies: []*policies.Policy{p}, Skipped: []Skipped{{file, message}}, Stopped: fix, FailOnWarn: bits&0x40 != 0}
		s.Count(&d)
		s.ExitCode = ExitCode(s.Verdict)
		for _, format := range []string{"text", "github", "junit"} {
			checkDocument(t, format, render(t, format, Options{Verbose: true, Width: int(bits), FailOnWarn: s.FailOnWarn}, []policies.Decision{d, d}, s))
		}
		for _, format := range []string{"json", "sarif", "gitlab"} {
			got := render(t, format, Options{Version: name, Root: "/src", Dir: "/src"}, []policies.Decision{d, d}, s)
			checkJSON(t, format, got)
		}
		var b strings.Builder
		if err := WriteSummary(&b, s); err != nil {
			t.Fatal(err)
		}
		checkDocument(t, "text", b.String())
	})
}
