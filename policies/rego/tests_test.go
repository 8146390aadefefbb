package rego_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies/rego"
)

func TestTestRulesRunAsOpaTestRunsThem(t *testing.T) {
	f := files{
		"policy.rego": "package main\ndeny contains \"privileged\" if input.spec.privileged\ndeny contains \"team\" if not input.team in data.teams\n",
		"teams.yaml":  "teams: [a, b]\n",
		"policy_test.rego": `package main_test
import data.main

test_privileged if main.deny == {"privileged"} with input as {"team": "a", "spec": {"privileged": true}}

test_team if "team" in main.deny with input as {"team": "c"}

test_team if main.deny == set() with input as {"team": "b"}

test_fails if main.deny == {"x"} with input as {"team": "a"}

test_false := false

test_error if { a == 3 }
a := 1 if true
a := 2 if true

todo_test_later if false

test_prints if { print("hello", 3); true }

test_cases[name] if {
	some name, tc in {"one": {"n": 1, "want": 1}, "two": {"n": 2, "want": 3}}
	tc.n == tc.want
}

test_mock if main.deny == set() with input as {"team": "z"} with data.teams as ["z"]
`,
	}
	results, err := rego.Test(context.Background(), rego.Options{}, f.documents(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		state := "failed"
		switch {
		case r.Err != nil:
			state = "error " + r.Err.Error()
		case r.Skipped:
			state = "skipped"
		case r.Passed:
			state = "passed"
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s:%d %s.%s %s %s %s", r.Pos.File, r.Pos.Line, r.Package, r.Name, state, strings.Join(r.Failed, ","), r.Output)))
	}
	same(t, got, []string{
		"policy_test.rego:4 main_test.test_privileged passed",
		"policy_test.rego:6 main_test.test_team passed",
		"policy_test.rego:8 main_test.test_team#01 passed",
		"policy_test.rego:10 main_test.test_fails failed",
		"policy_test.rego:12 main_test.test_false failed",
		"policy_test.rego:14 main_test.test_error error policy_test.rego:15:1: complete rules must not produce multiple outputs",
		"policy_test.rego:18 main_test.todo_test_later skipped",
		"policy_test.rego:20 main_test.test_prints passed  hello 3",
		"policy_test.rego:22 main_test.test_cases failed two",
		"policy_test.rego:27 main_test.test_mock passed",
	})
	some, err := rego.Test(context.Background(), rego.Options{}, f.documents(), regexp.MustCompile(`main_test\.test_(team|fails)`))
	if err != nil || len(some) != 3 {
		t.Errorf("%d results, %v", len(some), err)
	}
}

func TestTestsThatDoNotCompile(t *testing.T) {
	_, err := rego.Test(context.Background(), rego.Options{}, files{"a_test.rego": "package a\ntest_a if nothing(1)\ntest_b if http.send({})\n"}.documents(), nil)
	same(t, leaves(err), []string{"a_test.rego:2:11: undefined function nothing",
		"a_test.rego:3:11: http.send asks the network: a policy may call it only when gitgate.yaml allows it"})
}

func TestATestThatTakesTooLongIsAnError(t *testing.T) {
	results, err := rego.Test(context.Background(), rego.Options{Timeout: 20 * time.Millisecond},
		files{"a_test.rego": strings.Replace(exponential, "deny contains \"x\"", "test_x", 1)}.documents(), nil)
	if err != nil || len(results) != 1 || results[0].Err == nil || results[0].Passed {
		t.Errorf("results %+v, %v", results, err)
	}
}
