package report_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/report"
)

func decisionOn(kind string, results ...policies.Result) *policies.Decision {
	o := policies.NewObject(map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "c", "namespace": "shop"}}, policies.Origin{}, nil, nil)
	return &policies.Decision{Subject: policies.RefOf(o), Operation: policies.Create, Results: results}
}

func violated(name string, action policies.Action, vs ...policies.Violation) policies.Result {
	return policies.Result{Policy: &policies.Policy{Name: name, Action: action}, Outcome: policies.Violated, Finding: policies.Finding{Violations: vs}}
}

func TestARequestIsToldWhyItIsRefused(t *testing.T) {
	field := policies.Path{"data", "n"}
	failed := policies.Result{Policy: &policies.Policy{Name: "down"}, Outcome: policies.Failed, Err: errors.New("registry is down")}
	failedWarning := policies.Result{Policy: &policies.Policy{Name: "down", Action: policies.Warn}, Outcome: policies.Failed, Err: errors.New("registry is down")}
	exempted := violated("p", policies.Deny, policies.Violation{Message: "no"})
	exempted.Exempted = []*policies.Exemption{{Reason: "r"}}
	moded := violated("p", policies.Deny, policies.Violation{Message: "no"})
	moded.Mode = &policies.Mode{Action: policies.Warn}
	for _, tc := range []struct {
		name     string
		d        *policies.Decision
		message  string
		warnings string
		causes   string
	}{
		{"nothing to tell", decisionOn("ConfigMap"), "", "[]", "[]"},
		{
			"the object, the field, the rule and what to do", decisionOn("ConfigMap", violated("p", policies.Deny, policies.Violation{Rule: "r", Message: "expected 1", Path: field, Fix: "write 1\nand merge"})),
			"ConfigMap shop/c: data.n: expected 1 [p/r]\n  fix: write 1\n     | and merge", "[]", "[{p/r data.n expected 1}]",
		},
		{
			"a field that the message names is not named twice", decisionOn("ConfigMap", violated("p", policies.Deny, policies.Violation{Message: "data.n is wrong", Path: field})),
			"ConfigMap shop/c: data.n is wrong [p]", "[]", "[{p data.n data.n is wrong}]",
		},
		{
			"an object that the message names is not named twice", decisionOn("ConfigMap", violated("p", policies.Deny, policies.Violation{Message: "ConfigMap shop/c is not declared"})),
			"ConfigMap shop/c is not declared [p]", "[]", "[{p  ConfigMap shop/c is not declared}]",
		},
		{
			"the place in Git", decisionOn("ConfigMap", violated("trace", policies.Deny, policies.Violation{Message: "no", Pos: policies.Position{File: "a.yaml", Line: 3, Column: 2}})),
			"ConfigMap shop/c: no [trace]\n  at: a.yaml:3:2", "[]", "[{trace  no}]",
		},
		{
			"every violation, and warnings beside them", decisionOn("ConfigMap", violated("p", policies.Deny, policies.Violation{Message: "one"}, policies.Violation{Message: "two"}), violated("w", policies.Warn, policies.Violation{Message: "mind\nthis"}), violated("a", policies.Audit, policies.Violation{Message: "noted"})),
			"ConfigMap shop/c: one [p]\nConfigMap shop/c: two [p]", "[ConfigMap shop/c: mind this [w]]", "[{p  one} {p  two}]",
		},
		{"what could not be judged is not worded as a denial", decisionOn("ConfigMap", failed), "could not judge: ConfigMap shop/c: registry is down [down]", "[]", "[{down  ConfigMap shop/c: registry is down}]"},
		{"a policy that only warns and could not judge", decisionOn("ConfigMap", failedWarning), "", "[could not judge: ConfigMap shop/c: registry is down [down]]", "[]"},
		{"an exempted violation is not told", decisionOn("ConfigMap", exempted), "", "[]", "[]"},
		{"a mode makes it a warning", decisionOn("ConfigMap", moded), "", "[ConfigMap shop/c: no [p]]", "[]"},
		{"control characters do not steer a terminal", decisionOn("ConfigMap", violated("p", policies.Deny, policies.Violation{Message: "x\x1b[31m"})), `ConfigMap shop/c: x\x1b[31m [p]`, "[]", `[{p  x\x1b[31m}]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			told := report.Admission(tc.d)
			if told.Message != tc.message {
				t.Errorf("message\n%s\nwant\n%s", told.Message, tc.message)
			}
			if got := fmt.Sprint(told.Warnings); got != tc.warnings {
				t.Errorf("warnings %s, want %s", got, tc.warnings)
			}
			if got := fmt.Sprint(told.Causes); got != tc.causes {
				t.Errorf("causes %s, want %s", got, tc.causes)
			}
		})
	}
}

func TestWhatIsToldOfARequestIsBounded(t *testing.T) {
	var many []policies.Violation
	for i := range 1000 {
		many = append(many, policies.Violation{Message: fmt.Sprintf("%d %s", i, strings.Repeat("ä", 300))})
	}
	d := decisionOn("ConfigMap", violated("p", policies.Deny, many...), violated("w", policies.Warn, many...))
	told := report.Admission(d)
	if len(told.Message) > 9<<10 || !strings.Contains(told.Message, "more") {
		t.Errorf("message has %d bytes and ends with %q", len(told.Message), told.Message[len(told.Message)-40:])
	}
	total := 0
	for _, w := range told.Warnings {
		if total += len(w); len(w) > 256 || strings.Contains(w, "\n") || !utf8.ValidString(w) {
			t.Errorf("warning %q", w)
		}
	}
	if total > 4096 || !strings.HasPrefix(told.Warnings[len(told.Warnings)-1], "and ") {
		t.Errorf("%d bytes of warnings, the last is %q", total, told.Warnings[len(told.Warnings)-1])
	}
	if len(told.Causes) != 20 {
		t.Errorf("%d causes", len(told.Causes))
	}
	long := decisionOn("ConfigMap", violated("p", policies.Deny, policies.Violation{Message: strings.Repeat("x", 100<<10)}))
	if told := report.Admission(long); len(told.Message) > 8<<10 {
		t.Errorf("one message has %d bytes", len(told.Message))
	}
}

// A Secret's values are taken out by the engine; a line of a report never adds one.
func TestASecretIsNotQuoted(t *testing.T) {
	d := decisionOn("Secret", violated("p", policies.Deny, policies.Violation{Message: `data.password: "aHVudGVyMg==" is not "b3RoZXI="`, Path: policies.Path{"data", "password"}}))
	if told := report.Admission(d); strings.Contains(told.Message, "aHVudGVyMg") || strings.Contains(fmt.Sprint(told.Causes), "b3RoZXI") {
		t.Errorf("told %q", told.Message)
	}
}
