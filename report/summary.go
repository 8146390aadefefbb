package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Exit codes, the same for every format.
const (
	ExitOK     = 0 // nothing that is denied
	ExitDenied = 1 // a policy that denies is broken, or a manifest is malformed
	ExitUsage  = 2 // wrong usage or configuration, or nothing to check
	ExitUnsure = 3 // something could not be judged
)

// ExitCode is the exit code of a verdict. No verdict is not a good one.
func ExitCode(v policies.Verdict) int {
	switch v {
	case policies.Allow, policies.AllowWarn:
		return ExitOK
	case policies.Denied:
		return ExitDenied
	default:
		return ExitUnsure
	}
}

// Summary is what is to be said of a whole run.
type Summary struct {
	Digest     string             // of the bundle: "sha256:..."
	Policies   []*policies.Policy // all that were asked; sinks describe them to formats that list rules
	Files      int
	Objects    int
	FailOnWarn bool // a warning counts as a denial; set it before Count

	// Filled by Count. A run that may be empty and was sets Verdict to policies.Allow.
	Counts   Counts
	Deferred []Deferral // by policy name
	Verdict  policies.Verdict

	Skipped  []Skipped // files that were seen and not judged
	Stopped  string    // why the run ended before everything was judged: "interrupted", "first denial"; "" when it did not
	Elapsed  time.Duration
	ExitCode int
}

// Counts says how many objects had which verdict, and how many findings there were of which kind.
type Counts struct {
	Passed, Warned, Unsure, Denied int // objects, each counted once, by its verdict

	Violations int // that deny
	Warnings   int
	Audited    int
	Exempted   int // that an exemption covers
	Failures   int // policies that could not judge, once for each object
}

// Deferral is a policy that was left to another door, and what it needs there.
type Deferral struct {
	Policy  string
	Needs   []string // distinct, in order of appearance, the first few
	Objects int
}

// Skipped is a file that was seen and not judged, and why.
type Skipped struct{ File, Reason string }

// Count adds one decision to the counts, the deferrals and the verdict.
func (s *Summary) Count(d *policies.Decision) {
	v := verdict(d, s.FailOnWarn)
	s.Verdict = max(s.Verdict, v)
	switch d.Verdict() {
	case policies.Denied:
		s.Counts.Denied++
	case policies.Unsure:
		s.Counts.Unsure++
	case policies.AllowWarn:
		s.Counts.Warned++
	default:
		s.Counts.Passed++
	}
	deferred := map[string]bool{}
	for i := range d.Results {
		r := &d.Results[i]
		switch r.Outcome {
		case policies.Passed, policies.Skipped:
		case policies.Violated:
			s.Counts.violated(r)
		case policies.Deferred:
			s.deferral(r, !deferred[r.Policy.Name])
			deferred[r.Policy.Name] = true
		default:
			s.Counts.Failures++
		}
	}
}

func (c *Counts) violated(r *policies.Result) {
	for i := range r.Finding.Violations {
		switch {
		case !r.Standing(i):
			c.Exempted++
		case r.ActionOf(i) == policies.Deny:
			c.Violations++
		case r.ActionOf(i) == policies.Warn:
			c.Warnings++
		default:
			c.Audited++
		}
	}
}

// maxNeeds bounds what is kept of a deferral whose needs name the object.
const maxNeeds = 3

func (s *Summary) deferral(r *policies.Result, first bool) {
	i, found := slices.BinarySearchFunc(s.Deferred, r.Policy.Name, func(d Deferral, name string) int {
		return strings.Compare(d.Policy, name)
	})
	if !found {
		s.Deferred = slices.Insert(s.Deferred, i, Deferral{Policy: r.Policy.Name})
	}
	d := &s.Deferred[i]
	if first {
		d.Objects++
	}
	if r.Missing != "" && len(d.Needs) < maxNeeds && !slices.Contains(d.Needs, r.Missing) {
		d.Needs = append(d.Needs, r.Missing)
	}
}

// verdict is d's, with warnings weighed as denials when they are to count as such.
func verdict(d *policies.Decision, failOnWarn bool) policies.Verdict {
	v := d.Verdict()
	if !failOnWarn || v != policies.AllowWarn && v != policies.Unsure {
		return v
	}
	for i := range d.Results {
		r := &d.Results[i]
		switch r.Outcome {
		case policies.Passed, policies.Skipped, policies.Deferred:
		case policies.Violated:
			for j := range r.Finding.Violations {
				if r.Standing(j) && r.ActionOf(j) == policies.Warn {
					return policies.Denied
				}
			}
		default:
			if r.Action() == policies.Warn {
				v = max(v, policies.Unsure)
			}
		}
	}
	return v
}

// maxNamed is how many skipped files WriteSummary names for each reason; the json format names all.
const maxNamed = 5

// WriteSummary writes s for a person: one line, and one more for each reason that files were skipped for.
func WriteSummary(w io.Writer, s Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "checked %s in %s with %s", count(s.Objects, "object"), count(s.Files, "file"), count(len(s.Policies), "policy"))
	if s.Digest != "" {
		fmt.Fprintf(&b, " (bundle %s)", visible(short(s.Digest)))
	}
	b.WriteString(": " + strings.Join(s.told(), ", ") + "\n")
	for _, line := range s.skippedLines() {
		b.WriteString(line + "\n")
	}
	if s.Stopped != "" {
		b.WriteString("stopped before everything was judged: " + visible(oneLine(s.Stopped)) + "\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	return nil
}

func (s *Summary) told() []string {
	var out []string
	add := func(n int, what string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, what))
		}
	}
	c := s.Counts
	weighed := func(objects int, what string, findings int, thing string) {
		switch {
		case objects > 0 && findings > objects:
			out = append(out, fmt.Sprintf("%d %s (%s)", objects, what, count(findings, thing)))
		case objects > 0:
			add(objects, what)
		case findings > 0:
			out = append(out, count(findings, thing))
		}
	}
	weighed(c.Denied, "denied", c.Violations, "violation")
	switch {
	case c.Unsure > 0:
		add(c.Unsure, "could not be judged")
	case c.Failures > 0:
		out = append(out, count(c.Failures, "policy")+" could not judge")
	}
	weighed(c.Warned, "warned", c.Warnings, "warning")
	if c.Audited > 0 {
		out = append(out, count(c.Audited, "audit finding"))
	}
	if c.Exempted > 0 {
		out = append(out, count(c.Exempted, "exempted violation"))
	}
	if c.Denied == 0 && c.Unsure == 0 && c.Warned == 0 {
		none := "none denied"
		if c.Passed > 0 && s.Stopped == "" && len(s.Deferred) == 0 && c.Failures == 0 && c.Audited == 0 {
			none = "all passed"
		}
		out = append([]string{none}, out...)
	}
	if n := len(s.Deferred); n > 0 {
		named := make([]string, n)
		for i, d := range s.Deferred {
			named[i] = visible(d.Policy)
			if len(d.Needs) > 0 {
				named[i] += " (needs " + visible(oneLine(strings.Join(d.Needs, "; "))) + ")"
			}
		}
		what := "deferred policies"
		if n == 1 {
			what = "deferred policy"
		}
		out = append(out, fmt.Sprintf("%d %s: %s", n, what, strings.Join(named, ", ")))
	}
	return out
}

func (s *Summary) skippedLines() []string {
	var reasons []string
	files := map[string][]string{}
	for _, f := range s.Skipped {
		if files[f.Reason] == nil {
			reasons = append(reasons, f.Reason)
		}
		files[f.Reason] = append(files[f.Reason], f.File)
	}
	var out []string
	for _, reason := range reasons {
		names := files[reason]
		shown := make([]string, 0, maxNamed)
		for _, name := range names[:min(len(names), maxNamed)] {
			shown = append(shown, visible(name))
		}
		line := fmt.Sprintf("skipped %s (%s): %s", count(len(names), "file"), visible(oneLine(reason)), strings.Join(shown, ", "))
		if more := len(names) - maxNamed; more > 0 {
			line += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, line)
	}
	return out
}

// count is n of a thing in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if stem, ok := strings.CutSuffix(thing, "y"); ok {
		thing = stem + "ie"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// short cuts a digest to what a person compares.
func short(digest string) string {
	algorithm, hash, ok := strings.Cut(digest, ":")
	if !ok || len(hash) <= 12 {
		return digest
	}
	return algorithm + ":" + hash[:12] + "…"
}

// lastDay is the last day on which an exemption holds that no longer does from t on, or t itself when no day begins then.
func lastDay(t time.Time) string {
	t = t.UTC()
	if t.Truncate(24 * time.Hour).Equal(t) {
		return t.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}
