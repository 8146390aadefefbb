package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// junitSink writes JUnit XML: a testsuite for each file, a testcase for each policy on each object. It keeps to what the strictest
// reader takes, the schema of Jenkins's xUnit plugin (junit-10.xsd), and holds one testsuite in memory, whose start tag counts.
type junitSink struct {
	out   *output
	opts  Options
	flat  *flattener
	begun bool

	file                             string
	cases                            bytes.Buffer
	tests, failures, errors, skipped int
}

// maxSuite is the size, in bytes, from which on the testcases of one file go into one more testsuite of the same name.
const maxSuite = 4 << 20

func (s *junitSink) begin() {
	if !s.begun {
		s.begun = true
		s.out.string(xml.Header + "<testsuites name=\"gitgate\">\n")
	}
}

func (s *junitSink) Decision(d policies.Decision) error {
	s.begin()
	if file := d.Subject.Origin.File; file != s.file || s.cases.Len() > maxSuite {
		s.suite()
		s.file = file
	}
	rows := s.flat.rows(&d)
	for i := range d.Results {
		s.testcase(&d, i, rows)
	}
	return s.out.err
}

// suite writes the testcases that are held.
func (s *junitSink) suite() {
	if s.tests == 0 {
		return
	}
	name := s.file
	if name == "" {
		name = "cluster"
	}
	s.out.printf("<testsuite name=%s tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\"", attribute(name), s.tests, s.failures, s.errors, s.skipped)
	if s.file != "" {
		s.out.printf(" file=%s", attribute(s.file))
	}
	s.out.string(">\n")
	s.out.bytes(s.cases.Bytes())
	s.out.string("</testsuite>\n")
	s.cases.Reset()
	s.tests, s.failures, s.errors, s.skipped = 0, 0, 0, 0
}

func (s *junitSink) testcase(d *policies.Decision, i int, rows []row) {
	r := &d.Results[i]
	s.tests++
	class := subject(d)
	if class == "" {
		class = d.Subject.Origin.File
	}
	fmt.Fprintf(&s.cases, "<testcase name=%s classname=%s", attribute(r.Policy.Name), attribute(class))
	switch r.Outcome {
	case policies.Passed:
		s.cases.WriteString("/>\n")
		return
	case policies.Skipped:
		s.skip(r.Finding.Skipped)
	case policies.Deferred:
		s.skip("deferred: needs " + r.Missing)
	default:
		s.found(i, rows)
	}
	s.cases.WriteString("</testcase>\n")
}

func (s *junitSink) skip(why string) {
	s.skipped++
	fmt.Fprintf(&s.cases, "><skipped message=%s/>", attribute(oneLine(why)))
}

// found writes the rows of result i: one failure for all that counts, for readers take only the first, or one error; what does
// not fail goes to the testcase's output, and a policy whose every violation is exempted was skipped.
func (s *junitSink) found(i int, rows []row) {
	var failing, unjudged, told []string
	var first, exempt string
	standing := false
	for j := range rows {
		r := &rows[j]
		if r.result != i {
			continue
		}
		text := located(r)
		standing = standing || r.exempt == nil
		switch {
		case r.exempt != nil:
			exempt = "exempt: " + oneLine(r.exempt.Reason)
			if !r.exempt.Until.IsZero() {
				exempt += " (until " + lastDay(r.exempt.Until) + ")"
			}
			told = append(told, "exempt: "+text)
		case r.level == unsure:
			unjudged, first = append(unjudged, text), r.message
		case r.level == denied || r.level == warned && s.opts.FailOnWarn:
			failing = append(failing, text)
			if len(failing) == 1 {
				first = r.message
			}
		case r.level == warned:
			told = append(told, "warning: "+text)
		default:
			told = append(told, "audit: "+text)
		}
	}
	s.cases.WriteString(">")
	switch {
	case len(unjudged) > 0:
		s.errors++
		fmt.Fprintf(&s.cases, "<error type=\"could not judge\" message=%s>%s</error>", attribute(first), content(unjudged))
	case len(failing) > 0:
		s.failures++
		if more := len(failing) - 1; more > 0 {
			first += fmt.Sprintf(" (and %d more)", more)
		}
		fmt.Fprintf(&s.cases, "<failure type=\"violation\" message=%s>%s</failure>", attribute(first), content(failing))
	case !standing:
		s.skipped++
		fmt.Fprintf(&s.cases, "<skipped message=%s/>", attribute(exempt))
	}
	if len(told) > 0 {
		fmt.Fprintf(&s.cases, "<system-out>%s</system-out>", content(told))
	}
}

// located is a row as text: place, message, rule, and what to do.
func located(r *row) string {
	var b strings.Builder
	if r.pos.File != "" {
		b.WriteString(visible(r.pos.File))
		if r.pos.Line > 0 {
			fmt.Fprintf(&b, ":%d", r.pos.Line)
			if r.pos.Column > 0 {
				fmt.Fprintf(&b, ":%d", r.pos.Column)
			}
		}
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s [%s]", r.message, r.id)
	if r.fix != "" {
		b.WriteString("\nfix: " + strings.Join(lines(r.fix), "\n     "))
	}
	return b.String()
}

func (s *junitSink) Close(Summary) error {
	s.begin()
	s.suite()
	s.out.string("</testsuites>\n")
	return s.out.flush()
}

// attribute is s as an XML attribute's value with its quotes. What XML cannot hold is made visible before.
func attribute(s string) string { return `"` + escaped(visible(s)) + `"` }

func content(texts []string) string {
	var all []string
	for _, t := range texts {
		for _, line := range strings.Split(t, "\n") {
			all = append(all, escaped(visible(line)))
		}
	}
	return strings.Join(all, "\n")
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}
