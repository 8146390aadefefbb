package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// one is a decision with one violation.
func one(v policies.Violation) policies.Decision {
	return policies.Decision{
		Subject:   policies.ObjectRef{Kind: policies.GroupVersionKind{Version: "v1", Kind: "Pod"}, Name: "a", Text: "Pod a", Origin: policies.Origin{File: v.Pos.File, Line: 1}},
		Operation: policies.Create,
		Results:   []policies.Result{{Policy: &policies.Policy{Name: "p"}, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{v}}}},
	}
}

func TestWorkflowCommandsAreEscapedAsTheRunnerReadsThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		v    policies.Violation
		want string
	}{
		{"percent signs", policies.Violation{Message: "100%, really", Pos: policies.Position{File: "a.yaml", Line: 1, Column: 2}},
			"::error file=a.yaml,line=1,col=2,title=p::100%25, really\n"},
		{"a file with all separators", policies.Violation{Message: "m", Pos: policies.Position{File: "a,b:c%d.yaml", Line: 1}},
			"::error file=a%2Cb%3Ac%25d.yaml,line=1,title=p::m\n"},
		{"a rule with separators", policies.Violation{Rule: "r:s,t", Message: "m", Pos: policies.Position{File: "a.yaml"}},
			"::error file=a.yaml,title=p/r%3As%2Ct::m\n"},
		{"a message that forges a command", policies.Violation{Message: "m\n::add-mask::x", Pos: policies.Position{File: "a.yaml"}},
			"::error file=a.yaml,title=p::m ::add-mask::x\n"},
		{"a fix of two lines", policies.Violation{Message: "m", Fix: "a\r\nb", Pos: policies.Position{File: "a.yaml"}},
			"::error file=a.yaml,title=p::m%0Afix: a%0Ab\n"},
		{"columns in characters", policies.Violation{Message: "m", Pos: policies.Position{File: "a.yaml", Line: 1, Column: 9, EndColumn: 10, Text: "日本: x"}},
			"::error file=a.yaml,line=1,col=5,endColumn=6,title=p::m\n"},
		{"an object of no file", policies.Violation{Message: "m"}, "::error title=p::Pod a: m\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := render(t, "github", Options{}, []policies.Decision{one(c.v)}, Summary{}); got != c.want {
				t.Errorf("got\n%sexpected\n%s", got, c.want)
			}
		})
	}
}

// JUnit and text go to the log of a runner too when they go to stdout.
func TestNoLineOfAReportIsAWorkflowCommand(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"a\n::error::x.yaml", "::error::x.yaml", " ::stop-commands::x.yaml"} {
		d := one(policies.Violation{Message: "::debug::m", Fix: "::add-mask::x\n::group::y", Pos: policies.Position{File: file, Line: 1, Column: 1}})
		for _, format := range []string{"text", "junit"} {
			for line := range strings.Lines(render(t, format, Options{}, []policies.Decision{d}, Summary{})) {
				if strings.HasPrefix(strings.TrimLeft(line, " "), "::") {
					t.Errorf("%s of file %q has the line %q", format, file, line)
				}
			}
		}
	}
}

func TestAnnotationsAreOrderedByWeightAndAllAreTold(t *testing.T) {
	t.Parallel()
	var decisions []policies.Decision
	const n = 5000
	for i := range n {
		d := one(policies.Violation{Message: fmt.Sprintf("finding %d", i), Pos: policies.Position{File: "a.yaml", Line: i + 1}})
		p := &policies.Policy{Name: "p", Action: policies.Warn, Severity: policies.Low}
		if i == n-1 {
			p = &policies.Policy{Name: "p", Severity: policies.Critical}
		}
		d.Results[0].Policy = p
		decisions = append(decisions, d)
	}
	got := render(t, "github", Options{}, decisions, Summary{})
	all := strings.Split(strings.TrimSpace(got), "\n")
	var commands []string
	for _, line := range all {
		if strings.HasPrefix(line, "::") {
			commands = append(commands, line)
		}
	}
	if len(all) != n || len(commands) != maxAnnotations {
		t.Fatalf("%d lines, %d of them annotations; expected %d and %d", len(all), len(commands), n, maxAnnotations)
	}
	if !strings.Contains(commands[0], "finding 4999") || !strings.Contains(commands[1], "finding 0") {
		t.Errorf("first come\n%s\n%s\nexpected the critical one and then the first", commands[0], commands[1])
	}
}

func TestGitLabSeverities(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		severity policies.Severity
		action   policies.Action
		want     string
	}{
		{policies.Info, policies.Deny, "info"}, {policies.Low, policies.Deny, "minor"}, {policies.Medium, policies.Deny, "major"},
		{policies.High, policies.Warn, "critical"}, {policies.Critical, policies.Audit, "blocker"},
		{"", policies.Deny, "major"}, {"", policies.Warn, "minor"}, {"", policies.Audit, "info"},
	} {
		d := one(policies.Violation{Message: "m", Pos: policies.Position{File: "a.yaml"}})
		d.Results[0].Policy = &policies.Policy{Name: "p", Severity: c.severity, Action: c.action}
		var issues []gitlabIssue
		if err := json.Unmarshal([]byte(render(t, "gitlab", Options{}, []policies.Decision{d}, Summary{})), &issues); err != nil {
			t.Fatal(err)
		}
		if issues[0].Severity != c.want || issues[0].Location.Lines.Begin != 1 {
			t.Errorf("severity %q and action %s become %+v, expected %s on line 1", c.severity, c.action, issues[0], c.want)
		}
	}
}

func prints(t *testing.T, decisions ...policies.Decision) []string {
	t.Helper()
	var issues []gitlabIssue
	if err := json.Unmarshal([]byte(render(t, "gitlab", Options{}, decisions, Summary{})), &issues); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range issues {
		out = append(out, i.Fingerprint)
	}
	return out
}

func TestFingerprintsStayWhenLinesMoveAndAreUniqueInAFile(t *testing.T) {
	t.Parallel()
	v := policies.Violation{Rule: "r", Message: "declared twice, also at a.yaml:12:1", Path: policies.Path{"spec"}, Pos: policies.Position{File: "a.yaml", Line: 3, Column: 1, Text: "spec:"}}
	base := prints(t, one(v))[0]

	moved := v
	moved.Message, moved.Pos.Line, moved.Pos.Column = "declared twice, also at a.yaml:112:1", 103, 3
	if got := prints(t, one(moved))[0]; got != base {
		t.Error("a finding that only moved has another fingerprint")
	}
	for name, change := range map[string]func(*policies.Violation){
		"rule":    func(v *policies.Violation) { v.Rule = "s" },
		"message": func(v *policies.Violation) { v.Message = "no label" },
		"field":   func(v *policies.Violation) { v.Path = policies.Path{"data"} },
		"file":    func(v *policies.Violation) { v.Pos.File = "b.yaml" },
	} {
		other := v
		change(&other)
		if got := prints(t, one(other))[0]; got == base {
			t.Errorf("a finding of another %s has the same fingerprint", name)
		}
	}
	renamed := one(v)
	renamed.Subject.Name = "b"
	if got := prints(t, renamed)[0]; got == base {
		t.Error("a finding of another object has the same fingerprint")
	}
	same := prints(t, one(v), one(v), one(v))
	if same[0] != base || same[1] == same[0] || same[2] == same[1] || same[2] == same[0] {
		t.Errorf("three equal findings of a file have the fingerprints %v, expected three different ones", same)
	}
	if again := prints(t, one(v), one(v), one(v)); again[1] != same[1] {
		t.Error("fingerprints differ from run to run")
	}
	first, _ := (&Options{Root: "/src", Dir: "/src"}).fromRoot("apps/a.yaml")
	second, _ := (&Options{Root: "/src", Dir: "/src/apps"}).fromRoot("a.yaml")
	if first != second {
		t.Errorf("a file is named %q and %q, expected one name from each folder", first, second)
	}
}

func TestSARIFMessagesHoldNeitherLinksNorPlaceholders(t *testing.T) {
	t.Parallel()
	got := sarifPlain("see [here](https://example.com) for {0} and {x: 1}")
	if want := "see [here] (https://example.com) for {{0}} and {x: 1}"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}

func TestSARIFTellsEveryFailureThoughItKeepsFew(t *testing.T) {
	t.Parallel()
	var decisions []policies.Decision
	for range maxNotes + 7 {
		d := one(policies.Violation{})
		d.Results[0] = policies.Result{Policy: &policies.Policy{Name: "p"}, Outcome: policies.Failed}
		decisions = append(decisions, d)
	}
	var log struct {
		Runs []struct {
			Invocations []sarifInvocation
		}
	}
	got := render(t, "sarif", Options{}, decisions, Summary{})
	checkDocument(t, "sarif", got)
	if err := json.Unmarshal([]byte(got), &log); err != nil {
		t.Fatal(err)
	}
	notes := log.Runs[0].Invocations[0].Notifications
	if len(notes) != maxNotes+1 || notes[maxNotes].Message.Text != "could not judge: 7 objects more" {
		t.Errorf("%d notifications, the last says %q", len(notes), notes[len(notes)-1].Message.Text)
	}
}
