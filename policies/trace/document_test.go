package trace_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

var update = flag.Bool("update", false, "write the tables of docs/trace.md anew")

func TestTheDocumentSaysWhatTheCodeDoes(t *testing.T) {
	const file = "../../docs/trace.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	document := string(text)
	for heading, table := range map[string]string{"## What controllers do\n": trace.Duties(), "## Subresources\n": trace.SubresourceTable()} {
		_, rest, ok := strings.Cut(document, heading)
		if !ok {
			t.Fatalf("%s has no heading %q", file, heading)
		}
		from := strings.Index(rest, "\n| ") + 1
		end := from + strings.Index(rest[from:]+"\n\n", "\n\n") + 1
		if from == 0 || rest[from:min(end, len(rest))] != table {
			if *update && from > 0 {
				document = strings.Replace(document, rest[from:min(end, len(rest))], table, 1)
				continue
			}
			t.Errorf("%s: the table under %q is not what the code does: go test ./policies/trace -update", file, strings.TrimSpace(heading))
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(document), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPatternsMatchTheWhole(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		separator  byte
		want       bool
	}{
		{"a", "a", 0, true},
		{"a", "ab", 0, false},
		{"a", "ba", 0, false},
		{"*", "", 0, true},
		{"*-tls", "web-tls", 0, true},
		{"*-tls", "web-tls-2", 0, false},
		{"web-*", "web-", 0, true},
		{"a*c*e", "abcde", 0, true},
		{"a*c*e", "abcd", 0, false},
		{"a*b*c", "ab:c", ':', false},
		{"system:serviceaccount:x:*", "system:serviceaccount:x:y", ':', true},
		{"system:serviceaccount:x:*", "system:serviceaccount:x:y:z", ':', false},
		{"system:serviceaccount:*:flux", "system:serviceaccount:a:b:flux", ':', false},
		{"system:serviceaccount:*:flux", "system:serviceaccount:a:flux", ':', true},
		{"[a-z]", "b", 0, false},
	} {
		if got := trace.Matches(tc.pattern, tc.s, tc.separator); got != tc.want {
			t.Errorf("%q matches %q: %v, expected %v", tc.pattern, tc.s, got, tc.want)
		}
	}
}

func TestAFieldCoversWhatIsBelowIt(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		path    policies.Path
		want    bool
	}{
		{"spec.replicas", policies.Path{"spec", "replicas"}, true},
		{"spec.replicas", policies.Path{"spec"}, false},
		{"spec", policies.Path{"spec", "a", "b"}, true},
		{"spec.replicas", policies.Path{"spec", "replicasX"}, false},
		{"metadata.annotations[example.com/*]", policies.Path{"metadata", "annotations", "example.com/x"}, true},
		{"metadata.annotations[example.com/*]", policies.Path{"metadata", "annotations", "evil.example.com/x"}, false},
		{"metadata.annotations[example.com/*]", policies.Path{"metadata", "annotations"}, false},
		{"", policies.Path{"spec"}, false},
	} {
		if got := trace.Covers(tc.pattern, tc.path); got != tc.want {
			t.Errorf("%q covers %s: %v, expected %v", tc.pattern, tc.path, got, tc.want)
		}
	}
}
