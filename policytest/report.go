package policytest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Count is how many tests had which outcome.
type Count struct{ Passed, Skipped, Failed, Errored int }

// Add counts r.
func (c *Count) Add(r Result) {
	switch r.Outcome {
	case Passed:
		c.Passed++
	case Skipped:
		c.Skipped++
	case Failed:
		c.Failed++
	default:
		c.Errored++
	}
}

func (c Count) String() string {
	return fmt.Sprintf("%d tests: %d passed, %d failed, %d could not run, %d skipped", c.Passed+c.Skipped+c.Failed+c.Errored, c.Passed, c.Failed, c.Errored, c.Skipped)
}

var words = map[Outcome]string{Passed: "pass", Skipped: "skip", Failed: "FAIL", Errored: "ERROR"}

// WriteRow writes a result as a row of a table, with its problems below.
func WriteRow(w io.Writer, r Result) error {
	var b strings.Builder
	name := r.Name
	if r.Pos.Line > 0 {
		name += fmt.Sprintf(" (%s:%d)", r.Pos.File, r.Pos.Line)
	}
	fmt.Fprintf(&b, "%-5s  %-10s  %s\n", words[r.Outcome], r.Sort, printable(name))
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "       %s\n", printable(p.String()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable keeps a text from steering a terminal, and on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ' '
		case r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0):
			return '·'
		}
		return r
	}, s)
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Name    string       `xml:"name,attr"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string     `xml:"name,attr"`
	Class   string     `xml:"classname,attr"`
	Skipped *junitSkip `xml:"skipped"`
	Error   *junitText `xml:"error"`
	Failure *junitText `xml:"failure"`
}

type junitSkip struct {
	Message string `xml:"message,attr,omitempty"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results as JUnit XML: a testsuite for each run of tests of one file.
func WriteJUnit(w io.Writer, results []Result) error {
	out := junitSuites{Name: "gitgate policy test"}
	for _, r := range results {
		if n := len(out.Suites); n == 0 || out.Suites[n-1].Name != r.Pos.File {
			out.Suites = append(out.Suites, junitSuite{Name: r.Pos.File})
		}
		s := &out.Suites[len(out.Suites)-1]
		c := junitCase{Name: r.Name, Class: r.Sort}
		s.Tests++
		var lines []string
		for _, p := range r.Problems {
			lines = append(lines, printable(p.String()))
		}
		text := &junitText{Text: strings.Join(lines, "\n")}
		if len(lines) > 0 {
			text.Message = lines[0]
		}
		switch r.Outcome {
		case Passed:
		case Skipped:
			s.Skipped++
			c.Skipped = &junitSkip{Message: text.Message}
		case Failed:
			s.Failures++
			c.Failure = text
		default:
			s.Errors++
			c.Error = text
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
