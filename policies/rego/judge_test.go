package rego_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

func TestMetadataReachesThePolicyAndTheViolation(t *testing.T) {
	p := one(t, `# METADATA
# title: Images are known
# description: >-
#   An image without a tag is another one tomorrow.
# related_resources:
#   - ref: https://example.com/images
# custom:
#   severity: high
#   name: images/known
#   controls: [CIS 5.5.1, NIST SP 800-53 CM-7]
#   action: warn
package main.images

# METADATA
# title: No latest
# related_resources:
#   - ref: https://example.com/latest
# custom:
#   id: latest
#   fix: name a version
#   controls: CIS 1
deny contains "latest" if true

# METADATA
# title: Something is odd
# severity: low
deny_odd if true

# METADATA
# scope: document
# custom: {fix: ask the team}
deny_team contains "a" if true

deny_team contains {"msg": "b", "fix": "b's own", "url": "https://example.com/b"} if true
`)
	if p.Name != "images/known" || p.Kind != "rego" || p.Severity != policies.High || p.URL != "https://example.com/images" || p.Action != policies.Warn {
		t.Errorf("policy %+v", p)
	}
	if want := "Images are known. An image without a tag is another one tomorrow."; p.Doc != want {
		t.Errorf("doc %q, want %q", p.Doc, want)
	}
	if got, want := strings.Join(p.Controls, "|"), "CIS 5.5.1|NIST SP 800-53 CM-7|CIS 1"; got != want {
		t.Errorf("controls %s, want %s", got, want)
	}
	if got, want := strings.Join(p.Rules, " "), "latest deny_odd deny_team"; got != want {
		t.Errorf("rules %s, want %s", got, want)
	}
	if p.Origin.File != "policy.rego" || p.Origin.Line != 12 {
		t.Errorf("origin %+v", p.Origin)
	}
	d := decide(t, []*policies.Policy{p}, creation(object(t, web)))
	var got []string
	for _, v := range d.Results[0].Finding.Violations {
		got = append(got, fmt.Sprintf("%s: %s (%s) %s", v.Rule, v.Message, v.Fix, v.URL))
	}
	same(t, got, []string{
		"latest: latest (name a version) https://example.com/latest",
		"deny_odd: Something is odd () ",
		"deny_team: a (ask the team) ",
		"deny_team: b (b's own) https://example.com/b",
	})
}

func TestThePolicyOfRulesThatHaveMetadataEach(t *testing.T) {
	p := one(t, "package main\n# METADATA\n# title: One\n# custom: {severity: low}\ndeny contains \"a\" if true\n# METADATA\n# title: Two\n# custom: {severity: critical}\ndeny contains \"b\" if true\n")
	if p.Doc != "One. Two" || p.Severity != policies.Critical {
		t.Errorf("doc %q, severity %s", p.Doc, p.Severity)
	}
}

func TestMetadataOfPackagesAbove(t *testing.T) {
	ps := compile(t, rego.Options{}, files{
		"a.rego": "# METADATA\n# scope: subpackages\n# custom: {severity: high, match: {kinds: [Pod]}}\npackage team\n",
		"b.rego": "package team.images\ndeny contains \"x\" if true\n",
	})
	if len(ps) != 1 || ps[0].Severity != policies.High || len(ps[0].Match.Kinds) != 1 {
		t.Errorf("policies %+v", ps[0])
	}
}

func TestARuleThatAsksForItsOwnMetadata(t *testing.T) {
	p := one(t, `package main
# METADATA
# title: Mine
# custom: {code: C1}
deny contains sprintf("%s %s", [m.title, m.custom.code]) if m := rego.metadata.rule()
# METADATA
# title: Chained
warn contains chain[0].annotations.title if chain := rego.metadata.chain()
`)
	same(t, told(decide(t, []*policies.Policy{p}, creation(object(t, web)))), []string{"main/deny ! Mine C1", "main/warn ? Chained"})
}

func TestPathsOfResults(t *testing.T) {
	for _, tc := range []struct{ name, result, want string }{
		{"text", `{"msg": "m", "path": "spec.template.spec.containers[1].image"}`, "spec.template.spec.containers[1].image"},
		{"a list", `{"msg": "m", "path": ["metadata", "labels", "app.kubernetes.io/name"]}`, "metadata.labels[app.kubernetes.io/name]"},
		{"a list with an index", `{"msg": "m", "field": ["spec", "x", 3]}`, "spec.x[3]"},
		{"from input", `{"msg": "m", "path": "input.spec.replicas"}`, "spec.replicas"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := one(t, "package main\ndeny contains "+tc.result+" if true\n")
			d := decide(t, []*policies.Policy{p}, creation(object(t, web)))
			if got := d.Results[0].Finding.Violations[0].Path.String(); got != tc.want {
				t.Errorf("path %s, want %s", got, tc.want)
			}
		})
	}
	t.Run("what is no path is an error", func(t *testing.T) {
		p := one(t, "package main\ndeny contains {\"msg\": \"m\", \"path\": [{}]} if true\n")
		same(t, told(decide(t, []*policies.Policy{p}, creation(object(t, web)))),
			[]string{`main failed: policy.rego:2:1: rule deny: path is array, expected a path such as spec.replicas or ["spec", "replicas"]`})
	})
	t.Run("conftest's location", func(t *testing.T) {
		p := one(t, "package main\ndeny contains {\"msg\": \"m\", \"_loc\": {\"file\": \"x.yaml\", \"line\": 7}, \"severity\": \"S1\", \"n\": 3, \"list\": [1]} if true\n")
		f := decide(t, []*policies.Policy{p}, creation(object(t, web))).Results[0].Finding
		if pos := f.Violations[0].Pos; pos.File != "x.yaml" || pos.Line != 7 {
			t.Errorf("position %+v", pos)
		}
		same(t, []string{fmt.Sprint(f.Evidence)}, []string{"[{n 3} {severity S1}]"})
	})
}

func TestAnExceptionIsRecorded(t *testing.T) {
	p := one(t, "package main\ndeny_a contains \"a\" if true\nexception contains [\"a\"] if true\n")
	d := decide(t, []*policies.Policy{p}, creation(object(t, web)))
	r := d.Results[0]
	if r.Outcome != policies.Passed || fmt.Sprint(r.Finding.Evidence) != "[{exception rule deny_a: 1 results are excepted by the policy itself}]" {
		t.Errorf("%s %v", r.Outcome, r.Finding.Evidence)
	}
}

func TestAnErrorOfOnePackageIsItsOwn(t *testing.T) {
	ps := compile(t, rego.Options{}, files{
		"a.rego":   "package a\ndeny contains \"a\" if data.lib.x == 3\n",
		"b.rego":   "package b\ndeny contains \"b\" if input.kind\n",
		"c.rego":   "package c\ndeny contains \"c\" if data.lib.fine\n",
		"lib.rego": "package lib\nfine if true\nx := 1 if input.kind\nx := 2 if input.spec\n",
	})
	d := decide(t, ps, creation(object(t, web)))
	same(t, told(d), []string{"a failed: lib.rego:3:1: complete rules must not produce multiple outputs", "b/deny ! b", "c/deny ! c"})
	if d.Verdict() != policies.Denied {
		t.Errorf("verdict %s", d.Verdict())
	}
}

// A rule with two values has the first one in what was computed when the query fails: the next package is not to take it for the only one.
func TestWhatAFailedPackageComputedIsNotTakenByTheNext(t *testing.T) {
	for _, review := range []string{"", "kubernetes.admission."} {
		ps := compile(t, rego.Options{}, files{
			"a.rego":   "package " + review + "a\ndeny contains \"a\" if data.lib.x == 3\n",
			"b.rego":   "package " + review + "b\ndeny contains \"b\" if data.lib.x == 3\n",
			"lib.rego": "package lib\nx := 1 if true\nx := 2 if y\ny if true\n",
		})
		d := decide(t, ps, creation(object(t, web)))
		same(t, told(d), []string{
			review + "a failed: lib.rego:2:1: complete rules must not produce multiple outputs",
			review + "b failed: lib.rego:2:1: complete rules must not produce multiple outputs",
		})
	}
}

const builtinError = "package main\ndeny contains \"big\" if to_number(input.metadata.name) > 3\n"

func TestABuiltinThatFailsIsUndefinedAsInConftest(t *testing.T) {
	d := decide(t, compile(t, rego.Options{}, files{"a.rego": builtinError}), creation(object(t, web)))
	same(t, told(d), nil)
	same(t, []string{fmt.Sprint(d.Results[0].Finding.Evidence)}, []string{`[{undefined a.rego:2:24: to_number: strconv.ParseFloat: parsing "web": invalid syntax}]`})
}

func TestABuiltinThatFailsIsAFailureWhereThatIsAsked(t *testing.T) {
	ps := compile(t, rego.Options{StrictBuiltinErrors: true}, files{"a.rego": builtinError, "b.rego": "package b\ndeny contains \"b\" if true\n"})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{
		"b/deny ! b",
		`main failed: a.rego:2:24: to_number: strconv.ParseFloat: parsing "web": invalid syntax`,
	})
}

// exponential takes longer than any test has.
const exponential = `package slow
n := numbers.range(1, 200)
deny contains "x" if { some a in n; some b in n; some c in n; some d in n; some e in n; a + b + c + d + e == 0 }
`

func TestAnEvaluationThatIsCancelledIsAFailureToJudge(t *testing.T) {
	ps := compile(t, rego.Options{Timeout: time.Hour}, files{"a.rego": "package a\ndeny contains \"a\" if true\n", "slow.rego": exponential})
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		time.Sleep(20 * time.Millisecond)
		cancel(errors.New("the request's deadline"))
	}()
	d := e.Decide(ctx, creation(object(t, web)))
	// Whether there was time left for the other package is chance. It does not pass.
	const slow = "slow failed: no time left to judge: the request's deadline"
	if got := told(d); !slices.Equal(got, []string{"a/deny ! a", slow}) {
		same(t, got, []string{"a failed: a.rego:1:1: package a: the request's deadline", slow})
	}
}

func TestAnEvaluationThatTakesTooLongIsAFailureToJudge(t *testing.T) {
	ps := compile(t, rego.Options{Timeout: 20 * time.Millisecond}, files{"z.rego": "package z\ndeny contains \"z\" if true\n", "slow.rego": exponential})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{
		"slow failed: slow.rego:1:1: package slow: evaluation took too long: more than 20ms", "z/deny ! z"})
}

func TestWhatIsKeptOfAnAnswerIsBounded(t *testing.T) {
	p := one(t, `package main
deny contains sprintf("%d", [n]) if some n in numbers.range(1, 1234)
warn contains {"msg": concat("", [x | x := "0123456789"; numbers.range(1, 1000)[_]]), "fix": "f"} if true
warn contains msg if { some i in numbers.range(1, 1); msg := sprintf("%s", [concat("", ["é" | numbers.range(1, 5000)[_]])]) }
`)
	f := decide(t, []*policies.Policy{p}, creation(object(t, web))).Results[0].Finding
	if len(f.Violations) != 1001 {
		t.Fatalf("%d violations", len(f.Violations))
	}
	if got, want := f.Violations[1000].Message, "policy main found 236 violations more, expected at most 1000 to be told"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	p = one(t, "package main\ndeny contains msg if msg := concat(\"\", [\"é\" | numbers.range(1, 5000)[_]])\n")
	f = decide(t, []*policies.Policy{p}, creation(object(t, web))).Results[0].Finding
	if n := len(f.Violations[0].Message); n > 4100 {
		t.Errorf("message of %d bytes", n)
	}
}

func TestPoliciesJudgeAtTheSameTime(t *testing.T) {
	ps := benchPolicies(t, ownPackage)
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := benchObject(t)
	shared := policies.NewObject(o.Map(), o.Origin, nil, nil)
	want := told(e.Decide(t.Context(), creation(o)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				same(t, told(e.Decide(t.Context(), creation(shared))), want)
			}
		})
	}
	wg.Wait()
}

func TestTheBenchPoliciesSayWhatTheyShould(t *testing.T) {
	same(t, told(decide(t, benchPolicies(t, nil), creation(benchObject(t)))), []string{
		"main/deny_latest_tag ! Deployment web: image docker.io/envoyproxy/envoy:latest of container proxy has no fixed tag",
		"main/deny_probes ! Deployment web: container proxy has no livenessProbe",
		"main/deny_read_only_root ! Deployment web: container proxy can write its root file system",
		"main/deny_registries ! Deployment web: image docker.io/envoyproxy/envoy:latest comes from a registry that is not known",
		"main/deny_resources ! Deployment web: container proxy has no resources.limits.cpu",
	})
}

func TestADeletionIsJudgedOnTheOldObjectWhenAskedFor(t *testing.T) {
	p := one(t, "# METADATA\n# custom: {match: {operations: [DELETE]}}\npackage main\ndeny contains input.metadata.name if true\n")
	c := creation(object(t, web))
	c.Operation, c.Old, c.Object = policies.Delete, c.Object, nil
	same(t, told(decide(t, []*policies.Policy{p}, c)), []string{"main/deny ! web"})
}

func TestNumbersAreThoseOfTheManifest(t *testing.T) {
	p := one(t, `package main
deny contains json.marshal(input.spec) if true
warn contains "int" if input.spec.i == 1
warn contains "sum" if input.spec.f + 1 == 2.5`)
	o := policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"name": "x"}, "spec": map[string]any{
		"i": int64(1), "big": int64(9007199254740993), "f": 1.5, "whole": float64(3), "neg": int64(-4), "e": 1e30, "n": nil, "b": true, "s": "", "l": []any{}}},
		policies.Origin{}, nil, nil)
	same(t, told(decide(t, []*policies.Policy{p}, creation(o))), []string{
		`main/deny ! {"b":true,"big":9007199254740993,"e":1e+30,"f":1.5,"i":1,"l":[],"n":null,"neg":-4,"s":"","whole":3}`,
		"main/warn ? int", "main/warn ? sum"})
}

// FuzzResults gives rules any JSON as their value: whatever it is, it is judged, told or refused, and never a panic.
func FuzzResults(f *testing.F) {
	for _, seed := range []string{`"m"`, `{"msg":"m","path":["a",1]}`, `{"msg":"m","path":"a[b"}`, `[["a"],{"msg":null}]`, `true`, `null`, `{"msg":"","_loc":{"line":1e9,"file":"x"}}`, `{"msg":"m","path":[1.5]}`} {
		f.Add(seed)
	}
	ps := compile(f, rego.Options{}, files{
		"set.rego":   "package set\ndeny contains input.v if input.v\n",
		"value.rego": "package value\nwarn := input.v\n",
		"each.rego":  "package each\nviolation contains x if some x in input.v\nexception contains input.v if true\n",
	})
	f.Fuzz(func(t *testing.T, text string) {
		var v any
		if len(text) > 1<<12 || !decodes(text, &v) {
			t.Skip()
		}
		o := policies.NewObject(map[string]any{"kind": "X", "v": v}, policies.Origin{}, nil, nil)
		d := decide(t, ps, creation(o))
		for _, r := range d.Results {
			var panicked *policies.PanicError
			if errors.As(r.Err, &panicked) {
				t.Fatalf("%v\n%s", r.Err, panicked.Stack)
			}
			for _, v := range r.Finding.Violations {
				if v.Message == "" {
					t.Errorf("violation without a message of %s", text)
				}
			}
		}
	})
}

// FuzzSources gives the compiler any text as Rego: it compiles or says why, with a place in the file, and what compiles judges.
func FuzzSources(f *testing.F) {
	for _, tc := range kindCases {
		f.Add(tc.policy)
	}
	f.Add("package main\ndeny[msg] { msg := 1 }")
	f.Add("package kubernetes.admission\ndeny contains x if { some k; input.request[k]; x := data.inventory[k] }")
	f.Add("# METADATA\n# custom: {match: {kinds: [1]}}\npackage a\nwarn := {\"msg\": input} if true else := 3")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			t.Skip()
		}
		ps, err := rego.Compiler(rego.Options{Timeout: 100 * time.Millisecond})(context.Background(), files{"a.rego": text}.documents())
		for _, line := range leaves(err) {
			if !strings.HasPrefix(line, "a.rego:") {
				t.Errorf("error without its place: %s", line)
			}
		}
		if err != nil || len(ps) == 0 {
			return
		}
		for _, r := range decide(t, ps, creation(object(t, web))).Results {
			var panicked *policies.PanicError
			if errors.As(r.Err, &panicked) {
				t.Fatalf("%v\n%s", r.Err, panicked.Stack)
			}
		}
	})
}
