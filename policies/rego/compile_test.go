package rego_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

// leaves lists the errors that are joined in err, as text.
func leaves(err error) []string {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, leaves(e)...)
		}
		return out
	}
	return []string{err.Error()}
}

func TestWhatDoesNotCompileIsToldWithItsPlaces(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options rego.Options
		files   files
		want    []string
	}{
		{"a syntax error", rego.Options{}, files{"a.rego": "package main\n\ndeny contains msg if {\n\tx = = 1\n}\n"},
			[]string{"a.rego:4:6: unexpected eq token"}},
		{"a syntax error in v0", rego.Options{}, files{"a.rego": "package main\n\ndeny[msg] {\n\tx = = 1\n}\n\nwarn[msg] {\n\tmsg := \"x\"\n}\n"},
			[]string{"a.rego:4:6: unexpected eq token"}},
		{"an error in each of several files", rego.Options{}, files{"a.rego": "package main\n\ndeny contains x if {", "b.rego": "package main\ndeny contains"},
			[]string{"a.rego:", "b.rego:"}},
		{"an unsafe variable", rego.Options{}, files{"a.rego": "package main\n\ndeny contains msg if {\n\tnot input.x\n}\n"},
			[]string{"a.rego:3:15: var msg is unsafe in rule deny"}},
		{"all errors of one file", rego.Options{}, files{"a.rego": "package main\ndeny contains a if true\nwarn contains b if true\n"},
			[]string{"a.rego:2:15: var a is unsafe in rule deny", "a.rego:3:15: var b is unsafe in rule warn"}},
		{"more errors than OPA tells by itself", rego.Options{}, files{"a.rego": "package main\n" + strings.Repeat("deny contains a if true\n", 15)},
			slices.Repeat([]string{"var a is unsafe"}, 15)},
		{"an unknown function", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if nothing(1)\n"},
			[]string{"a.rego:2:22: undefined function nothing"}},
		{"columns count bytes", rego.Options{}, files{"a.rego": "package main\ndeny contains \"é\" if { x := \"é\"; nothing(x) }\n"},
			[]string{"a.rego:2:36: undefined function nothing"}},
		{"a recursive rule, by its own name", rego.Options{}, files{"a.rego": "package main\ndeny contains x if x := deny[_]\n"},
			[]string{"a.rego:2:1: rule data.main.deny is recursive"}},
		{"bytes that are no UTF-8", rego.Options{}, files{"a.rego": "package main\n# \xff\n"},
			[]string{"a.rego:2:3: text is not UTF-8"}},
		{"a file that ends inside a rule", rego.Options{}, files{"a.rego": "package a\n\ndeny contains x if\n"}, []string{"a.rego:3:18: unexpected eof token"}},
		{"an empty file", rego.Options{}, files{"a.rego": ""}, []string{"a.rego:1:1: rego file has no package, expected one and rules in it"}},
		{"a map of messages", rego.Options{}, files{"a.rego": "package main\ndeny[msg] if { msg := \"x\" }\n"},
			[]string{"a.rego:2:1: rule deny makes a map, expected a set of messages: write deny contains msg if { … }"}},
		{"a rule below deny", rego.Options{}, files{"a.rego": "package main\ndeny.images contains \"x\" if true\n"},
			[]string{"a.rego:2:1: rule deny makes a map"}},
		{"v0 where v1 is asked for", rego.Options{RegoVersion: "v1"}, files{"a.rego": "package main\ndeny[msg] { msg := \"x\" }\n"},
			[]string{"a.rego:2:1: `contains` keyword is required", "a.rego:2:1: `if` keyword is required before rule body"}},
		{"v1 where v0 is asked for", rego.Options{RegoVersion: "v0"}, files{"a.rego": "package main\ndeny contains \"x\" if true\n"},
			slices.Repeat([]string{"cannot be used for rule name"}, 5)},
		{"another version", rego.Options{RegoVersion: "v2"}, files{"a.rego": "package main\n"}, []string{"rego version \"v2\": expected v0 or v1"}},
		{"the network", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if http.send({\"method\": \"get\", \"url\": \"http://x\"}).status_code == 1\n"},
			[]string{"a.rego:2:22: http.send asks the network: a policy may call it only when gitgate.yaml allows it"}},
		{"chance", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if rand.intn(\"a\", 2) == 1\n"},
			[]string{"a.rego:2:22: rand.intn answers by chance"}},
		{"the environment", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if opa.runtime().env.HOME\n"},
			[]string{"a.rego:2:22: opa.runtime reads the environment of the process"}},
		{"leave for the environment", rego.Options{AllowBuiltins: []string{"opa.runtime", "nothing"}}, files{"a.rego": "package main\ndeny contains \"x\" if true\n"},
			[]string{"rego builtin nothing needs no leave or does not exist", "rego builtin opa.runtime cannot be allowed"}},
		{"a namespace that nobody has", rego.Options{Namespaces: []string{"mein"}}, files{"a.rego": "package main\ndeny contains \"x\" if true\n"},
			[]string{"rego namespace mein: no source has package mein, expected one of main"}},
		{"a namespace without rules", rego.Options{Namespaces: []string{"main", "lib"}}, files{"a.rego": "package main\ndeny contains \"x\" if true\n", "lib.rego": "package lib\nx := 1\n"},
			[]string{"lib.rego:1:1: package lib has no rule deny, warn or violation"}},
		{"no rule anywhere", rego.Options{}, files{"a.rego": "package authz\nallow if true\n"},
			[]string{"a.rego:1:1: package authz has no rule deny, warn or violation, and neither has any other package: nothing would be judged"}},
		{"METADATA that is no YAML", rego.Options{}, files{"a.rego": "package main\n# METADATA\n# title: [\ndeny contains \"x\" if true\n"}, []string{"a.rego:"}},
		{"METADATA with a severity that does not exist", rego.Options{}, files{"a.rego": "package main\n# METADATA\n# custom:\n#  severity: deadly\ndeny contains \"x\" if true\n"},
			[]string{"a.rego:2:1: METADATA severity is \"deadly\", expected info, low, medium, high or critical"}},
		{"METADATA with wrong matches", rego.Options{}, files{"a.rego": "package main\n# METADATA\n# custom:\n#  controls: 3\n#  match: {kinds: [a/b/c/d, {kind: [1]}], operations: [PATCH], names: [x]}\n#  action: refuse\ndeny contains \"x\" if true\n"},
			[]string{"custom.action \"refuse\": expected deny, warn or audit", "custom.controls is 3", "custom.match.kinds: \"a/b/c/d\"", "custom.match.kinds: kind has 1", "custom.match.names is unknown", "custom.match.operations has \"PATCH\""}},
		{"METADATA of one package in two files", rego.Options{}, files{"a.rego": "# METADATA\n# title: a\npackage main\ndeny contains \"x\" if true\n", "b.rego": "# METADATA\n# title: b\npackage main\nwarn contains \"x\" if true\n"},
			[]string{"rego:1:1: package annotation redeclared: "}},
		{"the uid of a request", rego.Options{}, files{"a.rego": "package kubernetes.admission\ndeny contains \"x\" if input.request.uid == \"1\"\n"},
			[]string{"a.rego:2:22: input.request.uid differs for each request"}},
		{"data in two files", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if true\n", "data.json": `{"a": {"b": 1}}`, "data.yaml": "a:\n  b: 2\n"},
			[]string{"data.yaml:1: data.a.b is given twice, also at data.json:1"}},
		{"data where a rule is", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if true\n", "data.json": `{"main": {"deny": ["y"]}}`},
			[]string{"a.rego:2:1: conflicting rule for data path main/deny found"}},
		{"data under a name that is taken", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if true\n", "data.json": `{"inventory": {}}`},
			[]string{"data.json:1: data.inventory is the other objects of the change set, expected another name"}},
		{"data that is no JSON", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if true\n", "data.json": `{"a": `},
			[]string{"data.json:1: data file is no JSON"}},
		{"data that is no map", rego.Options{}, files{"a.rego": "package main\ndeny contains \"x\" if true\n", "data.yaml": "- a\n"},
			[]string{"data.yaml:1: data file holds no map"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ps, err := rego.Compiler(tc.options)(context.Background(), tc.files.documents())
			got := leaves(err)
			if err == nil {
				t.Fatalf("compiles to %d policies, want errors", len(ps))
			}
			slices.Sort(got)
			matches := len(got) == len(tc.want)
			if matches {
				for i, want := range tc.want {
					matches = matches && strings.Contains(got[i], want)
				}
			}
			if !matches {
				t.Errorf("errors\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
			}
		})
	}
}

func TestErrorsHaveTheirSourceLine(t *testing.T) {
	_, err := rego.Compiler(rego.Options{})(context.Background(), files{"a.rego": "package main\ndeny contains x if {\n\ttrue }\n"}.documents())
	var at *policies.PositionError
	if !errors.As(err, &at) || at.Pos.Text != "deny contains x if {" {
		t.Errorf("error %#v, want one with its line", err)
	}
}

func TestGuardedBuiltinsCanBeAllowed(t *testing.T) {
	ps := compile(t, rego.Options{AllowBuiltins: []string{"http.send", "uuid.rfc4122"}}, files{
		"net.rego":    "package net\ndeny contains \"x\" if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1:1\"}).status_code == 200\n",
		"chance.rego": "package chance\ndeny contains \"x\" if uuid.rfc4122(input.kind) == \"\"\n",
	})
	for _, p := range ps {
		if got, want := p.Needs.Has(policies.Online), p.Name == "net"; got != want {
			t.Errorf("policy %s needs the network: %v, want %v", p.Name, got, want)
		}
	}
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{"net deferred: the network"})
}

func TestATimeIsNoSideEffect(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"a.rego": "package main\ndeny contains \"late\" if time.now_ns() > time.parse_rfc3339_ns(\"2020-01-01T00:00:00Z\")\n"})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{"main/deny ! late"})
}

func TestSchemasOfPoliciesAreNotFetched(t *testing.T) {
	ps := compile(t, rego.Options{StrictBuiltinErrors: true}, files{"a.rego": "package main\ndeny contains \"x\" if { json.verify_schema({\"$ref\": \"http://127.0.0.1:1/s.json\"})[0] == true }\n"})
	same(t, told(decide(t, ps, creation(object(t, web)))), nil)
}

func TestDataFilesLieBesideThePolicies(t *testing.T) {
	policy := "package main\ndeny contains sprintf(\"%v\", [data.PATH]) if true\n"
	for _, tc := range []struct {
		name    string
		options rego.Options
		files   files
		path    string
		want    string
	}{
		{"beside the policies", rego.Options{}, files{"policies/a.rego": "", "policies/teams.yaml": "teams: [a, b]"}, "teams", `["a", "b"]`},
		{"beside the policies at the top", rego.Options{}, files{"a.rego": "", "data.json": `{"n": 1.0, "m": 12345678901234567890}`}, "m", `12345678901234567890`},
		{"in a folder below, which names it", rego.Options{}, files{"policies/a.rego": "", "policies/x/y/teams.json": `{"teams": 3}`}, "x.y.teams", `3`},
		{"in a folder below the top", rego.Options{}, files{"a.rego": "", "x/teams.json": `{"teams": 3}`}, "x.teams", `3`},
		{"with policies in both folders, as OPA has it", rego.Options{}, files{"p/a.rego": "", "p/x/b.rego": "package b\ny := 1\n", "p/x/d.json": `{"n": 3}`}, "x.n", `3`},
		{"in a folder of its own", rego.Options{}, files{"policies/a.rego": "", "data/teams.json": `{"teams": 3}`}, "teams", `3`},
		{"below a folder that is named", rego.Options{DataRoots: []string{"config/data/"}}, files{"policies/a.rego": "", "config/data/x/teams.json": `{"teams": 3}`}, "x.teams", `3`},
		{"merged", rego.Options{}, files{"a.rego": "", "a.json": `{"m": {"a": 1}}`, "b.yaml": "m: {b: 2}"}, "m", `{"a": 1, "b": 2}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, text := range tc.files {
				if strings.HasSuffix(name, ".rego") && text == "" {
					tc.files[name] = strings.ReplaceAll(policy, "PATH", tc.path)
				}
			}
			same(t, told(decide(t, compile(t, tc.options, tc.files), creation(object(t, web)))), []string{"main/deny ! " + tc.want})
		})
	}
}

func TestDataAndRulesOfOnePackageAreMerged(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"a.rego": "package main\ndeny contains x if x := data.main.names[_]\n", "data.json": `{"main": {"names": ["n"]}}`})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{"main/deny ! n"})
}

func TestDecodedDocumentsAreData(t *testing.T) {
	docs := files{"p/a.rego": "package main\ndeny contains x if x := data.allowed[_]\n"}.documents()
	data := policies.NewObject(map[string]any{"allowed": []any{"a", int64(3)}}, policies.Origin{File: "p/d.yaml", Line: 4}, nil, nil)
	again := policies.NewObject(map[string]any{"allowed": "b"}, policies.Origin{File: "p/e.yaml", Line: 7}, nil, nil)
	docs = append(docs, policies.Document{File: "p/d.yaml", Object: data}, policies.Document{File: "p/e.yaml", Object: again})
	for _, d := range docs {
		if !rego.Claims(d) {
			t.Errorf("document %s is not claimed", d.File)
		}
	}
	_, err := rego.Compiler(rego.Options{})(context.Background(), docs)
	if err == nil || err.Error() != "p/e.yaml:7: data.allowed is given twice, also at p/d.yaml:4" {
		t.Errorf("error %v", err)
	}
}

func TestClaims(t *testing.T) {
	manifest := policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Pod"}, policies.Origin{}, nil, nil)
	schema := policies.NewObject(map[string]any{"$schema": "x"}, policies.Origin{}, nil, nil)
	for _, tc := range []struct {
		doc  policies.Document
		want bool
	}{
		{policies.Document{File: "p/a.rego"}, true},
		{policies.Document{File: "p/a_test.rego"}, true},
		{policies.Document{File: "p/data.yaml"}, true},
		{policies.Document{File: "p/a.txt"}, false},
		{policies.Document{File: "p/a.yaml", Object: manifest}, false},
		{policies.Document{File: "p/a.json", Object: schema}, false},
	} {
		if got := rego.Claims(tc.doc); got != tc.want {
			t.Errorf("claims %s: %v, want %v", tc.doc.File, got, tc.want)
		}
	}
}

func TestTestsAreNoPolicies(t *testing.T) {
	ps := compile(t, rego.Options{}, files{
		"a.rego":      "package main\ndeny contains \"x\" if true\n",
		"a_test.rego": "package main_test\nimport data.main\ntest_a if count(main.deny) == 1 with http.send as {}\ndeny contains \"y\" if true\n",
	})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{"main/deny ! x"})
}

func TestNamespacesLimitWhatIsPolicy(t *testing.T) {
	ps := compile(t, rego.Options{Namespaces: []string{"a"}}, files{
		"a.rego": "package a\ndeny contains \"a\" if true\n",
		"b.rego": "package b\ndeny contains \"b\" if true\n",
	})
	same(t, told(decide(t, ps, creation(object(t, web)))), []string{"a/deny ! a"})
}

func TestPackagesThatNobodyUsesAreToldOf(t *testing.T) {
	var warned []string
	compile(t, rego.Options{Warn: func(err error) { warned = append(warned, err.Error()) }}, files{
		"a.rego":    "package main\nimport data.lib\ndeny contains \"a\" if lib.yes\n",
		"lib.rego":  "package lib\nyes := true\n",
		"lost.rego": "package lost\n\ndenny contains \"x\" if true\n",
	})
	same(t, warned, []string{"lost.rego:1:1: package lost has no rule deny, warn or violation and no policy uses it: nobody is judged by it"})
}
