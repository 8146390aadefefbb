package report

import (
	"strings"

	"gitgate.dev/gitgate/policies"
)

// gitlabSink writes a GitLab Code Quality report: one array of issues (docs.gitlab.com/ci/testing/code_quality, report format).
// What is exempted is no issue.
type gitlabSink struct {
	out  *output
	opts Options
	flat *flattener
	some bool
}

type gitlabIssue struct {
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string      `json:"path"`
	Lines gitlabLines `json:"lines"`
}

type gitlabLines struct {
	Begin int `json:"begin"`
}

func (s *gitlabSink) Decision(d policies.Decision) error {
	rows := s.flat.rows(&d)
	for i := range rows {
		r := &rows[i]
		if r.exempt != nil {
			continue
		}
		line, err := encode(s.issue(&d, r))
		if err != nil {
			return err
		}
		s.separate()
		s.out.bytes(line)
	}
	return s.out.err
}

func (s *gitlabSink) separate() {
	if s.some {
		s.out.string(",\n")
	} else {
		s.out.string("[\n")
	}
	s.some = true
}

func (s *gitlabSink) issue(d *policies.Decision, r *row) gitlabIssue {
	text := visible(r.message)
	if r.level == unsure {
		text = "could not judge: " + text
	}
	if r.fix != "" {
		text += " (fix: " + visible(oneLine(r.fix)) + ")"
	}
	name, _ := s.opts.fromRoot(r.pos.File)
	if name == "" {
		name = "cluster/" + strings.ReplaceAll(d.Subject.Text, " ", "/") // a path is required; this object is in no file
	}
	return gitlabIssue{
		Description: text, CheckName: r.id, Fingerprint: r.fingerprint, Severity: gitlabSeverity(r),
		Location: gitlabLocation{Path: name, Lines: gitlabLines{Begin: max(1, r.pos.Line)}},
	}
}

// gitlabSeverity is the policy's severity in GitLab's words, or what the level suggests when it has none.
func gitlabSeverity(r *row) string {
	switch r.policy.Severity {
	case policies.Info:
		return "info"
	case policies.Low:
		return "minor"
	case policies.Medium:
		return "major"
	case policies.High:
		return "critical"
	case policies.Critical:
		return "blocker"
	}
	switch r.level {
	case audited:
		return "info"
	case warned:
		return "minor"
	default:
		return "major"
	}
}

func (s *gitlabSink) Close(Summary) error {
	if s.some {
		s.out.string("\n]\n")
	} else {
		s.out.string("[]\n")
	}
	return s.out.flush()
}
