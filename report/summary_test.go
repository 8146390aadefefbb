package report

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func result(outcome policies.Outcome, action policies.Action) policies.Result {
	r := policies.Result{Policy: &policies.Policy{Name: "p-" + action.String(), Action: action}, Outcome: outcome}
	switch outcome {
	case policies.Violated:
		r.Finding.Violations = []policies.Violation{{Message: "m"}}
	case policies.Failed:
		r.Err = errors.New("no answer")
	case policies.Deferred:
		r.Missing = "the network"
	}
	return r
}

func TestTheExitCodeFollowsFromTheVerdict(t *testing.T) {
	t.Parallel()
	deny, warn, audit := result(policies.Violated, policies.Deny), result(policies.Violated, policies.Warn), result(policies.Violated, policies.Audit)
	fail, failWarn := result(policies.Failed, policies.Deny), result(policies.Failed, policies.Warn)
	exempted := result(policies.Violated, policies.Deny)
	exempted.Exempted = []*policies.Exemption{{Reason: "known"}}
	softened := result(policies.Violated, policies.Deny)
	softened.Finding.Violations[0].Warning = true
	for _, c := range []struct {
		name       string
		results    []policies.Result
		exit       int
		failOnWarn int
	}{
		{"nothing", nil, 0, 0},
		{"passed", []policies.Result{result(policies.Passed, policies.Deny)}, 0, 0},
		{"deferred", []policies.Result{result(policies.Deferred, policies.Deny)}, 0, 0},
		{"audited", []policies.Result{audit}, 0, 0},
		{"warned", []policies.Result{warn}, 0, 1},
		{"softened to a warning", []policies.Result{softened}, 0, 1},
		{"denied", []policies.Result{deny}, 1, 1},
		{"exempted", []policies.Result{exempted}, 0, 0},
		{"unsure", []policies.Result{fail}, 3, 3},
		{"unsure of a warning", []policies.Result{failWarn}, 0, 3},
		{"denied beats unsure", []policies.Result{fail, deny}, 1, 1},
		{"a warning that counts beats unsure", []policies.Result{fail, warn}, 3, 1},
		{"an outcome of no name is not a good one", []policies.Result{result(0, policies.Deny)}, 3, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, failOnWarn := range []bool{false, true} {
				want := c.exit
				if failOnWarn {
					want = c.failOnWarn
				}
				d := policies.Decision{Results: c.results}
				s := Summary{FailOnWarn: failOnWarn}
				s.Count(&d)
				if got := ExitCode(s.Verdict); got != want {
					t.Errorf("with fail-on-warn %v: exit code %d, expected %d", failOnWarn, got, want)
				}
			}
		})
	}
	if got := ExitCode(0); got != ExitUnsure {
		t.Errorf("no verdict exits with %d, expected %d", got, ExitUnsure)
	}
}

// The exit code is the summary's in each format that tells it, and no format changes the counts.
func TestTheExitCodeIsEqualInEachFormat(t *testing.T) {
	t.Parallel()
	decisions, s := fleet()
	var sarif struct {
		Runs []struct{ Invocations []struct{ ExitCode int } }
	}
	if err := json.Unmarshal([]byte(render(t, "sarif", Options{}, decisions, s)), &sarif); err != nil {
		t.Fatal(err)
	}
	var doc struct{ Summary struct{ ExitCode int } }
	if err := json.Unmarshal([]byte(render(t, "json", Options{}, decisions, s)), &doc); err != nil {
		t.Fatal(err)
	}
	if got := sarif.Runs[0].Invocations[0].ExitCode; got != s.ExitCode || doc.Summary.ExitCode != s.ExitCode || s.ExitCode != ExitDenied {
		t.Errorf("sarif says %d, json %d, the summary %d; expected 1 of all", got, doc.Summary.ExitCode, s.ExitCode)
	}
}

func TestTheSummaryIsASentence(t *testing.T) {
	t.Parallel()
	pass, deny, warn := result(policies.Passed, policies.Deny), result(policies.Violated, policies.Deny), result(policies.Violated, policies.Warn)
	unsure, later := result(policies.Failed, policies.Deny), result(policies.Deferred, policies.Deny)
	two := deny
	two.Finding.Violations = []policies.Violation{{Message: "m"}, {Message: "n"}}
	for _, c := range []struct {
		name    string
		s       Summary
		objects [][]policies.Result
		want    string
	}{
		{"one of everything", Summary{Files: 1, Policies: make([]*policies.Policy, 1)}, [][]policies.Result{{pass}},
			"checked 1 object in 1 file with 1 policy: all passed\n"},
		{"many", Summary{Files: 2, Policies: make([]*policies.Policy, 3), Digest: "sha256:0123456789abcdef0123"}, [][]policies.Result{{pass}, {deny}, {deny}, {warn}},
			"checked 4 objects in 2 files with 3 policies (bundle sha256:0123456789ab…): 2 denied, 1 warned\n"},
		{"more violations than objects", Summary{}, [][]policies.Result{{two}},
			"checked 1 object in 0 files with 0 policies: 1 denied (2 violations)\n"},
		{"a warning about a denied object", Summary{}, [][]policies.Result{{deny, warn}},
			"checked 1 object in 0 files with 0 policies: 1 denied, 1 warning\n"},
		{"more warnings than objects", Summary{}, [][]policies.Result{{warn, warn}},
			"checked 1 object in 0 files with 0 policies: 1 warned (2 warnings)\n"},
		{"a failure on a denied object", Summary{}, [][]policies.Result{{deny, unsure}},
			"checked 1 object in 0 files with 0 policies: 1 denied, 1 policy could not judge\n"},
		{"could not judge is no denial", Summary{}, [][]policies.Result{{unsure}},
			"checked 1 object in 0 files with 0 policies: 1 could not be judged\n"},
		{"deferred is not passed", Summary{}, [][]policies.Result{{later}},
			"checked 1 object in 0 files with 0 policies: none denied, 1 deferred policy: p-deny (needs the network)\n"},
		{"nothing", Summary{}, nil, "checked 0 objects in 0 files with 0 policies: none denied\n"},
		{"stopped", Summary{Stopped: "interrupted"}, [][]policies.Result{{pass}},
			"checked 1 object in 0 files with 0 policies: none denied\nstopped before everything was judged: interrupted\n"},
		{"a name that would forge a line", Summary{Skipped: []Skipped{{"a\nb\x1b[2J", "no\nmanifest"}}}, nil,
			"checked 0 objects in 0 files with 0 policies: none denied\nskipped 1 file (no manifest): a\\nb\\x1b[2J\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.s
			s.Objects = len(c.objects)
			for _, results := range c.objects {
				s.Count(&policies.Decision{Results: results})
			}
			var b strings.Builder
			if err := WriteSummary(&b, s); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("got\n%sexpected\n%s", b.String(), c.want)
			}
		})
	}
}

func TestManySkippedFilesAreCountedByReason(t *testing.T) {
	t.Parallel()
	s := Summary{}
	for _, name := range strings.Split("abcdefg", "") {
		s.Skipped = append(s.Skipped, Skipped{name, "no manifest"})
	}
	s.Skipped = append(s.Skipped, Skipped{"x", "excluded by gitgate.yaml"})
	got := strings.Join(s.skippedLines(), "\n")
	if want := "skipped 7 files (no manifest): a, b, c, d, e and 2 more\nskipped 1 file (excluded by gitgate.yaml): x"; got != want {
		t.Errorf("got\n%s\nexpected\n%s", got, want)
	}
}

func TestWhatADeferralNeedsIsBounded(t *testing.T) {
	t.Parallel()
	var s Summary
	for _, what := range []string{"a", "b", "a", "c", "d", "e"} {
		r := result(policies.Deferred, policies.Deny)
		r.Missing = what
		s.Count(&policies.Decision{Results: []policies.Result{r}})
	}
	if d := s.Deferred[0]; len(s.Deferred) != 1 || strings.Join(d.Needs, "") != "abc" || d.Objects != 6 {
		t.Errorf("got %+v", s.Deferred)
	}
}
