package cel_test

import (
	"context"
	"fmt"

	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// documents reads YAML as the bundle does.
func documents(t testing.TB, file, text string) []policies.Document {
	t.Helper()
	objects, problems := manifest.Decode(file, []byte(text), manifest.DefaultLimits())
	for _, p := range problems {
		t.Fatalf("%s:%d:%d: %s", p.Pos.File, p.Pos.Line, p.Pos.Column, p.Message)
	}
	docs := make([]policies.Document, len(objects))
	for i, o := range objects {
		docs[i] = policies.Document{File: file, Object: o}
	}
	return docs
}

func object(t testing.TB, text string) *policies.Object {
	t.Helper()
	docs := documents(t, "object.yaml", text)
	if len(docs) != 1 {
		t.Fatalf("%d objects in\n%s", len(docs), text)
	}
	return docs[0].Object
}

func compile(t testing.TB, o cel.Options, text string) ([]*policies.Policy, error) {
	t.Helper()
	return cel.Compiler(o)(context.Background(), documents(t, "p.yaml", text))
}

// namespaced are the kinds that the tests use which are not.
type testAPI struct{}

func (testAPI) Resource(_ *policies.Set, gvk policies.GroupVersionKind) (policies.Resource, bool, bool) {
	res := policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}
	switch gvk {
	case gvkOf("v1", "Pod"), gvkOf("v1", "ConfigMap"), gvkOf("apps/v1", "Deployment"),
		gvkOf("autoscaling/v1", "HorizontalPodAutoscaler"), gvkOf("autoscaling/v2", "HorizontalPodAutoscaler"):
		return res, true, true
	case gvkOf("v1", "Namespace"), gvkOf("rbac.authorization.k8s.io/v1", "ClusterRole"):
		return res, false, true
	}
	return policies.Resource{}, false, false
}

func gvkOf(apiVersion, kind string) policies.GroupVersionKind {
	group, version := policies.ParseAPIVersion(apiVersion)
	return policies.GroupVersionKind{Group: group, Version: version, Kind: kind}
}

// creation is the change that creates an object, at a door that knows everything.
func creation(o *policies.Object) *policies.Change {
	res, namespaced, known := testAPI{}.Resource(nil, o.Kind)
	if !known {
		res, namespaced = policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: strings.ToLower(o.Kind.Kind) + "s"}, o.Namespace != ""
	}
	c := &policies.Change{
		Operation: policies.Create, Resource: res, Namespaced: namespaced, Object: o, Namespace: o.Namespace, Set: policies.NewSet(),
		Knows:   policies.KnowsOld | policies.KnowsActor | policies.KnowsNamespace | policies.KnowsCluster,
		Actor:   &policies.Actor{User: "alice", UID: "1", Groups: []string{"dev", "system:authenticated"}, Extra: map[string][]string{"k": {"v"}}},
		Options: map[string]any{"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl"},
	}
	if namespaced && o.Namespace != "" {
		c.Holder = policies.NewObject(map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": o.Namespace, "labels": map[string]any{"kubernetes.io/metadata.name": o.Namespace, "team": "a"}, "managedFields": []any{}},
		}, policies.Origin{}, nil, nil)
	}
	return c
}

// told writes a result as one line, for tables.
func told(f policies.Finding, err error) string {
	switch {
	case err != nil:
		return "error: " + err.Error()
	case len(f.Violations) > 0:
		lines := make([]string, len(f.Violations))
		for i, v := range f.Violations {
			lines[i] = fmt.Sprintf("%s %s: %s", v.Rule, v.Reason, v.Message)
		}
		return strings.Join(lines, "\n")
	case f.Skipped != "":
		return "skipped: " + f.Skipped
	default:
		return "passed"
	}
}

const bind = `
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: p}
spec: {policyName: p, validationActions: [Deny]}
`

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web}
spec:
  replicas: 7
  template:
    spec:
      containers:
      - name: app
        image: nginx:latest
`

// rule matches Deployments and Pods that are created or updated.
const rule = `  matchConstraints:
    resourceRules:
    - {apiGroups: ["", apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods, deployments]}
`

// policyOf is a policy p whose spec is the rule above and the given fields, with a binding that denies.
func policyOf(spec string) string {
	return "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\nspec:\n" + rule + indent(spec) + bind
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.Trim(s, "\n"), "\n", "\n  ") + "\n"
}

func judgeOne(t testing.TB, text string, c *policies.Change) (policies.Finding, error) {
	t.Helper()
	compiled, err := compile(t, cel.Options{API: testAPI{}}, text)
	if err != nil {
		t.Fatal(err)
	}
	if len(compiled) != 1 {
		t.Fatalf("%d policies, want 1", len(compiled))
	}
	return compiled[0].Judge(context.Background(), c)
}

func TestExpressionsAreJudgedAsTheAPIServerDoes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, spec, want string }{
		{"a validation that holds passes", `validations: [{expression: "object.spec.replicas <= 7"}]`, "passed"},
		{"a validation that fails says its expression", `validations: [{expression: " object.spec.replicas <= 5 "}]`,
			"validations[0] Invalid: failed expression: object.spec.replicas <= 5"},
		{"a message is trimmed and a reason is kept", `validations: [{expression: "object.spec.replicas <= 5", message: " too many ", reason: Forbidden}]`,
			"validations[0] Forbidden: too many"},
		{"all failed validations are told", `validations: [{expression: "false", message: a}, {expression: "true", message: b}, {expression: "false", message: c}]`,
			"validations[0] Invalid: a\nvalidations[2] Invalid: c"},
		{"a message expression comes before the message", `validations: [{expression: "false", message: a, messageExpression: "'b ' + object.metadata.name"}]`,
			"validations[0] Invalid: b web"},
		{"a message expression that fails falls back", `validations: [{expression: "false", message: a, messageExpression: "object.nothing + ''"}]`,
			"validations[0] Invalid: a"},
		{"a message expression of several lines falls back", `validations: [{expression: "false", message: a, messageExpression: "'b\\nc'"}]`,
			"validations[0] Invalid: a"},
		{"a blank message expression value falls back", `validations: [{expression: "false", messageExpression: "'  '"}]`,
			"validations[0] Invalid: failed expression: false"},
		{"a message that is too long falls back", `
variables: [{name: long, expression: "'0123456789'.replace('', '0123456789012345678901234567890123456789').replace('', '01234567890123456789')"}]
validations: [{expression: "false", message: a, messageExpression: "variables.long"}]`, "validations[0] Invalid: a"},
		{"variables are lazy, so that a broken one that nobody asks for does no harm", `
variables: [{name: broken, expression: "object.nothing.at.all"}, {name: count, expression: "object.spec.replicas"}, {name: twice, expression: "variables.count * 2"}]
validations: [{expression: "variables.twice == 14"}]`, "passed"},
		{"a broken variable is an error where it is asked for", `
variables: [{name: broken, expression: "object.nothing"}]
validations: [{expression: "variables.broken == 1"}]`,
			`error: spec.validations[0].expression: expression 'variables.broken == 1' resulted in error: composited variable "broken" fails to evaluate: no such key: nothing`},
		{"an error is no denial", `validations: [{expression: "object.spec.nothing == 1"}]`,
			"error: spec.validations[0].expression: expression 'object.spec.nothing == 1' resulted in error: no such key: nothing"},
		{"an error beside a denial does not hide it", `validations: [{expression: "object.spec.nothing == 1"}, {expression: "false", message: b}]`,
			"validations[1] Invalid: b"},
		{"an ignored error is said", "failurePolicy: Ignore\nvalidations: [{expression: \"object.spec.nothing == 1\"}]",
			"skipped: failurePolicy is Ignore, and it could not be evaluated: spec.validations[0].expression: expression 'object.spec.nothing == 1' resulted in error: no such key: nothing"},
		{"an ignored error does not hide a denial", "failurePolicy: Ignore\nvalidations: [{expression: \"object.spec.nothing == 1\"}, {expression: \"false\", message: b}]",
			"validations[1] Invalid: b"},
		{"a match condition that is not met skips", `
matchConditions: [{name: always, expression: "true"}, {name: only-prod, expression: "object.metadata.namespace == 'prod'"}]
validations: [{expression: "false"}]`, "skipped: match condition only-prod is not met"},
		{"a match condition that is not met wins over one that fails", `
matchConditions: [{name: broken, expression: "object.nothing == 1"}, {name: only-prod, expression: "object.metadata.namespace == 'prod'"}]
validations: [{expression: "false"}]`, "skipped: match condition only-prod is not met"},
		{"a match condition that fails is an error", `
matchConditions: [{name: broken, expression: "object.nothing == 1"}]
validations: [{expression: "false"}]`, "error: spec.matchConditions[0].expression: expression 'object.nothing == 1' resulted in error: no such key: nothing"},
		{"a match condition that fails skips under Ignore", `
failurePolicy: Ignore
matchConditions: [{name: broken, expression: "object.nothing == 1"}]
validations: [{expression: "false"}]`,
			"skipped: failurePolicy is Ignore, and its match conditions could not be evaluated: spec.matchConditions[0].expression: expression 'object.nothing == 1' resulted in error: no such key: nothing"},
		{"an expression that costs too much is stopped", `validations: [{expression: "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, true))))))"}]`,
			"error: spec.validations[0].expression: expression '[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, true))))))' resulted in error: operation cancelled: actual cost limit exceeded"},
		{"the request is known", `validations: [{expression: "request.operation == 'CREATE' && request.name == 'web' && request.namespace == 'shop' && request.kind.kind == 'Deployment' && request.resource.resource == 'deployments' && request.userInfo.username == 'alice' && 'dev' in request.userInfo.groups && request.userInfo.extra['k'] == ['v'] && !request.dryRun && request.options.fieldManager == 'kubectl' && oldObject == null && !has(request.subResource)"}]`, "passed"},
		{"the namespace object is known", `validations: [{expression: "namespaceObject.metadata.labels['team'] == 'a' && namespaceObject.metadata.name == 'shop'"}]`, "passed"},
		{"whole numbers and fractions are told apart", `validations: [{expression: "object.spec.replicas == 7 && type(object.spec.replicas) == int"}]`, "passed"},
		{"the Kubernetes libraries are there", `validations: [{expression: "quantity('1Gi').isGreaterThan(quantity('1Mi')) && ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && url('https://a/b').getHost() == 'a' && '12'.find('[0-9]') == '1' && [3,1,2].sort() == [1,2,3] && semver('1.2.3').major() == 1 && !format.dns1123Label().validate('a').hasValue()"}]`, "passed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := told(judgeOne(t, policyOf(tc.spec), creation(object(t, deployment))))
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
