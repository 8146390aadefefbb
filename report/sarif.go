package report

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// sarifSink writes SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format). Results come first and are written as they
// come; what they refer to (rules by id, the invocation) follows in the footer, for the order of JSON properties means nothing.
type sarifSink struct {
	out   *output
	opts  Options
	flat  *flattener
	begun bool
	some  bool
	rules map[string]sarifRule
	notes []sarifNotification // what could not be judged, up to maxNotes
	more  map[string]int      // the rest of it, by policy
}

// maxNotes bounds how many failures are kept for the footer one by one; the rest is told as one number for each policy.
const maxNotes = 1000

const (
	sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	sarifBase   = "%SRCROOT%"
	sarifPrint  = "gitgate/v1"
)

func (s *sarifSink) begin() {
	if !s.begun {
		s.begun = true
		s.rules, s.more = map[string]sarifRule{}, map[string]int{}
		s.out.printf("{\n\"$schema\": %q,\n\"version\": \"2.1.0\",\n\"runs\": [{\n\"columnKind\": \"unicodeCodePoints\",\n\"results\": [", sarifSchema)
	}
}

func (s *sarifSink) Decision(d policies.Decision) error {
	s.begin()
	rows := s.flat.rows(&d)
	for i := range rows {
		r := &rows[i]
		s.rule(r.policy, r.id, r.url)
		if r.level == unsure {
			s.note(&d, r)
			continue
		}
		line, err := encode(s.result(&d, r))
		if err != nil {
			return err
		}
		if s.some {
			s.out.string(",")
		}
		s.some = true
		s.out.string("\n")
		s.out.bytes(line)
	}
	return s.out.err
}

func (s *sarifSink) result(d *policies.Decision, r *row) sarifResult {
	out := sarifResult{
		RuleID:       r.id,
		Level:        sarifLevel(r.level),
		Message:      sarifText{withFix(r)},
		Locations:    s.locations(d, r.pos),
		Fingerprints: map[string]string{sarifPrint: r.fingerprint},
		Properties:   sarifResultProps{Object: visible(subject(d)), Action: r.level.String(), Path: r.path.String(), Fix: r.fix},
	}
	if x := r.exempt; x != nil {
		why := x.Reason
		if !x.Until.IsZero() {
			why = strings.TrimSpace(why + " (until " + lastDay(x.Until) + ")")
		}
		suppression := sarifSuppression{Kind: "external", Status: "accepted", Justification: visible(oneLine(why))}
		if x.Pos.File != "" {
			suppression.Location = &sarifLocation{Physical: s.physical(policies.Position{File: x.Pos.File, Line: x.Pos.Line, Column: x.Pos.Column})}
		}
		out.Suppressions = []sarifSuppression{suppression}
	}
	return out
}

// withFix is the message and, on lines of their own, what to do.
func withFix(r *row) string {
	text := visible(r.message)
	for i, line := range lines(r.fix) {
		if i == 0 {
			line = "fix: " + line
		}
		text += "\n" + visible(line)
	}
	return sarifPlain(text)
}

var sarifPlaceholder = regexp.MustCompile(`\{(\d+)\}`)

// sarifPlain keeps content from being read as a placeholder or a link of a SARIF message (sections 3.11.5 and 3.11.6).
func sarifPlain(s string) string {
	return sarifPlaceholder.ReplaceAllString(strings.ReplaceAll(s, "](", "] ("), "{{$1}}")
}

func (s *sarifSink) note(d *policies.Decision, r *row) {
	if len(s.notes) >= maxNotes {
		s.more[r.policy.Name]++
		return
	}
	n := notification("error", "could-not-judge", sarifPlain("could not judge: "+visible(r.message)), r.policy.Name)
	n.Locations = s.locations(d, r.pos)
	s.notes = append(s.notes, n)
}

func notification(level, id, text, rule string) sarifNotification {
	n := sarifNotification{Level: level, Descriptor: sarifRef{id}, Message: sarifText{text}}
	if rule != "" {
		n.Rule = &sarifRef{rule}
	}
	return n
}

func (s *sarifSink) locations(d *policies.Decision, pos policies.Position) []sarifLocation {
	l := sarifLocation{Physical: s.physical(pos)}
	if name := subject(d); name != "" {
		l.Logical = []sarifLogical{{Name: visible(name), Kind: "resource"}}
	}
	if l.Physical == nil && l.Logical == nil {
		return []sarifLocation{}
	}
	return []sarifLocation{l}
}

func (s *sarifSink) physical(pos policies.Position) *sarifPhysical {
	if pos.File == "" {
		return nil
	}
	name, inside := s.opts.fromRoot(pos.File)
	out := &sarifPhysical{Artifact: sarifArtifact{URI: uri(name)}}
	if inside {
		out.Artifact.BaseID = sarifBase
	}
	if pos.Line > 0 {
		out.Region = &sarifRegion{StartLine: pos.Line}
		out.Region.StartColumn, out.Region.EndColumn = runeColumns(pos)
		if text := strings.TrimRight(pos.Text, "\r\n"); strings.TrimSpace(text) != "" {
			out.Region.Snippet = &sarifText{visible(text)}
		}
	}
	return out
}

// uri is a slash-separated file name as a URI reference (RFC 3986): file://... for an absolute one.
func uri(name string) string {
	u := url.URL{Path: name}
	if strings.HasPrefix(name, "/") {
		u.Scheme = "file"
	}
	return u.String()
}

// runeColumns counts the columns of pos in code points instead of bytes, where the line is known from its beginning; end is 0 when
// it is not known.
func runeColumns(pos policies.Position) (start, end int) {
	column := func(bytes int) int {
		if bytes < 1 || bytes-1 > len(pos.Text) || pos.TextColumn > 1 {
			return bytes
		}
		return utf8.RuneCountInString(pos.Text[:bytes-1]) + 1
	}
	start, end = column(pos.Column), column(pos.EndColumn)
	if start < 1 || end <= start {
		end = 0
	}
	return start, end
}

func sarifLevel(l level) string {
	switch l {
	case audited:
		return "note"
	case warned:
		return "warning"
	default:
		return "error"
	}
}

func (s *sarifSink) Close(sum Summary) error {
	s.begin()
	for _, p := range sum.Policies {
		for _, rule := range p.Rules {
			s.rule(p, ruleID(p.Name, rule), p.URL)
		}
		s.rule(p, p.Name, p.URL)
	}
	driver := sarifDriver{
		Name: "gitgate", Version: s.opts.Version, InformationURI: "https://gitgate.dev",
		Rules: slices.AppendSeq([]sarifRule{}, maps.Values(s.rules)),
		Notifications: []sarifNote{
			{"could-not-judge", sarifText{"A policy could not judge an object."}},
			{"deferred", sarifText{"A policy needs what is not known here and is left to another door."}},
			{"skipped", sarifText{"A file was not judged."}},
			{"stopped", sarifText{"The run ended before everything was judged."}},
		},
	}
	slices.SortFunc(driver.Rules, func(a, b sarifRule) int { return cmp.Compare(a.ID, b.ID) })
	invocation := sarifInvocation{
		Successful: sum.Counts.Failures == 0 && sum.Stopped == "" && sum.ExitCode != ExitUnsure && sum.ExitCode != ExitUsage,
		ExitCode:   sum.ExitCode, Description: describe(sum.ExitCode), Notifications: s.notifications(&sum),
	}
	footer := []struct {
		name  string
		value any
	}{
		{"tool", map[string]any{"driver": driver}},
		{"invocations", []sarifInvocation{invocation}},
		{"originalUriBaseIds", map[string]any{sarifBase: map[string]any{"description": sarifText{"The root of the repository."}}}},
		{"properties", map[string]any{"bundle": sum.Digest, "objects": sum.Objects, "files": sum.Files}},
	}
	s.out.string("\n]")
	for _, f := range footer {
		text, err := encode(f.value)
		if err != nil {
			return err
		}
		s.out.printf(",\n%q: %s", f.name, text)
	}
	s.out.string("\n}]\n}\n")
	return s.out.flush()
}

func (s *sarifSink) notifications(sum *Summary) []sarifNotification {
	out := append([]sarifNotification{}, s.notes...)
	for _, name := range slices.Sorted(maps.Keys(s.more)) {
		out = append(out, notification("error", "could-not-judge", fmt.Sprintf("could not judge: %s more", count(s.more[name], "object")), name))
	}
	for _, d := range sum.Deferred {
		text := fmt.Sprintf("deferred for %s", count(d.Objects, "object"))
		if len(d.Needs) > 0 {
			text += ": needs " + visible(oneLine(strings.Join(d.Needs, "; ")))
		}
		out = append(out, notification("note", "deferred", text, d.Policy))
	}
	for _, f := range sum.Skipped {
		n := notification("note", "skipped", visible(oneLine(f.Reason)), "")
		n.Locations = []sarifLocation{{Physical: s.physical(policies.Position{File: f.File})}}
		out = append(out, n)
	}
	if sum.Stopped != "" {
		out = append(out, notification("error", "stopped", "stopped before everything was judged: "+visible(oneLine(sum.Stopped)), ""))
	}
	return out
}

func describe(code int) string {
	switch code {
	case ExitOK:
		return "nothing is denied"
	case ExitDenied:
		return "at least one object is denied"
	case ExitUsage:
		return "wrong usage or configuration, or nothing to check"
	default:
		return "at least one object could not be judged"
	}
}
