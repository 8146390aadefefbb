package cel_test

import (
	"context"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

const blamed = `
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web, env: dev}
  annotations: {"a.b/c": "x"}
spec:
  hostNetwork: true
  priority: 7
  volumes: []
  securityContext: {runAsUser: 0}
  initContainers:
  - {name: init, image: "busybox@sha256:0", ports: []}
  containers:
  - {name: app, image: "nginx@sha256:0", ports: [{containerPort: 80}, {containerPort: 22}]}
  - {name: side, image: "envoy:latest", securityContext: {privileged: true}}
`

func TestViolationsPointAtTheFieldThatIsToBlame(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, variables, expression, want string }{
		{"a comparison", "", "object.spec.priority < 5", "spec.priority"},
		{"a field that is not there", "", "has(object.spec.serviceAccountName)", "spec.serviceAccountName"},
		{"a guard and its field", "", "!has(object.spec.hostNetwork) || object.spec.hostNetwork == false", "spec.hostNetwork"},
		{"a chain of guards points at the deepest", "", "!has(object.spec.securityContext) || !has(object.spec.securityContext.runAsUser) || object.spec.securityContext.runAsUser != 0", "spec.securityContext.runAsUser"},
		{"the conjunct that fails", "", "object.metadata.name == 'web' && object.spec.priority < 5 && true", "spec.priority"},
		{"a label by index", "", "object.metadata.labels['env'] == 'prod'", "metadata.labels.env"},
		{"a key with dots", "", "object.metadata.annotations['a.b/c'] == 'y'", "metadata.annotations[a.b/c]"},
		{"a key that is computed", "", "object.metadata.labels['e' + 'nv'] == 'prod'", "metadata.labels.env"},
		{"an optional field", "", "object.spec.?priority.orValue(9) < 5", "spec.priority"},
		{"an optional index", "", "object.metadata.labels[?'env'].orValue('') == 'prod'", "metadata.labels.env"},
		{"a key in a map", "", "'team' in object.metadata.labels", "metadata.labels"},
		{"the item that breaks all", "", "object.spec.containers.all(c, c.image.contains('@'))", "spec.containers[1].image"},
		{"the item for which something exists", "", "!object.spec.containers.exists(c, c.image.endsWith(':latest'))", "spec.containers[1].image"},
		{"a nested item", "", "object.spec.containers.all(c, !has(c.ports) || c.ports.all(p, p.containerPort != 22))", "spec.containers[0].ports[1].containerPort"},
		{"a guard inside an item", "", "object.spec.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || !c.securityContext.privileged)", "spec.containers[1].securityContext.privileged"},
		{"what is missing in an item", "", "object.spec.containers.all(c, has(c.resources) && has(c.resources.limits))", "spec.containers[0].resources"},
		{"nothing exists in a list", "", "object.spec.containers.exists(c, c.name == 'proxy')", "spec.containers"},
		{"an empty list", "", "size(object.spec.volumes) > 0", "spec.volumes"},
		{"filtered items", "", "object.spec.containers.filter(c, c.image.endsWith(':latest')).size() == 0", "spec.containers"},
		{"an item of a filtered list", "", "object.spec.containers.filter(c, c.name != 'app').all(c, c.image.contains('@'))", "spec.containers[1].image"},
		{"an item of a mapped list", "", "object.spec.containers.map(c, c.image).all(i, i.contains('@'))", "spec.containers[1].image"},
		{"lists put together", "", "(object.spec.initContainers + object.spec.containers).all(c, c.image.contains('@'))", "spec.containers[1].image"},
		{"lists that may not be there", "{name: all, expression: \"object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : []) + object.spec.?ephemeralContainers.orValue([])\"}",
			"variables.all.all(c, c.name != 'init')", "spec.initContainers[0].name"},
		{"a variable is gone into", "{name: ok, expression: \"object.spec.priority < 5\"}", "variables.ok", "spec.priority"},
		{"a variable that is a field", "{name: spec, expression: \"object.spec\"}", "variables.spec.priority < 5", "spec.priority"},
		{"a variable that holds a list", "{name: cs, expression: \"object.spec.containers\"}", "variables.cs.all(c, c.image.contains('@'))", "spec.containers[1].image"},
		{"both sides of a ternary", "", "has(object.spec.priority) ? object.spec.priority < 5 : true", "spec.priority"},
		{"a ternary of constants", "", "object.spec.priority < 5 ? true : false", "spec.priority"},
		{"a bound name", "", "object.spec.?containers[1].optMap(c, c.image.contains('@')).orValue(true)", "spec.containers[1].image"},
		{"keys of a map", "", "object.metadata.labels.all(k, object.metadata.labels[k] != 'dev')", "metadata.labels.env"},
		{"keys and values of a map", "", "object.metadata.labels.all(k, v, v != 'dev')", "metadata.labels.env"},
		{"index and value of a list", "", "object.spec.containers.all(i, c, i != 1 || c.image.contains('@'))", "spec.containers[1].image"},
		{"a value that has to be in a list of others", "", "object.spec.priority in [1, 2, 3]", "spec.priority"},
		{"two fields point at what holds both", "", "object.spec.priority < 5 && true || object.spec.hostNetwork == false", "spec"},
		{"fields far apart point at the object", "", "object.metadata.name == object.spec.containers[0].name", ""},
		{"no field at all", "", "request.operation == 'DELETE'", ""},
		{"a function of a field", "", "quantity(string(object.spec.priority)).isLessThan(quantity('5'))", "spec.priority"},
		{"a bool field itself", "", "!object.spec.hostNetwork", "spec.hostNetwork"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			spec := ""
			if tc.variables != "" {
				spec = "variables:\n- " + tc.variables + "\n"
			}
			f, err := judgeOne(t, policyOf(spec+"validations:\n- expression: "+quote(tc.expression)), creation(object(t, blamed)))
			if err != nil || len(f.Violations) != 1 {
				t.Fatalf("got %s", told(f, err))
			}
			if got := f.Violations[0].Path.String(); got != tc.want {
				t.Errorf("points at %q, want %q", got, tc.want)
			}
		})
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func TestTheViolationOfAWorkloadsPodPointsIntoTheWorkload(t *testing.T) {
	t.Parallel()
	compiled, err := compile(t, cel.Options{API: testAPI{}}, strings.ReplaceAll(policyOf(`validations: [{expression: "object.spec.containers.all(c, !c.image.endsWith(':latest'))", message: m}]`), "resources: [pods, deployments]", "resources: [pods]"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.New(compiled, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := engine.Decide(context.Background(), creation(object(t, deployment)))
	if d.Verdict() != policies.Denied || len(d.Results) != 1 || !d.Results[0].Pod {
		t.Fatalf("decision %+v", d)
	}
	v := d.Results[0].Finding.Violations[0]
	if v.Path.String() != "spec.template.spec.containers[0].image" || v.Pos.Line != 14 || v.Pos.Column != 16 {
		t.Errorf("points at %s, %d:%d", v.Path, v.Pos.Line, v.Pos.Column)
	}
}

func TestADeletionPointsIntoTheOldObject(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(policyOf(`validations: [{expression: "oldObject.metadata.labels['env'] != 'dev'"}]`), "[CREATE, UPDATE]", "[DELETE]")
	c := creation(object(t, blamed))
	c.Operation, c.Old, c.Object = policies.Delete, c.Object, nil
	f, err := judgeOne(t, text, c)
	if err != nil || len(f.Violations) != 1 || f.Violations[0].Path.String() != "metadata.labels.env" {
		t.Errorf("got %s, %+v", told(f, err), f.Violations)
	}
}

func TestTheSearchForAFieldIsBounded(t *testing.T) {
	t.Parallel()
	var items strings.Builder
	for range 2000 {
		items.WriteString("  - {name: app, image: \"nginx@sha256:0\"}\n")
	}
	o := object(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n"+items.String()+"  - {name: last, image: bad}\n")
	f, err := judgeOne(t, policyOf("validations:\n- expression: "+quote("object.spec.containers.all(c, c.image.contains('@') && lists.range(20).all(i, i >= 0))")), creation(o))
	if err != nil || len(f.Violations) != 1 || f.Violations[0].Path.String() != "spec.containers[2000].image" {
		t.Errorf("points at %v, %v", pathsOf(f), err)
	}
	f, err = judgeOne(t, policyOf("validations:\n- expression: "+quote("object.spec.containers.filter(c, c.name == 'last').map(c, c.image).all(x, object.spec.containers.filter(d, d.image.contains('@')).map(d, d.name).all(n, n != 'app') || x == '')")), creation(o))
	if err != nil || len(f.Violations) != 1 {
		t.Errorf("points at %v, %v", pathsOf(f), err)
	}
}
