package rego

import (
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// five packages, of which the last has the given body.
func five(t *testing.T, last string, o Options) (*suite, *policies.Engine) {
	t.Helper()
	var docs []policies.Document
	for i := range 4 {
		docs = append(docs, policies.Document{File: fmt.Sprintf("p%d.rego", i), Text: []byte(fmt.Sprintf("package p%d\n\nimport rego.v1\n\ndeny contains \"p%d\" if input.spec.bad == %d\n", i, i, i))})
	}
	docs = append(docs, policies.Document{File: "last.rego", Text: []byte("package last\n\nimport rego.v1\n\n" + last)})
	s, notes, err := newSuite(t.Context(), o, docs)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.policies(notes)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.New(all, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, e
}

func decided(t *testing.T, e *policies.Engine, spec map[string]any, knows policies.Facts) string {
	t.Helper()
	o := policies.NewObject(map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "a"}, "spec": spec}, policies.Origin{}, nil, nil)
	d := e.Decide(t.Context(), &policies.Change{Operation: policies.Create, Object: o, Resource: policies.Resource{Group: "example.com", Version: "v1", Resource: "things"}, Knows: knows})
	var said []string
	for _, r := range d.Results {
		for _, v := range r.Finding.Violations {
			said = append(said, v.Message)
		}
		if r.Outcome == policies.Failed || r.Outcome == policies.Deferred {
			said = append(said, r.Outcome.String())
		}
	}
	return strings.Join(said, " ")
}

func TestOnlyWhatPassedIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	s, e := five(t, `deny contains "last" if count(input.spec.list) > 1`, Options{})
	for range 3 {
		for _, tc := range []struct {
			spec map[string]any
			want string
		}{
			{map[string]any{"list": []any{"ab"}}, ""},
			{map[string]any{"list": []any{"a", "b"}}, "last"},
			{map[string]any{"list": []any{}, "bad": int64(2)}, "p2"},
			{map[string]any{"list": []any{}, "bad": "2"}, ""},
		} {
			if got := decided(t, e, tc.spec, 0); got != tc.want {
				t.Errorf("%v: told %q, want %q", tc.spec, got, tc.want)
			}
		}
	}
	if n := len(s.passed.recent); n != 2 {
		t.Errorf("%d objects are remembered, want the 2 that passed", n)
	}
}

// An object that a request names has no generated name: see opa.Named.
func TestTheNameThatARequestGivesIsPartOfWhatPassed(t *testing.T) {
	t.Parallel()
	_, e := five(t, `deny contains "unnamed" if not input.metadata.name`, Options{})
	for _, tc := range []struct{ name, want string }{{"", ""}, {"given", "unnamed"}} {
		o := policies.NewObject(map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"generateName": "a-"}}, policies.Origin{}, nil, nil)
		o.Name = tc.name
		d := e.Decide(t.Context(), &policies.Change{Operation: policies.Create, Object: o, Resource: policies.Resource{Group: "example.com", Version: "v1", Resource: "things"}})
		got := ""
		for _, r := range d.Results {
			for _, v := range r.Finding.Violations {
				got += v.Message
			}
		}
		if got != tc.want {
			t.Errorf("named %q: told %q, want %q", tc.name, got, tc.want)
		}
	}
}

// What passed today may not pass tomorrow.
func TestWhatLooksBeyondTheObjectIsAskedEachTime(t *testing.T) {
	t.Parallel()
	for _, last := range []string{
		`deny contains "x" if rand.intn("a", 2) == 1`,
		`deny contains "x" if time.now_ns() < 0`,
		`deny contains "x" if crypto.x509.parse_and_verify_certificates(input.spec.certificate)[0] == false`,
		`deny contains "x" if data.inventory.cluster.v1.Namespace.a`,
		"deny contains \"x\" if helper\n\nhelper if time.now_ns() < 0",
		"deny contains \"x\" if helper\n\nhelper if { input.a } helper if { time.now_ns() < 0 }",
		"deny contains \"x\" if count(parts) == 0\n\nparts[k] := 1 if some k in [\"a\", \"b\"]\n\nparts.c.d := time.now_ns()",
		"deny contains \"x\" if { f({}, {})[0] == false with data.last.f as json.match_schema }\n\nf(a, b) := [false, [a, b]]",
	} {
		s, e := five(t, last, Options{AllowBuiltins: []string{"rand.intn"}})
		told := map[string]bool{}
		for range 100 {
			told[decided(t, e, map[string]any{"certificate": "none"}, policies.KnowsCluster)] = true
		}
		if len(s.passed.recent) > 0 {
			t.Errorf("%s: remembered", last)
		}
		if strings.Contains(last, "rand") && !(told[""] && told["x"]) {
			t.Errorf("%s: a hundred times the same: %v", last, told)
		}
	}
}

func TestTheRememberedAreBounded(t *testing.T) {
	t.Parallel()
	var p passed
	for i := range 5 * maxPassed {
		d := digest{byte(i), byte(i >> 8), byte(i >> 16)}
		p.remember(d)
		if !p.has(d) {
			t.Fatal("forgotten at once")
		}
		if n := len(p.recent) + len(p.old); n > maxPassed {
			t.Fatalf("%d are remembered", n)
		}
	}
	if p.has(digest{}) {
		t.Error("the first is remembered")
	}
}

func TestNoTwoContentsHaveOneForm(t *testing.T) {
	t.Parallel()
	seen := map[string]any{}
	for _, v := range []any{
		nil, true, false, "", "n", "nn", int64(0), int64(1), int64(-1), 0.0, 1.0, []any{}, []any{nil}, []any{nil, nil}, []any{[]any{nil}, nil}, []any{[]any{nil, nil}},
		[]any{"a", "b"}, []any{"ab"}, []any{"a\x01s", "b"}, map[string]any{}, map[string]any{"a": nil}, map[string]any{"a": "b"}, map[string]any{"ab": ""},
		map[string]any{"a": map[string]any{"b": nil}}, map[string]any{"a": map[string]any{}, "b": nil}, []any{map[string]any{"a": nil}, "b"}, []any{map[string]any{"a": nil, "b": nil}},
	} {
		text, ok := appendContent(nil, v)
		if other, twice := seen[string(text)]; twice || !ok {
			t.Errorf("%#v has the form of %#v (%t)", v, other, ok)
		}
		seen[string(text)] = v
	}
	if _, ok := appendContent(nil, []any{strings.Repeat("a", maxDigested), "b"}); ok {
		t.Error("a large one is digested")
	}
}
