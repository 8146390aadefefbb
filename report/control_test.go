package report

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestControlsAreReadAndOrderedAsTheirCataloguesAre(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]control{
		"CIS Kubernetes 1.10 5.2.2":  {"CIS Kubernetes 1.10", "5.2.2"},
		"ISO/IEC 27001:2022  A.8.9 ": {"ISO/IEC 27001:2022", "A.8.9"},
		"OWN-7":                      {"", "OWN-7"},
		" ":                          {},
	} {
		if got := controlOf(name); got != want {
			t.Errorf("%q is read as %q, expected %q", name, got, want)
		}
	}
	want := []string{"OWN-7", "OWN-12", "CIS 5.1.2", "CIS 5.1.10", "CIS 5.2", "CIS 5.2.1", "ISO A.5.17", "ISO A.8.9", "NIST AC-6", "NIST AC-6(9)", "NIST AC-6(10)", "NIST AU-2", ""}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int { return compareControls(controlOf(a), controlOf(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("order is %q, expected %q", got, want)
	}
	for _, a := range want {
		for _, b := range want {
			if compareControls(controlOf(a), controlOf(b)) != -compareControls(controlOf(b), controlOf(a)) {
				t.Errorf("%q and %q have no order", a, b)
			}
		}
	}
}

func TestAnObjectCountsOnceForAControlByTheGravest(t *testing.T) {
	t.Parallel()
	policy := func(name string, action policies.Action) *policies.Policy {
		return &policies.Policy{Name: name, Action: action, Controls: []string{"CIS 1", "CIS 1"}}
	}
	a, b := policy("a", policies.Deny), policy("b", policies.Audit)
	violated := func(p *policies.Policy, exempted bool) policies.Result {
		r := policies.Result{Policy: p, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{{Message: "m"}}}}
		if exempted {
			r.Exempted = []*policies.Exemption{{Reason: "r"}}
		}
		return r
	}
	for _, c := range []struct {
		name    string
		results []policies.Result
		want    jsonStandings
	}{
		{"both pass", []policies.Result{{Policy: a, Outcome: policies.Passed}, {Policy: b, Outcome: policies.Passed}}, jsonStandings{Passed: 1}},
		{"one passes, one has nothing to say", []policies.Result{{Policy: a, Outcome: policies.Passed}, {Policy: b, Outcome: policies.Skipped}}, jsonStandings{Passed: 1}},
		{"none has anything to say", []policies.Result{{Policy: a, Outcome: policies.Skipped}}, jsonStandings{NotApplicable: 1}},
		{"none is asked", nil, jsonStandings{NotApplicable: 1}},
		{"one passes, one is exempt", []policies.Result{{Policy: a, Outcome: policies.Passed}, violated(b, true)}, jsonStandings{Exempt: 1}},
		{"one is exempt, one deferred", []policies.Result{violated(a, true), {Policy: b, Outcome: policies.Deferred}}, jsonStandings{Deferred: 1}},
		{"one is deferred, one could not judge", []policies.Result{{Policy: a, Outcome: policies.Deferred}, {Policy: b, Outcome: policies.Failed, Err: errors.New("e")}}, jsonStandings{NotJudged: 1}},
		{"one could not judge, one is only recorded", []policies.Result{{Policy: a, Outcome: policies.Failed, Err: errors.New("e")}, violated(b, false)}, jsonStandings{Violated: 1}},
		{"an outcome that is none", []policies.Result{{Policy: a}}, jsonStandings{NotJudged: 1}},
	} {
		d := policies.Decision{Subject: ref(policies.GroupVersionKind{Version: "v1", Kind: "Pod"}, "shop", "web", "web.yaml", 0, 1), Results: c.results}
		var told struct {
			Controls []jsonControl
			Summary  struct{ Objects int }
		}
		if err := json.Unmarshal([]byte(render(t, "json", Options{ByControl: true}, []policies.Decision{d}, Summary{Objects: 1, Policies: []*policies.Policy{b, a}})), &told); err != nil {
			t.Fatal(err)
		}
		if len(told.Controls) != 1 || told.Controls[0].Objects != c.want || !slices.Equal(told.Controls[0].Policies, []string{"a", "b"}) {
			t.Errorf("%s: got %+v, expected %+v", c.name, told.Controls, c.want)
		}
	}
}

func TestWhatIsFoundByPoliciesWithoutAControlIsNotLost(t *testing.T) {
	t.Parallel()
	decisions, s := fleet()
	text := render(t, "text", Options{ByControl: true}, decisions, s)
	for _, d := range decisions {
		for _, r := range d.Results {
			for i, v := range r.Finding.Violations {
				if r.Standing(i) && !isSecret(&d) && !strings.Contains(text, visible(oneLine(v.Message))) {
					t.Errorf("the text lacks %q", v.Message)
				}
			}
		}
	}
	checkDocument(t, "text", text)
	checkDocument(t, "json", render(t, "json", Options{ByControl: true}, decisions, s))
}

func TestOtherFormatsSayNothingByControl(t *testing.T) {
	t.Parallel()
	for _, format := range Formats() {
		_, err := New(format, nil, Options{ByControl: true})
		if slices.Contains(ControlFormats(), format) != (err == nil) {
			t.Errorf("%s: error is %v", format, err)
		}
	}
}
