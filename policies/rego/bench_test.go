package rego_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

// benchPolicies are the twenty policies that are also given to conftest.
func benchPolicies(t testing.TB, prepare func(file, text string) (string, string)) []*policies.Policy {
	t.Helper()
	names, err := filepath.Glob("testdata/bench/*.rego")
	if err != nil || len(names) != 21 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	f := files{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, content := filepath.ToSlash(name), string(text)
		if prepare != nil {
			file, content = prepare(file, content)
		}
		f[file] = content
	}
	return compile(t, rego.Options{}, f)
}

func benchObject(t testing.TB) *policies.Object {
	t.Helper()
	text, err := os.ReadFile("testdata/bench/deployment.json")
	if err != nil {
		t.Fatal(err)
	}
	return object(t, string(text))
}

func decideAll(b *testing.B, ps []*policies.Policy) {
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	o := benchObject(b)
	b.ReportAllocs()
	for b.Loop() {
		fresh := policies.NewObject(o.Map(), o.Origin, nil, nil)
		if d := e.Decide(context.Background(), creation(fresh)); d.Verdict() != policies.Denied {
			b.Fatal(told(d))
		}
	}
}

func BenchmarkTwentyPoliciesInOnePackage(b *testing.B) { decideAll(b, benchPolicies(b, nil)) }

func BenchmarkTwentyPoliciesInTwentyPackages(b *testing.B) {
	decideAll(b, benchPolicies(b, ownPackage))
}

func ownPackage(file, text string) (string, string) {
	const one = "package main\n"
	if len(text) > len(one) && text[:len(one)] == one {
		name := filepath.Base(file)
		text = "package policy." + name[:len(name)-len(".rego")] + "\n" + text[len(one):]
	}
	return file, text
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		benchPolicies(b, nil)
	}
}
