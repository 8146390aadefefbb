package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// githubSink writes workflow commands that become annotations of a pull request. GitHub shows ten errors and ten warnings of a
// step, so the weightiest have to come first: they are written by Close.
type githubSink struct {
	out  *output
	opts Options
	flat *flattener
	held []annotation
}

// maxAnnotations bounds how many annotations are held to be sorted. What is beyond, which GitHub would not show either, goes to
// the log as a plain line at once.
const maxAnnotations = 1000

type annotation struct {
	command string // error, warning, notice
	rank    int    // smaller comes first
	line    string // the workflow command
	text    string // the same for a person
}

func (s *githubSink) Decision(d policies.Decision) error {
	rows := s.flat.rows(&d)
	for i := range rows {
		if rows[i].exempt == nil {
			s.held = append(s.held, s.annotation(&d, &rows[i]))
		}
	}
	if len(s.held) < 2*maxAnnotations {
		return s.out.err
	}
	s.sort()
	for _, a := range s.held[maxAnnotations:] {
		s.out.string(a.text + "\n")
	}
	s.held = slices.Clip(s.held[:maxAnnotations])
	return s.out.err
}

func (s *githubSink) sort() {
	slices.SortStableFunc(s.held, func(a, b annotation) int { return cmp.Compare(a.rank, b.rank) })
}

func (s *githubSink) annotation(d *policies.Decision, r *row) annotation {
	a := annotation{command: "error", rank: 10*int(denied-r.level) + weight(r.policy.Severity)}
	title, message := r.id, visible(r.message)
	switch r.level {
	case warned:
		a.command = "warning"
	case audited:
		a.command = "notice"
	case unsure:
		title, message = "could not judge ["+r.id+"]", "could not judge: "+message
	}
	for i, line := range lines(r.fix) {
		if i == 0 {
			line = "fix: " + line
		}
		message += "\n" + visible(line)
	}
	var properties []string
	if r.pos.File != "" {
		name, _ := s.opts.fromRoot(r.pos.File)
		properties = append(properties, "file="+property(visible(name)))
		if r.pos.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", r.pos.Line))
			start, end := runeColumns(r.pos)
			if start > 0 {
				properties = append(properties, fmt.Sprintf("col=%d", start))
			}
			if end > 0 {
				properties = append(properties, fmt.Sprintf("endColumn=%d", end))
			}
		}
	} else {
		message = visible(d.Subject.Text) + ": " + message
	}
	properties = append(properties, "title="+property(visible(title)))
	a.line = "::" + a.command + " " + strings.Join(properties, ",") + "::" + data(message)
	a.text = fmt.Sprintf("%s: %s %s [%s]", a.command, place(d, r), visible(r.message), visible(r.id))
	return a
}

// weight orders severities, the heaviest first.
func weight(s policies.Severity) int {
	order := []policies.Severity{policies.Critical, policies.High, policies.Medium, policies.Low, policies.Info}
	if i := slices.Index(order, s); i >= 0 {
		return i
	}
	return 2
}

func (s *githubSink) Close(sum Summary) error {
	s.sort()
	for i, a := range s.held {
		if i < maxAnnotations {
			s.out.string(a.line + "\n")
		} else {
			s.out.string(a.text + "\n")
		}
	}
	for _, d := range sum.Deferred {
		text := "policy " + visible(d.Policy) + " is deferred"
		if len(d.Needs) > 0 {
			text += ": needs " + visible(oneLine(strings.Join(d.Needs, "; ")))
		}
		s.out.string("::notice title=" + property("deferred ["+visible(d.Policy)+"]") + "::" + data(text) + "\n")
	}
	if sum.Stopped != "" {
		s.out.string("::error title=stopped::" + data("stopped before everything was judged: "+visible(oneLine(sum.Stopped))) + "\n")
	}
	return s.out.flush()
}

// The escapes of workflow commands (actions/toolkit, packages/core/src/command.ts: escapeData, escapeProperty).
var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// data escapes what follows the second :: of a workflow command.
func data(s string) string { return dataEscapes.Replace(s) }

// property escapes the value of a property of a workflow command.
func property(s string) string { return propertyEscapes.Replace(s) }
