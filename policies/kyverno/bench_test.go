package kyverno_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

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
