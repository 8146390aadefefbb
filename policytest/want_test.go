package policytest

import (
	"strings"
	"testing"
)

func TestWantsAreComparedBothWays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, line string
		found      []Found
		want       []string
	}{
		{"what is wanted is found", `a: b # want "unknown field"`, []Found{{Line: 1, Text: "unknown field a"}}, nil},
		{"two of one line in any order", "a: b # want \"one\" `t.o`", []Found{{Line: 1, Text: "two"}, {Line: 1, Text: "one"}}, nil},
		{"a finding that nothing wants", "a: b", []Found{{Line: 1, Text: "odd"}}, []string{"a.yaml:1: expected no finding that no want matches, got: odd"}},
		{"a want that is not found", `a: b # want "odd"`, nil, []string{`a.yaml:1: expected a finding that matches "odd", got none`}},
		{"one want is no leave for two findings", `a: b # want "odd"`, []Found{{Line: 1, Text: "odd"}, {Line: 1, Text: "odd too"}}, []string{"a.yaml:1: expected no finding that no want matches, got: odd too"}},
	} {
		wants, problems := readWants("a.yaml", []byte(tt.line))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var got []string
		for _, p := range compare("a.yaml", wants, tt.found) {
			got = append(got, p.String())
		}
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: got %q, expected %q", tt.name, got, tt.want)
		}
	}
	for _, line := range []string{"a: b # want ", "a: b # want unquoted", `a: b # want "("`} {
		if _, problems := readWants("a.yaml", []byte(line)); len(problems) != 1 {
			t.Errorf("%s: got %v, expected one problem", line, problems)
		}
	}
}

func TestTheFolderAboveOkOrBadHasThePolicies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ dir, file, name, only, folder string }{
		{"lib", "lib/team/ok/web.yaml", "lib/team/ok/web.yaml", "ok", "lib/team"},
		{"lib", "lib/bad/case/a/b.yaml", "lib/bad/case", "bad", "lib"},
		{".", "ok/web.yaml", "ok/web.yaml", "ok", "."},
		{"lib/ok", "lib/ok/web.yaml", "lib/ok/web.yaml", "ok", "lib"},
		{"/ok/lib", "/ok/lib/web.yaml", "", "", ""},
		{"lib", "lib/web.yaml", "", "", ""},
		{"lib/web.yaml", "lib/web.yaml", "", "", ""},
	} {
		if name, only, folder := verdictFolder(tt.dir, tt.file); name != tt.name || only != tt.only || folder != tt.folder {
			t.Errorf("%s in %s: got %q %q %q, expected %q %q %q", tt.file, tt.dir, name, only, folder, tt.name, tt.only, tt.folder)
		}
	}
}
