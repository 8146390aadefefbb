package kyverno_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gen"
)

// BenchmarkPodSecurity judges the manifests that other benchmarks judge too by the policies that are compared with the Kyverno CLI.
func BenchmarkPodSecurity(b *testing.B) {
	files, err := filepath.Glob("../../test/bench/policies/kyverno/*.yaml")
	if err != nil || len(files) == 0 {
		b.Fatalf("no policies: %v", err)
	}
	text := ""
	for _, f := range files {
		one, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		text += string(one) + "\n---\n"
	}
	e := engine(b, text)
	var objects []*policies.Object
	for m := range gen.Manifests(1000) {
		objects = append(objects, decode(b, "object.yaml", string(m.Text))...)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, o := range objects {
			e.Decide(context.Background(), creation(policies.NewObject(o.Map(), o.Origin, nil, nil)))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(objects)), "us/object")
}

// BenchmarkPolicies judges one Deployment, fresh each time, by twenty policies.
func BenchmarkPolicies(b *testing.B) {
	for name, body := range map[string]string{
		"pattern":     `validate: {message: m, pattern: {spec: {containers: [{image: "*:*", =(securityContext): {=(privileged): false}}]}}}`,
		"deny":        `validate: {message: m, deny: {conditions: {any: [{key: "{{ request.object.spec.hostNetwork || ` + "`false`" + ` }}", operator: Equals, value: true}]}}}`,
		"foreach":     `validate: {message: m, foreach: [{list: request.object.spec.containers, deny: {conditions: {any: [{key: "{{ element.image }}", operator: Equals, value: "*:none"}]}}}]}`,
		"podSecurity": `validate: {podSecurity: {level: baseline, version: latest}}`,
		"other kind":  "",
	} {
		b.Run(name, func(b *testing.B) {
			text := ""
			for i := range 20 {
				kind := "Pod"
				if body == "" {
					kind = "Service"
				}
				rule := body
				if rule == "" {
					rule = "validate: {message: m, deny: {}}"
				}
				text += strings.Replace(validate(kind, rule), "{name: p}", fmt.Sprintf("{name: p%d}", i), 1) + "---\n"
			}
			e := engine(b, text)
			template := decode(b, "object.yaml", deployment)[0]
			b.ReportAllocs()
			for b.Loop() {
				o := policies.NewObject(template.Map(), template.Origin, nil, nil)
				if d := e.Decide(context.Background(), creation(o)); d.Verdict() != policies.Allow {
					b.Fatal(d.Verdict())
				}
			}
		})
	}
}
