package kyverno

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func objectOf(t testing.TB, text string) *policies.Object {
	t.Helper()
	objects, malformed := manifest.Decode("a.yaml", []byte(text), manifest.DefaultLimits())
	if len(malformed) > 0 || len(objects) != 1 {
		t.Fatalf("%s: %d objects, %v", text, len(objects), malformed)
	}
	return objects[0]
}

// changesFor are requests in which most paths lead somewhere, and some to what is missing, null, empty or of another type.
func changesFor(t testing.TB) []*policies.Change {
	t.Helper()
	before := objectOf(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 2, labels: {a: b}}, spec: {replicas: 0, paused: false, volumes: [], template: {spec: {hostPID: null}}}}")
	after := objectOf(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 3, labels: {}, annotations: null}, "+
		"spec: {replicas: 2, ratio: 0.5, paused: true, volumes: [{name: a}, 1], empty: '', template: {spec: {hostPID: true, containers: [{name: a, ports: [80]}]}}}, text: [], '': x}")
	actor := &policies.Actor{User: "system:serviceaccount:a:b", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}
	resource := policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}
	return []*policies.Change{
		{Operation: policies.Create, Object: after, Resource: resource, Namespace: "shop", Actor: actor, Options: map[string]any{"fieldManager": "m", "n": int64(1)}},
		{Operation: policies.Update, Object: after, Old: before, Resource: resource, Namespaced: true, Namespace: "shop", DryRun: true},
		{Operation: policies.Update, Object: before, Old: after, Resource: resource, Namespaced: true, Namespace: "shop", Actor: actor},
		{Operation: policies.Delete, Old: before, Resource: resource, Actor: actor},
		{Operation: policies.Connect, Object: objectOf(t, "{apiVersion: v1, kind: PodExecOptions, metadata: {name: x}, container: c}"), Resource: policies.Resource{Version: "v1", Resource: "pods", Subresource: "exec"}},
	}
}

// agree compares what is found plainly with what JMESPath says of the whole request.
func agree(t *testing.T, expression string, changes []*policies.Change) (answered int) {
	t.Helper()
	q := newQueries()
	if q.learn(expression) != nil {
		return 0
	}
	p, ok := q.plain[expression]
	if !ok {
		return 0
	}
	for i, c := range changes {
		if p.root != "request" {
			continue
		}
		got, ok := p.of(c)
		if !ok {
			continue
		}
		answered++
		data, err := request(c)
		if err != nil {
			t.Fatal(err)
		}
		want, err := q.search(expression, data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s of change %d: got %#v, JMESPath says %#v, %v", expression, i, got, want, err)
		}
	}
	return answered
}

func TestAPlainExpressionSaysWhatJMESPathSays(t *testing.T) {
	t.Parallel()
	changes := changesFor(t)
	for expression, want := range map[string]int{ // how many of the changes are answered
		"request.operation":                                     5,
		"request.operation || 'BACKGROUND'":                     5,
		"request.operation||'BACKGROUND'":                       5,
		"request.name":                                          5,
		"request.namespace":                                     5,
		"request.uid || 'none'":                                 5,
		"request.dryRun":                                        5,
		"request.dryRun || ''":                                  5,
		"request.subResource":                                   5,
		"request.kind.kind":                                     5,
		"request.resource.resource":                             5,
		"request.userInfo.username":                             3,
		"request.userInfo.username || ''":                       5,
		"request.userInfo.groups":                               3,
		"request.options.n":                                     1,
		"request.options || `[]`":                               4,
		"request.missing":                                       0, // an error, which JMESPath words
		"request.missing || 'x'":                                5,
		"request.object":                                        1, // of a DELETE there is none
		"request.oldObject":                                     2,
		"request.object || `[]`":                                1,
		"request.object.spec":                                   0,
		"request.object.spec.replicas":                          3,
		"request.object.spec.replicas || 'none'":                5,
		"request.object.spec.ratio":                             2,
		"request.object.spec.paused || 'no'":                    5,
		"request.object.spec.empty || 'x'":                      5,
		"request.object.spec.volumes || `[]`":                   5,
		"request.object.spec.volumes":                           3,
		"request.object.metadata.managedFields || `[]`":         5,
		"request.object.spec.volumes.name || 'x'":               5,
		"request.object.metadata.annotations":                   2,
		"request.object.metadata.labels || `[]`":                4,
		"request.object.spec.template.spec.hostPID || 'x'":      5,
		"request.object.spec.template.spec.hostPID":             3,
		"request.object.text":                                   2,
		"request.oldObject.metadata.generation":                 3,
		"request.oldObject.spec.replicas || ''":                 5,
		"request.object.spec.template.spec.containers.a || 'x'": 5,
	} {
		if got := agree(t, expression, changes); got != want {
			t.Errorf("%s: %d changes were answered, want %d", expression, got, want)
		}
	}
	for _, expression := range []string{
		"request", "request.*", "request.object.spec.containers[]", "request.object.spec.containers[0].name", "request.\"object\"", "requests.a", "request.object || request.oldObject",
		"request.a || `{}`", "request.a || `1`", "request.a || 'it\\'s'", "request.a || ''''", "request.length(@)", "request.a && 'x'", "request.a || 'x' || 'y'", "request.a\n", " request.a",
		"object.a", "element", "element0.a", "elementIndex.a", "serviceAccountName", "@", "request.a || [ ]", "request.é", "request.1a", "request.a.", "images.a",
	} {
		if p, ok := plainOf(expression); ok {
			t.Errorf("%q is more than a path, or less: read as %v", expression, p)
		}
	}
}

// judged is what the rules of the policies in a text say of changes, with what is plain answered plainly or by JMESPath.
func judged(text string, changes []*policies.Change, plainly bool) []string {
	b := bundle{queries: newQueries(), cel: newEnvironments(), names: map[string]*policies.Object{}}
	objects, _ := manifest.Decode("policy.yaml", []byte(text), manifest.DefaultLimits())
	for _, o := range objects {
		if Claims(policies.Document{File: "policy.yaml", Object: o}) && o.Kind.Group == "kyverno.io" {
			b.document(o)
		}
	}
	if len(b.errs) > 0 {
		return nil
	}
	if !plainly {
		clear(b.queries.plain)
	}
	var out []string
	for _, p := range b.policies {
		p.except(b.exceptions)
		for i, c := range changes {
			for _, r := range p.ask(context.Background(), c, nil) {
				out = append(out, fmt.Sprintf("change %d: rule %s: %d %q %q %v %t", i, r.rule.name, r.status, r.message, r.path, r.err, r.condition))
			}
		}
	}
	return out
}

// policy is a policy of rules of a text each, for all kinds.
func policyOf(bodies ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec:\n  validationFailureAction: Enforce\n  rules:\n")
	for i, body := range bodies {
		fmt.Fprintf(&b, "  - name: r%d\n    match: {any: [{resources: {kinds: [\"*\"], operations: [CREATE, UPDATE, DELETE, CONNECT]}}]}\n    %s\n", i, strings.ReplaceAll(body, "\n", "\n    "))
	}
	return b.String()
}

func loopsOver(list, inner string) string {
	return "validate: {message: \"{{ element.name || 'none' }} of {{ request.object.metadata.name || '' }}\", foreach: [{list: \"" + list + "\", " + inner + "}]}"
}

const aboutName = "deny: {conditions: {any: [{key: \"{{ element.name || 'x' }}\", operator: Equals, value: a}]}}"

var plainPolicies = []string{
	loopsOver("request.object.spec.volumes || `[]`", aboutName),
	loopsOver("request.object.spec.volumes", aboutName),
	loopsOver("request.oldObject.spec.volumes || `[]`", aboutName),
	loopsOver("request.object.spec.template.spec.containers || `[]`", aboutName),
	loopsOver("request.object.spec.template.spec.containers || `[]`", "pattern: {name: b*}"),
	loopsOver("request.object.spec.template.spec.containers || `[]`", "elementScope: false, pattern: {spec: {replicas: 1}}"),
	loopsOver("request.object.spec.template.spec.containers || `[]`", "foreach: [{list: \"element.ports || `[]`\", deny: {conditions: {any: [{key: \"{{ element }}\", operator: Equals, value: 80}]}}}]"),
	loopsOver("request.object.spec.template.spec.containers || `[]`", "foreach: [{list: \"element.env || `[]`\", pattern: {value: \"{{ element0.name }}{{ elementIndex1 }}\"}}]"),
	loopsOver("request.object.spec.template.spec.containers || `[]`", "foreach: [{list: \"element.env[]\", deny: {conditions: {all: [{key: \"{{ element.name }}\", operator: Equals, value: \"*\"}]}}}]"),
	loopsOver("request.object.spec.template.spec.containers || `[]`", "context: [{name: known, variable: {jmesPath: element.name}}], deny: {conditions: {all: [{key: \"{{ known }}-{{ element.name }}\", operator: Equals, value: a-a}]}}"),
	loopsOver("request.object.spec.replicas || `[]`", "deny: {conditions: {all: [{key: \"{{ element }}\", operator: GreaterThan, value: 1}]}}"),
	loopsOver("request.userInfo.groups || `[]`", "deny: {conditions: {all: [{key: \"{{ element }}\", operator: Equals, value: g}]}}"),
	loopsOver("request.object.spec.volumes[?name == 'a'] || `[]`", aboutName),
	"context: [{name: element0, variable: {value: {name: a}}}]\n" + loopsOver("request.object.spec.volumes || `[]`", "deny: {conditions: {any: [{key: \"{{ element0.name }}{{ element.name || '' }}\", operator: Equals, value: aa}]}}"),
	"preconditions: {all: [{key: \"{{ request.operation || 'BACKGROUND' }}\", operator: AnyIn, value: [UPDATE, DELETE]}]}\nvalidate: {message: m, deny: {conditions: {any: [{key: \"{{ request.object.spec.replicas || '0' }}\", operator: GreaterThan, value: 1}, {key: \"{{ request.object.metadata.labels.a || '' }}\", operator: Equals, value: b}]}}}",
	"validate: {message: \"{{ request.object.metadata.labels }} {{ request.userInfo.username }}\", deny: {conditions: {all: [{key: \"{{ request.object.spec.paused }}\", operator: Equals, value: true}, {key: \"{{ request.oldObject.spec.paused }}\", operator: NotEquals, value: true}]}}}",
	"validate: {message: m, pattern: {spec: {replicas: \"{{ request.object.metadata.generation || '1' }}\"}}}",
}

func TestRulesSayTheSameWithoutTheWholeRequest(t *testing.T) {
	t.Parallel()
	changes := append(changesFor(t), &policies.Change{Operation: policies.Create, Resource: policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}, Object: objectOf(t,
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1, template: {spec: {containers: [{name: b, env: [{name: x, value: b0}]}, {name: a, ports: [80], env: [{name: y, value: a1, from: []}, {name: z}]}]}}}}")})
	for _, body := range plainPolicies {
		got, want := judged(policyOf(body), changes, true), judged(policyOf(body), changes, false)
		if len(want) < len(changes)-2 {
			t.Errorf("%s: says only %q", body, want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", body, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// FuzzPlain asks arbitrary expressions and policies both ways.
func FuzzPlain(f *testing.F) {
	for _, expression := range []string{"request.operation || 'x'", "request.object.spec.volumes || `[]`", "request.oldObject.spec.replicas", "request.let.in || ''"} {
		f.Add(expression)
	}
	for _, body := range plainPolicies {
		f.Add(policyOf(body))
	}
	changes := changesFor(f)
	f.Fuzz(func(t *testing.T, text string) {
		agree(t, text, changes)
		if strings.Contains(text, "random") || strings.Contains(text, "time") || strings.Contains(text, "x509") {
			return
		}
		if got, want := judged(text, changes, true), judged(text, changes, false); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
