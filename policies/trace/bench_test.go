package trace_test

import (
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies/trace"
)

// ample is a Deployment as large as they come by day: three containers.
func ample() string {
	text := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop, labels: {app: web, c: d}}\nspec:\n  replicas: 3\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n"
	for i := range 3 {
		text += fmt.Sprintf("      - {name: c%d, image: \"registry.example.com/x:%d\", args: [a, b, c], env: [{name: A, value: x}, {name: B, value: y}, {name: C, value: z}], ports: [{containerPort: 80, protocol: TCP}], resources: {limits: {cpu: 100m, memory: 1Gi}, requests: {cpu: 10m}}, livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 10}}\n", i, i)
	}
	return text
}

// BenchmarkJudge is the whole policy on one request, its look-ups from memory.
func BenchmarkJudge(b *testing.B) {
	w := cluster(b)
	w.forms = w.forms[1:]
	w.declares(b, apps, ample())
	p := newPolicy(b, w, nil)
	for _, bc := range []struct {
		name string
		q    request
		want string
	}{
		{"a Deployment that a reconciler updates", request{user: fluxUser, old: with(ample(), "x:1", "x:0"), object: with(ample(), "labels: {app: web, c: d}", strings.Replace(marks, "{app: web", "{app: web, c: d", 1))}, "reconciler"},
		{"a Deployment that a stolen token updates", request{user: fluxUser, old: ample(), object: with(ample(), "x:1", "evil")}, ""},
		{"a Pod of a ReplicaSet", request{user: rsUser, object: pod}, "derived"},
		{"a person", request{user: "alice", old: ample(), object: with(ample(), "x:1", "evil")}, ""},
		{"the status of a node", request{user: "system:node:node-1", groups: []string{"system:nodes"}, res: "nodes/status", old: node, object: node + "status: {phase: Running}\n"}, "derived"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			if bc.name == "a Pod of a ReplicaSet" {
				w.declares(b, apps, deployment)
			}
			c := bc.q.change(b)
			b.ReportAllocs()
			for b.Loop() {
				f, err := p.Judge(b.Context(), c)
				if got := answer(f, err); bc.want != "" && got != bc.want {
					b.Fatal(got)
				}
			}
		})
	}
}

var _ trace.Index = (*world)(nil)
