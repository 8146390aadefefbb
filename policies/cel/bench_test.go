package cel_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// benchSpecs are what teams ask of workloads, twenty times.
var benchSpecs = []string{
	`validations: [{expression: "object.spec.replicas <= 50", messageExpression: "'at most 50 replicas, not ' + string(object.spec.replicas)"}]`,
	`validations: [{expression: "has(object.metadata.labels) && 'app.kubernetes.io/name' in object.metadata.labels", message: label}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, !c.image.endsWith(':latest'))", message: latest}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, c.image.startsWith('registry.example.com/'))", message: registry}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, has(c.resources) && has(c.resources.limits) && 'memory' in c.resources.limits)", message: limits}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, has(c.resources) && has(c.resources.requests) && 'cpu' in c.resources.requests)", message: requests}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, has(c.readinessProbe) && has(c.livenessProbe))", message: probes}]`,
	`validations: [{expression: "!has(object.spec.template.spec.hostNetwork) || object.spec.template.spec.hostNetwork == false"}, {expression: "!has(object.spec.template.spec.hostPID) || object.spec.template.spec.hostPID == false"}]`,
	`validations: [{expression: "!has(object.spec.template.spec.volumes) || object.spec.template.spec.volumes.all(v, !has(v.hostPath))", message: hostPath}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || !c.securityContext.privileged)", message: privileged}]`,
	`variables: [{name: all, expression: "object.spec.template.spec.containers + (has(object.spec.template.spec.initContainers) ? object.spec.template.spec.initContainers : [])"}]
validations: [{expression: "variables.all.all(c, has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation) && c.securityContext.allowPrivilegeEscalation == false)", message: escalation}]`,
	`variables: [{name: all, expression: "object.spec.template.spec.containers + (has(object.spec.template.spec.initContainers) ? object.spec.template.spec.initContainers : [])"}]
validations: [{expression: "variables.all.all(c, has(c.securityContext) && has(c.securityContext.capabilities) && has(c.securityContext.capabilities.drop) && 'ALL' in c.securityContext.capabilities.drop)", message: drop}]`,
	`validations: [{expression: "object.spec.template.spec.?securityContext.?runAsNonRoot.orValue(false) == true", message: root}]`,
	`validations: [{expression: "object.spec.template.spec.?securityContext.?seccompProfile.?type.orValue('') in ['RuntimeDefault', 'Localhost']", message: seccomp}]`,
	`validations: [{expression: "has(object.spec.template.spec.serviceAccountName) && object.spec.template.spec.serviceAccountName != 'default'", message: account}]`,
	`matchConditions: [{name: not-system, expression: "!object.metadata.namespace.startsWith('kube-')"}]
validations: [{expression: "has(object.spec.template.spec.automountServiceAccountToken) && !object.spec.template.spec.automountServiceAccountToken", message: token}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == 0))", message: ports}]`,
	`validations: [{expression: "object.spec.template.spec.containers.all(c, quantity(c.resources.limits['memory']).compareTo(quantity('4Gi')) <= 0)", message: memory}]`,
	`validations: [{expression: "object.metadata.name.matches('^[a-z][a-z0-9-]{1,40}$')", message: name}]`,
	`variables: [{name: env, expression: "object.metadata.?labels['env'].orValue('none')"}]
validations: [{expression: "variables.env in ['dev', 'stage', 'prod']", messageExpression: "'env is ' + variables.env"}, {expression: "variables.env != 'prod' || object.spec.replicas >= 2", message: replicas}]`,
}

const benchDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app.kubernetes.io/name: web, env: prod}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      volumes: [{name: tmp, emptyDir: {}}]
      containers:
      - name: app
        image: registry.example.com/web:1.2.3
        ports: [{containerPort: 8080}]
        env: [{name: A, value: a}, {name: B, value: b}, {name: C, value: c}]
        resources: {limits: {memory: 256Mi}, requests: {cpu: 100m, memory: 128Mi}}
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
        livenessProbe: {httpGet: {path: /live, port: 8080}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
      - name: side
        image: registry.example.com/side:2.0.0
        resources: {limits: {memory: 64Mi}, requests: {cpu: 10m, memory: 64Mi}}
        readinessProbe: {tcpSocket: {port: 9000}}
        livenessProbe: {tcpSocket: {port: 9000}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
`

func benchPolicies(n int) string {
	var all []string
	for i := range n {
		name := fmt.Sprintf("p%d", i)
		all = append(all, strings.NewReplacer("{name: p}", "{name: "+name+"}", "policyName: p,", "policyName: "+name+",").Replace(policyOf(benchSpecs[i%len(benchSpecs)])))
	}
	return strings.Join(all, "---\n")
}

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{1, 20} {
		for _, tc := range []struct{ name, object string }{
			{"passes", benchDeployment},
			{"denied", strings.NewReplacer("replicas: 3", "replicas: 99", "web:1.2.3", "web:latest", "env: prod", "env: test", "runAsNonRoot: true", "runAsNonRoot: false").Replace(benchDeployment)},
		} {
			b.Run(fmt.Sprintf("%d policies, %s", n, tc.name), func(b *testing.B) {
				compiled, err := compile(b, cel.Options{API: testAPI{}}, benchPolicies(n))
				if err != nil {
					b.Fatal(err)
				}
				engine, err := policies.New(compiled, nil, nil)
				if err != nil {
					b.Fatal(err)
				}
				o := object(b, tc.object)
				if d := engine.Decide(context.Background(), creation(o)); (d.Verdict() == policies.Allow) != (tc.name == "passes") {
					b.Fatalf("verdict %s: %+v", d.Verdict(), d.Results)
				}
				c := creation(o)
				b.ReportAllocs()
				for b.Loop() {
					engine.Decide(context.Background(), atPoorDoor(c, 0)) // a change of its own each time
				}
			})
		}
	}
}

// BenchmarkAPIServer is what the API server's own code needs for the same.
func BenchmarkAPIServer(b *testing.B) {
	var oracles []*oracle
	for i := range 20 {
		oracles = append(oracles, newOracle(b, policyOf(benchSpecs[i])))
	}
	c := creation(object(b, benchDeployment))
	attrs := attributes(c)
	kind := schema.GroupVersionKind(c.Object.Kind)
	versioned, err := admission.NewVersionedAttributes(attrs, kind, admission.NewObjectInterfacesFromScheme(runtime.NewScheme()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, o := range oracles {
			o.validator.Validate(context.Background(), attrs.GetResource(), versioned, nil, nil, celconfig.RuntimeCELCostBudget, noAuthorizer{})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(fmt.Sprintf("%d policies", n), func(b *testing.B) {
			docs := documents(b, "p.yaml", benchPolicies(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cel.Compiler(cel.Options{})(context.Background(), docs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
