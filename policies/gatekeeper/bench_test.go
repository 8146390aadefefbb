package gatekeeper_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// benchPolicies are n templates for Pods and workloads, with a constraint each: as long as those of a Pod Security library are.
func benchPolicies(b *testing.B, n int) *policies.Engine {
	b.Helper()
	const rego = `package judged
import data.lib.exempt
violation[{"msg": msg, "details": {}}] {
  c := containers[_]
  not exempt.is_exempt(c, input.parameters.exemptImages)
  c.securityContext.field%d == true
  msg := sprintf("container %v sets field %d, resource %v", [c.name, input.review.object.metadata.name])
}
violation[{"msg": msg, "details": {}}] {
  spec.host%d == true
  msg := sprintf("host %v", [input.review.object.metadata.name])
}
spec = input.review.object.spec { input.review.kind.kind == "Pod" }
spec = input.review.object.spec.template.spec { input.review.kind.kind != "Pod" }
containers[c] { c := spec.containers[_] }
containers[c] { c := spec.initContainers[_] }`
	const lib = `
      libs:
        - |
          package lib.exempt
          is_exempt(container, images) { image := images[_]; startswith(container.image, image) }
`
	var text strings.Builder
	for i := range n {
		name := fmt.Sprintf("Judged%c", 'a'+i)
		one := strings.TrimSuffix(template(strings.ReplaceAll(rego, "%d", fmt.Sprint(i))), "\n---\n") + lib + "---\n" +
			constraint("match: {kinds: [{apiGroups: [apps], kinds: [Deployment]}]}\nparameters: {exemptImages: [registry.example.com/]}")
		one = strings.ReplaceAll(one, "Judged", name)
		one = strings.ReplaceAll(one, "{name: judged}", "{name: "+strings.ToLower(name)+"}")
		one = strings.ReplaceAll(one, "limit:", "exemptImages: {type: array, items: {type: string}}\n            limit:")
		text.WriteString(one)
	}
	e, err := policies.New(mustCompile(b, text.String()), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func BenchmarkTwentyTemplatesOnADeployment(b *testing.B) {
	e := benchPolicies(b, 20)
	o := object(b, `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web, team: a}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      initContainers: [{name: init, image: nginx, securityContext: {runAsNonRoot: true}}]
      containers:
        - {name: a, image: nginx, ports: [{containerPort: 80}], securityContext: {field3: true, runAsNonRoot: true}, resources: {limits: {cpu: 1, memory: 1Gi}}}
        - {name: b, image: envoy, securityContext: {runAsNonRoot: true}, resources: {limits: {cpu: 1, memory: 1Gi}}}
`)
	b.ReportAllocs()
	for b.Loop() {
		fresh := policies.NewObject(o.Map(), o.Origin, nil, nil)
		d := e.Decide(context.Background(), creation(fresh))
		if d.Verdict() != policies.Denied || len(d.Results) != 20 {
			b.Fatal(d)
		}
	}
}

func BenchmarkKindsThatNoConstraintNames(b *testing.B) {
	e := benchPolicies(b, 20)
	o := object(b, pod)
	for b.Loop() {
		fresh := policies.NewObject(o.Map(), o.Origin, nil, nil)
		if d := e.Decide(context.Background(), creation(fresh)); len(d.Results) != 0 {
			b.Fatal(d)
		}
	}
}
