package policytest

import (
	"fmt"
	"regexp"
	"strings"
)

// Filter chooses tests by their names. A nil Filter takes all.
type Filter struct {
	text      string
	any       *regexp.Regexp // matched with the name and, alone, with the test and the case of a Gatekeeper suite
	test, one *regexp.Regexp // matched with test and case; both nil when any is not
}

// ParseFilter reads a regular expression for names, or one for the tests and one for the cases of Gatekeeper suites with // between
// them, as gator has it.
func ParseFilter(text string) (*Filter, error) {
	parts := strings.Split(text, "//")
	if len(parts) > 2 {
		return nil, fmt.Errorf("%s: expected // at most once", text)
	}
	compiled := make([]*regexp.Regexp, len(parts))
	for i, part := range parts {
		var err error
		if compiled[i], err = regexp.Compile(part); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
	}
	if len(parts) == 2 {
		return &Filter{text: text, test: compiled[0], one: compiled[1]}, nil
	}
	return &Filter{text: text, any: compiled[0]}, nil
}

func (f *Filter) String() string { return f.text }

func (f *Filter) matches(r Result) bool {
	switch {
	case f == nil:
		return true
	case f.any != nil:
		return f.any.MatchString(r.Name) || r.Test != "" && f.any.MatchString(r.Test) || r.Case != "" && f.any.MatchString(r.Case)
	default:
		return r.Test != "" && f.test.MatchString(r.Test) && f.one.MatchString(r.Case)
	}
}
