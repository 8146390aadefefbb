package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each folder of test/fixtures is checked as a user would. A line of a manifest says what is to be found there, as the fixtures
// of go/analysis do:
//
//	replicas: "3" # want "expected integer, got string" "a second finding of this line"
//
// Each text is a regular expression, in Go's double or back quotes, of "[level: ]message [policy/rule]". A finding that no line
// wants and a line whose want is not found both fail. The configuration is the folder's gitgate.yaml; a folder without one has the
// name of an example, and is judged by that one's.
func TestWhatFixturesWantIsWhatIsFound(t *testing.T) {
	t.Parallel()
	const root = "../../test/fixtures"
	folders, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		t.Run(folder.Name(), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(root, folder.Name())
			config := filepath.Join(dir, "gitgate.yaml")
			if _, err := os.Stat(config); err != nil {
				config = filepath.Join("../../examples", folder.Name(), "gitgate.yaml")
			}
			wants := readWants(t, dir)
			if len(wants) == 0 {
				t.Fatal("no line of the folder wants anything")
			}
			for _, problem := range unmatched(wants, findingsOf(t, dir, config)) {
				t.Error(problem)
			}
		})
	}
}

// want is one text behind `# want`.
type want struct {
	file    string // as the report names it
	line    int
	pattern *regexp.Regexp
}

// found is one finding of a report: its place, and what a want is compared with.
type found struct {
	file string
	line int
	text string
}

// readWants reads the wants of all manifests under dir. Files under a folder `policies` are none.
func readWants(t *testing.T, dir string) (all []want) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "policies" {
			return fs.SkipDir
		}
		if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			patterns, err := parseWants(line)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			for _, p := range patterns {
				all = append(all, want{filepath.ToSlash(name), i + 1, p})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parseWants reads what a line wants: nothing, or one or more quoted regular expressions behind `# want`.
func parseWants(line string) (patterns []*regexp.Regexp, err error) {
	_, rest, ok := strings.Cut(line, "# want ")
	if !ok {
		return nil, nil
	}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("want %s: expected quoted regular expressions", rest)
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("want %s: %w", quoted, err)
		}
		p, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("want %s: %w", quoted, err)
		}
		patterns, rest = append(patterns, p), rest[len(quoted):]
	}
	if len(patterns) == 0 {
		return nil, fmt.Errorf("want is empty: expected quoted regular expressions")
	}
	return patterns, nil
}

// findingsOf is what `gitgate check` says of dir, with what could not be judged and without what is exempted.
func findingsOf(t *testing.T, dir, config string) (all []found) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }, dir: here}
	if code := p.run(t.Context(), []string{"check", "--config", config, "-o", "json", dir}); code == exitUsage {
		t.Fatalf("the check did not run:\n%s", &stderr)
	}
	var report struct {
		Decisions []struct {
			Results []struct {
				Findings []struct {
					File, Level, Message, ID string
					Line                     int
					Exempted                 *struct{}
				}
			}
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Decisions {
		for _, r := range d.Results {
			for _, f := range r.Findings {
				text := fmt.Sprintf("%s [%s]", f.Message, f.ID)
				if f.Level != "deny" {
					text = f.Level + ": " + text
				}
				if f.Exempted == nil {
					all = append(all, found{f.File, f.Line, text})
				}
			}
		}
	}
	return all
}

// unmatched compares both ways, each want with one finding of its line.
func unmatched(wants []want, findings []found) (problems []string) {
	for _, f := range findings {
		i := slices.IndexFunc(wants, func(w want) bool {
			return w.file == f.file && w.line == f.line && w.pattern.MatchString(f.text)
		})
		if i < 0 {
			problems = append(problems, fmt.Sprintf("%s:%d: nothing wants the finding: %s", f.file, f.line, f.text))
			continue
		}
		wants = slices.Delete(wants, i, i+1)
	}
	for _, w := range wants {
		problems = append(problems, fmt.Sprintf("%s:%d: no finding matches %q", w.file, w.line, w.pattern))
	}
	return problems
}

func TestWantsAreComparedBothWays(t *testing.T) {
	t.Parallel()
	wants := func(line string) []want {
		patterns, err := parseWants(line)
		if err != nil {
			t.Fatal(err)
		}
		var all []want
		for _, p := range patterns {
			all = append(all, want{"a.yaml", 7, p})
		}
		return all
	}
	at := func(line int, texts ...string) (all []found) {
		for _, text := range texts {
			all = append(all, found{"a.yaml", line, text})
		}
		return all
	}
	tests := []struct {
		name     string
		line     string
		findings []found
		problems int
	}{
		{"what is wanted is found", `a: b # want "unknown field"`, at(7, "unknown field a [schema/unknown-field]"), 0},
		{"two of one line in any order", "a: b # want \"one\" `t.o`", at(7, "two [p]", "one [p]"), 0},
		{"a finding that nothing wants", `a: b`, at(7, "unknown field a"), 1},
		{"a want that is not found", `a: b # want "unknown field"`, nil, 1},
		{"a finding of another line", `a: b # want "unknown field"`, at(8, "unknown field a"), 2},
		{"one want is no leave for two findings", `a: b # want "field"`, at(7, "field a", "field b"), 1},
	}
	for _, tt := range tests {
		if got := unmatched(wants(tt.line), tt.findings); len(got) != tt.problems {
			t.Errorf("%s: %d problems, expected %d: %q", tt.name, len(got), tt.problems, got)
		}
	}
	for _, line := range []string{"a: b # want ", "a: b # want unquoted", `a: b # want "("`} {
		if _, err := parseWants(line); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
}

// The library's own fixtures are run as a user runs tests of policies.
func TestTheLibraryFindsWhatItsFixturesWant(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }, dir: here}
	if code := p.run(t.Context(), []string{"policy", "test", "../../policies/library"}); code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
}
