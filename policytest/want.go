package policytest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// want is one text behind `# want`.
type want struct {
	line    int
	pattern *regexp.Regexp
}

// readWants reads what the lines of a manifest want, and what is wrong with them.
func readWants(file string, text []byte) (all []want, problems []Problem) {
	for i, line := range strings.Split(string(text), "\n") {
		patterns, err := parseWants(line)
		if err != nil {
			problems = append(problems, Problem{policies.Position{File: file, Line: i + 1}, err.Error()})
		}
		for _, p := range patterns {
			all = append(all, want{i + 1, p})
		}
	}
	return all, problems
}

// parseWants reads what a line wants: nothing, or regular expressions in Go's quotes behind `# want`.
func parseWants(line string) (patterns []*regexp.Regexp, err error) {
	_, rest, ok := strings.Cut(line, "# want ")
	if !ok {
		return nil, nil
	}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("want %s: expected regular expressions in double or back quotes", rest)
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("want %s: expected regular expressions in double or back quotes: %w", quoted, err)
		}
		p, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("want %s: %w", quoted, err)
		}
		patterns, rest = append(patterns, p), rest[len(quoted):]
	}
	if len(patterns) == 0 {
		return nil, errors.New("want is empty: expected regular expressions in double or back quotes")
	}
	return patterns, nil
}

// compare holds the findings of a file against its wants, both ways: each want takes one finding of its line.
func compare(file string, wants []want, found []Found) (problems []Problem) {
	wants = slices.Clone(wants)
	for _, f := range found {
		i := slices.IndexFunc(wants, func(w want) bool { return w.line == f.Line && w.pattern.MatchString(f.Text) })
		if i < 0 {
			problems = append(problems, Problem{policies.Position{File: file, Line: f.Line}, "expected no finding that no want matches, got: " + f.Text})
			continue
		}
		wants = slices.Delete(wants, i, i+1)
	}
	for _, w := range wants {
		got := "none"
		for _, f := range found {
			if f.Line == w.line {
				got = "other ones"
			}
		}
		problems = append(problems, Problem{policies.Position{File: file, Line: w.line}, fmt.Sprintf("expected a finding that matches %q, got %s", w.pattern, got)})
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Pos.Line - b.Pos.Line })
	return problems
}
