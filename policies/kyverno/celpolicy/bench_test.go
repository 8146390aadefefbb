package celpolicy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
)

// twenty is policies for Pods as teams have them, each under a name of its own.
func twenty(resource string) string {
	bodies := []string{
		`variables: [{name: all, expression: "object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([])"}]
validations: [{message: m, expression: "variables.all.all(c, !c.?securityContext.?privileged.orValue(false))"}]`,
		`validations: [{message: m, expression: "!object.spec.?hostNetwork.orValue(false) && !object.spec.?hostPID.orValue(false) && !object.spec.?hostIPC.orValue(false)"}]`,
		`validations: [{message: m, expression: "object.spec.containers.all(c, parseImageReference(c.image).tag() != 'latest')"}]`,
		`validations: [{message: m, expression: "object.spec.?volumes.orValue([]).all(v, !has(v.hostPath))"}]`,
	}
	var b strings.Builder
	for i := range 20 {
		b.WriteString(strings.Replace(policy(resource, bodies[i%len(bodies)]), "{name: p}", fmt.Sprintf("{name: p%d}", i), 1) + "---\n")
	}
	return b.String()
}

const workload = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers: [{name: a, image: "registry.example.com/web:1"}, {name: b, image: "registry.example.com/redis:2"}]
      volumes: [{name: a, emptyDir: {}}]
`

// BenchmarkPolicies judges one Deployment, fresh each time, by twenty policies.
func BenchmarkPolicies(b *testing.B) {
	for _, resource := range []string{"pods", "services"} {
		b.Run(resource, func(b *testing.B) {
			compiled, err := compile(b, celpolicy.Options{}, twenty(resource))
			if err != nil {
				b.Fatal(err)
			}
			e, err := policies.New(compiled, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			o := decode(b, "object.yaml", workload)[0]
			res, _, _ := served{}.Resource(nil, o.Kind)
			b.ReportAllocs()
			for b.Loop() {
				fresh := policies.NewObject(o.Map(), o.Origin, nil, nil)
				c := &policies.Change{Operation: policies.Create, Object: fresh, Resource: res, Namespaced: true, Namespace: "shop"}
				if d := e.Decide(context.Background(), c); d.Verdict() != policies.Allow || resource == "pods" && len(d.Results) != 20 {
					b.Fatal(d.Verdict(), len(d.Results))
				}
			}
		})
	}
}

// BenchmarkCompile compiles twenty policies, with what is made of them for controllers.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := compile(b, celpolicy.Options{}, twenty("pods")); err != nil {
			b.Fatal(err)
		}
	}
}
