package celpolicy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
)

// served is an API server that serves every kind, in lower case with an s.
type served struct{}

func (served) Resource(_ *policies.Set, k policies.GroupVersionKind) (policies.Resource, bool, bool) {
	return policies.Resource{Group: k.Group, Version: k.Version, Resource: strings.ToLower(k.Kind) + "s"}, k.Kind != "Namespace", true
}

func decode(t testing.TB, file, text string) []*policies.Object {
	t.Helper()
	objects, problems := manifest.Decode(file, []byte(text), manifest.DefaultLimits())
	for _, p := range problems {
		t.Fatalf("%s: %s", file, p.Message)
	}
	return objects
}

func compile(t testing.TB, o celpolicy.Options, text string) ([]*policies.Policy, error) {
	t.Helper()
	if o.API == nil {
		o.API = served{}
	}
	var docs []policies.Document
	for _, o := range decode(t, "policy.yaml", text) {
		docs = append(docs, policies.Document{File: "policy.yaml", Object: o})
	}
	return celpolicy.Compile(context.Background(), o, docs)
}

// policy is a ValidatingPolicy p for a resource, with what stands below its spec.
func policy(resource, body string) string {
	group := ""
	if name, g, ok := strings.Cut(resource, "."); ok {
		resource, group = name, g
	}
	return fmt.Sprintf(`apiVersion: policies.kyverno.io/v1
kind: ValidatingPolicy
metadata: {name: p}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [%q], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [%s]}]
%s`, group, resource, indent(body))
}

func indent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = "  " + l
	}
	return strings.Join(lines, "\n") + "\n"
}

// says is a policy of Pods with one validation.
func says(expression string) string {
	return policy("pods", "validations: [{message: m, expression: "+fmt.Sprintf("%q", expression)+"}]")
}

const pod = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  serviceAccountName: runner
  containers:
  - {name: a, image: "registry.example.com/web:1.2@sha256:0000000000000000000000000000000000000000000000000000000000000000"}
  - {name: b, image: "docker.io/library/redis:latest"}
`

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: a, image: "web:1"}
      - {name: b, image: "redis:latest"}
`

const cronJob = `apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: "redis:latest"}]}}}}
`

// door makes the change that a test asks about.
type door func(*policies.Change)

func knows(f policies.Facts) door { return func(c *policies.Change) { c.Knows |= f } }

func beside(t testing.TB, text string) door {
	return func(c *policies.Change) { c.Set = policies.NewSet(decode(t, "set.yaml", text)...) }
}

// told is what policies say of an object: each result in one line.
func told(t testing.TB, o celpolicy.Options, policy, object string, doors ...door) []string {
	t.Helper()
	compiled, err := compile(t, o, policy)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.New(compiled, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	subject := decode(t, "object.yaml", object)[0]
	res, namespaced, _ := served{}.Resource(nil, subject.Kind)
	c := &policies.Change{Operation: policies.Create, Object: subject, Resource: res, Namespaced: namespaced, Namespace: subject.Namespace}
	for _, d := range doors {
		d(c)
	}
	var out []string
	for _, r := range e.Decide(context.Background(), c).Results {
		switch r.Outcome {
		case policies.Violated:
			for _, v := range r.Finding.Violations {
				out = append(out, fmt.Sprintf("%s %s/%s: %s (%s)", r.Policy.Action, r.Policy.Name, v.Rule, v.Message, v.Path))
			}
		case policies.Deferred:
			out = append(out, "deferred: "+r.Missing)
		case policies.Failed:
			out = append(out, "failed: "+r.Err.Error())
		case policies.Skipped:
			out = append(out, "skipped: "+r.Finding.Skipped)
		default:
			out = append(out, r.Outcome.String())
		}
	}
	return out
}

type question struct {
	name   string
	policy string
	object string
	doors  []door
	want   string
}

func ask(t *testing.T, questions []question) {
	t.Helper()
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			if q.object == "" {
				q.object = pod
			}
			if got := strings.Join(told(t, celpolicy.Options{}, q.policy, q.object, q.doors...), "; "); got != q.want {
				t.Errorf("got  %q\nwant %q", got, q.want)
			}
		})
	}
}

func TestValidationsAndTheirMessages(t *testing.T) {
	t.Parallel()
	two := policy("pods", `
variables:
- {name: images, expression: "object.spec.containers.map(c, c.image)"}
- {name: latest, expression: "variables.images.filter(i, i.endsWith(':latest'))"}
validations:
- {message: none latest, expression: "variables.latest.size() == 0"}
- {expression: "object.spec.containers.all(c, c.image.startsWith('registry.example.com/'))", messageExpression: "'not ' + variables.images[1]"}
- {expression: "object.metadata.labels.app == 'other'"}
- {message: fine, expression: "true"}`)
	ask(t, []question{
		{"all that fails is told, each at its field", two, "", nil,
			"deny p/validations[0]: none latest (spec.containers); " +
				"deny p/validations[1]: not docker.io/library/redis:latest (spec.containers[1].image); " +
				"deny p/validations[2]: CEL expression validation failed at index 2 (metadata.labels.app)"},
		{"a message that cannot be made says so", policy("pods", `validations: [{message: m, messageExpression: "string(object.spec.none)", expression: "false"}]`), "", nil,
			"deny p/validations[0]: failed to evaluate message expression: no such key: none ()"},
		{"an expression that fails could not judge", says("object.spec.none == 1"), "", nil, "failed: spec.validations[0].expression: no such key: none"},
		{"an error after a violation takes nothing back", policy("pods", `validations: [{message: m, expression: "false"}, {expression: "object.spec.none == 1"}]`), "", nil,
			"deny p/validations[0]: m ()"},
		{"an error before what is false hides it, as it does in Kyverno", policy("pods", `validations: [{expression: "object.spec.none == 1"}, {message: m, expression: "false"}]`), "", nil,
			"failed: spec.validations[0].expression: no such key: none"},
		{"Warn warns", policy("pods", `validationActions: [Audit, Warn]
validations: [{message: m, expression: "false"}]`), "", nil, "warn p/validations[0]: m ()"},
		{"Audit records", policy("pods", `validationActions: [Audit]
validations: [{message: m, expression: "false"}]`), "", nil, "audit p/validations[0]: m ()"},
		{"what is not asked at admission is recorded", policy("pods", `evaluation: {admission: {enabled: false}}
validations: [{message: m, expression: "false"}]`), "", nil, "audit p/validations[0]: m ()"},
		{"an optional value that is no optional is itself", says("object.spec.serviceAccountName.orValue('x') == 'runner'"), "", nil, "passed"},
		{"the field that an optional leads to is told", says("object.metadata.?labels.?app.orValue('') == 'other'"), "", nil, "deny p/validations[0]: m (metadata.labels.app)"},
		{"and the item of lists that may be missing", says("(object.spec.?initContainers.orValue([]) + object.spec.?containers.orValue([])).all(c, c.?image.orValue('') != 'docker.io/library/redis:latest')"), "", nil,
			"deny p/validations[0]: m (spec.containers[1].image)"},
		{"the old object of a creation is empty, not null", says("oldObject != null && !has(oldObject.metadata)"), "", []door{knows(policies.KnowsOld)}, "passed"},
		{"the request has the object", says("request.object.metadata.name == 'web' && request.operation == 'CREATE'"), "", []door{knows(policies.KnowsOld)}, "passed"},
	})
}

func TestConditionsAndConstraints(t *testing.T) {
	t.Parallel()
	broken := func(failure string) string {
		return policy("pods", "failurePolicy: "+failure+`
matchConditions: [{name: broken, expression: "object.spec.none == 1"}]
validations: [{message: m, expression: "false"}]`)
	}
	selects := func(constraint string) string {
		return strings.Replace(says("false"), "  matchConstraints:\n", "  matchConstraints:\n    "+constraint+"\n", 1)
	}
	ask(t, []question{
		{"a condition that is not met skips", policy("pods", `matchConditions: [{name: other, expression: "object.metadata.name != 'web'"}]
validations: [{expression: "false"}]`), "", nil,
			"skipped: match condition other is not met"},
		{"a condition that fails could not judge", broken("Fail"), "", nil, "failed: spec.matchConditions[0].expression: no such key: none"},
		{"with Ignore it skips", broken("Ignore"), "", nil, "skipped: failurePolicy is Ignore, and its match conditions could not be evaluated"},
		{"a condition that is not met decides over one that fails", policy("pods", `matchConditions: [{name: broken, expression: "object.spec.none == 1"}, {name: never, expression: "false"}]
validations: [{expression: "false"}]`), "", nil,
			"skipped: match condition never is not met"},
		{"labels of the object", selects("objectSelector: {matchLabels: {app: other}}"), "", nil, "skipped: its constraints do not match it"},
		{"what is excluded", selects(`excludeResourceRules: [{apiGroups: [""], apiVersions: [v1], operations: ["*"], resources: [pods], resourceNames: [web]}]`), "", nil, "skipped: its constraints do not match it"},
		{"labels of the namespace are not known", selects("namespaceSelector: {matchLabels: {env: prod}}"), "", nil, "deferred: namespace shop"},
		{"the namespace's name is known without it", selects("namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [shop]}]}"), "", nil,
			"skipped: its constraints do not match it"},
		{"and chooses", selects("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}"), "", nil, "deny p/validations[0]: m ()"},
		{"another kind is not asked", says("false"), deployment, nil, "deny p/validations[0]: m ()"},
	})
}

func TestPodsOfControllers(t *testing.T) {
	t.Parallel()
	noLatest := says("object.spec.containers.all(c, !c.image.endsWith(':latest'))")
	chosen := func(list string) string {
		return policy("pods", "autogen: {podControllers: {controllers: ["+list+`]}}
validations: [{message: m, expression: "object.spec.containers.all(c, !c.image.endsWith(':latest'))"}]`)
	}
	jobSet := `apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: train, namespace: shop}
spec:
  replicatedJobs:
  - {name: a, template: {spec: {template: {spec: {containers: [{name: a, image: "web:1"}]}}}}}
  - {name: b, template: {spec: {template: {spec: {containers: [{name: b, image: "redis:latest"}]}}}}}
`
	ask(t, []question{
		{"a Deployment's template", noLatest, deployment, nil, "deny p/validations[0]: m (spec.template.spec.containers[1].image)"},
		{"a CronJob's template", noLatest, cronJob, nil, "deny p/validations[0]: m (spec.jobTemplate.spec.template.spec.containers[0].image)"},
		{"controllers that are not chosen", chosen("deployments"), cronJob, nil, ""},
		{"controllers that are", chosen("deployments"), deployment, nil, "deny p/validations[0]: m (spec.template.spec.containers[1].image)"},
		{"none", chosen(""), deployment, nil, ""},
		{"the namespace stays the workload's", says("object.metadata.namespace == 'shop' && object.metadata.labels.app == 'web'"), deployment, nil, "passed"},
		{"more than Pods is made for nothing", strings.Replace(noLatest, "[pods]", "[pods, services]", 1), deployment, nil, ""},
		{"Pods in objects of other kinds", chosen("jobsets.v1alpha2.jobset.x-k8s.io"), jobSet, nil,
			"deny p/validations[0]: m (pod template at spec.replicatedJobs[1].template.spec.template) (spec.replicatedJobs[1].template.spec.template.spec.containers[0].image)"},
		{"without one it could not judge", chosen("jobsets.v1alpha2.jobset.x-k8s.io"), strings.Split(jobSet, "  replicatedJobs")[0], nil,
			"failed: JobSet shop/train has 0 pod templates: expected at least one, and at most 1000"},
	})
}

func TestWhatADoorDoesNotKnowIsSaidByName(t *testing.T) {
	t.Parallel()
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\ndata: {a: b}\n"
	get := "resource.Get('v1', 'configmaps', 'shop', 'c')"
	cluster := []door{knows(policies.KnowsCluster)}
	ask(t, []question{
		{"an object of the cluster", says(get + ".data.a == 'b'"), "", nil, "deferred: configmaps c of namespace shop"},
		{"one that the change set declares", says(get + ".data.a == 'b'"), "", []door{beside(t, config)}, "passed"},
		{"one that the cluster does not have", says("dyn(" + get + ") == null"), "", cluster, "passed"},
		{"all of a resource", says("resource.list('v1', 'configmaps', '').items.size() == 1"), "", []door{beside(t, config)}, "deferred: all configmaps"},
		{"all that the cluster has", says("resource.list('v1', 'configmaps', 'shop', {'x': 'y'}).items.size() == 0 && resource.list('v1', 'configmaps', 'shop').items[0].data.a == 'b'"), "",
			append(cluster, beside(t, config)), "passed"},
		{"what a new object answers", says("resource.post('authorization.k8s.io/v1', 'subjectaccessreviews', {'kind': 'x'}).status.allowed == true"), "", cluster,
			"deferred: what the cluster answers to a new subjectaccessreviews of authorization.k8s.io/v1"},
		{"a resource by its kind", says("resource.get(resource.toGVR('v1', 'ConfigMap'), 'shop', 'c').data.a == 'b'"), "", []door{beside(t, config)}, "passed"},
		{"the network", says("http.get('https://x.example').a == 'b'"), "", nil, "deferred: GET https://x.example"},
		{"the network, posted to by a client", says("http.Client('ca').Post('https://x.example', {'a': 'b'}, {'h': 'v'}).a == 'b'"), "", nil, "deferred: POST https://x.example"},
		{"a global context entry", says("globalContext.get('e', 'p') == 1"), "", nil, "deferred: GlobalContextEntry e"},
		{"a registry", says("image.getMetadata('redis').config.user == 'x'"), "", nil, "deferred: the registry's metadata of image redis"},
		{"who makes the change", says("request.userInfo.username == 'a'"), "", nil, "deferred: who makes the change"},
		{"the object before", says("oldObject.spec.none == 1"), "", nil, "failed: spec.validations[0].expression: no such key: spec"},
		{"an update that might break it", says("!has(oldObject.metadata)"), "", nil, "deferred: the object before the change"},
		{"what does not decide is not needed", says("object.metadata.name == 'web' || " + get + ".data.a == 'c'"), "", nil, "passed"},
		{"a violation stands beside it", policy("pods", `validations: [{expression: "`+get+`.data.a == 'b'"}, {message: m, expression: "false"}]`), "", nil, "deny p/validations[1]: m ()"},
		{"a condition that hangs on it", policy("pods", `matchConditions: [{name: c, expression: "globalContext.get('e') == 1"}]
validations: [{expression: "false"}]`), "", nil,
			"deferred: GlobalContextEntry e"},
		{"a condition that hangs on it, of what is kept", policy("pods", `matchConditions: [{name: c, expression: "globalContext.get('e') == 1"}]
validations: [{expression: "true"}]`), "", nil, "passed"},
		{"what the API server fills in", says("object.metadata.uid != ''"), "", nil, "deferred: what the API server fills into the object's metadata"},
	})
}

func TestLibrariesOfPureFunctions(t *testing.T) {
	t.Parallel()
	for name, expression := range map[string]string{
		"images":           "object.spec.containers.all(c, isImage(c.image)) && parseImageReference(object.spec.containers[1].image).tag() == 'latest' && image(object.spec.containers[0].image).containsDigest()",
		"service accounts": "parseServiceAccount('system:serviceaccount:shop:runner').Name == 'runner'",
		"json":             "json.unmarshal('{\"a\": [1, 2]}').a[1] == 2.0",
		"yaml":             "yaml.parse('a: b').a == 'b'",
		"hash":             "hash.md5('a') == '0cc175b9c0f1b6a831c399e269772661'",
		"math":             "math.round(1.26, 1) == 1.3",
		"time":             "time.now() > timestamp('2020-01-01T00:00:00Z')",
		"random":           "random('[a-c]{4}').matches('^[a-c]{4}$')",
		"lists to maps":    "listObjToMap([{'k': 'a'}], [{'v': 'b'}], 'k', 'v').a == 'b'",
		"sets and quantities": "sets.contains([1, 2], [1]) && quantity('1Gi').isGreaterThan(quantity('1Mi')) && isIP('10.0.0.1') && " +
			"semver('1.2.3').major() == 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := told(t, celpolicy.Options{}, says(expression), pod); strings.Join(got, "; ") != "passed" {
				t.Error(got)
			}
		})
	}
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	except := func(body string) string {
		return "---\napiVersion: policies.kyverno.io/v1\nkind: PolicyException\nmetadata: {name: x, namespace: shop}\nspec:\n  policyRefs: [{kind: ValidatingPolicy, name: p}]\n" + indent(body)
	}
	refused := says("false")
	images := policy("pods", `validations: [{message: m, expression: "object.spec.containers.all(c, c.image.startsWith('registry.') || c.image in exceptions.allowedImages || c.name in exceptions.allowedValues)"}]`)
	ask(t, []question{
		{"all of a policy", refused + except(`properties: {reason: r}`), "", nil, "skipped: it is excepted by policy exception shop/x"},
		{"for some objects", refused + except(`matchConditions: [{name: c, expression: "object.metadata.name == 'other'"}]`), "", nil, "deny p/validations[0]: m ()"},
		{"told to pass", refused + except(`reportResult: pass`), "", nil, "passed"},
		{"images", images + except(`images: ["docker.io/library/redis:latest"]`), "", nil, "passed"},
		{"values", images + except(`allowedValues: [b]`), "", nil, "passed"},
		{"without one there is nothing allowed", images, "", nil, "deny p/validations[0]: m (spec.containers[1])"},
		{"until a day that has come", refused + except(`expiresAt: "2026-01-01T00:00:00Z"`), "", nil, "deny p/validations[0]: m ()"},
		{"until a day that has not", refused + except(`expiresAt: "2999-01-01T00:00:00Z"`), "", nil, "skipped: it is excepted by policy exception shop/x"},
		{"a condition that fails could not judge", refused + except(`matchConditions: [{name: c, expression: "object.none == 1"}]`), "", nil,
			"failed: exception shop/x: spec.matchConditions[0].expression: no such key: none"},
		{"a condition that hangs on what is not known", refused + except(`matchConditions: [{name: c, expression: "request.userInfo.username == 'a'"}]`), "", nil, "deferred: who makes the change"},
		{"controllers are excepted by what they are themselves", refused + except(`matchConditions: [{name: c, expression: "object.kind == 'Deployment'"}]`), deployment, nil,
			"skipped: it is excepted by policy exception shop/x"},
		{"another kind of policy of that name", strings.Replace(refused+except("images: []"), "kind: ValidatingPolicy, name", "kind: ImageValidatingPolicy, name", 1), "", nil, "deny p/validations[0]: m ()"},
	})
}

func TestAnExceptionEndsWhileItIsInUse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o := celpolicy.Options{Now: func() time.Time { return now }}
	text := says("false") + "---\napiVersion: policies.kyverno.io/v1\nkind: PolicyException\nmetadata: {name: x}\nspec: {policyRefs: [{kind: ValidatingPolicy, name: p}], expiresAt: \"2026-05-01T00:00:00Z\"}\n"
	if got := told(t, o, text, pod); !strings.HasPrefix(got[0], "skipped") {
		t.Error(got)
	}
	now = now.Add(time.Second)
	if got := told(t, o, text, pod); !strings.HasPrefix(got[0], "deny") {
		t.Error(got)
	}
}

func TestNamespacedPolicies(t *testing.T) {
	t.Parallel()
	in := func(namespace, expression string) string {
		text := strings.Replace(says(expression), "ValidatingPolicy", "NamespacedValidatingPolicy", 1)
		return strings.Replace(text, "{name: p}", "{name: p, namespace: "+namespace+"}", 1)
	}
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\ndata: {a: b}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: other}\n"
	ask(t, []question{
		{"its own namespace", in("shop", "false"), "", nil, "deny shop/p/validations[0]: m ()"},
		{"another", in("other", "false"), "", nil, "skipped: it is a policy of namespace other"},
		{"resources of its namespace", in("shop", "resource.get('v1', 'configmaps', 'c').data.a == 'b'"), "", []door{beside(t, config)}, "passed"},
		{"all of them", in("shop", "resource.list('v1', 'configmaps').items.size() == 1"), "", []door{knows(policies.KnowsCluster), beside(t, config)}, "passed"},
	})
}

func TestAnswersOfATest(t *testing.T) {
	t.Parallel()
	o := celpolicy.Options{Answers: &celpolicy.Answers{
		Global: func(name, projection string) (any, error) { return map[string]any{"got": name + projection}, nil },
		Image:  func(string) (map[string]any, error) { return map[string]any{"tag": "1"}, nil },
		HTTP:   func(method, url string) (any, error) { return nil, fmt.Errorf("no answer to %s %s", method, url) },
	}}
	for expression, want := range map[string]string{
		"globalContext.get('a', 'b').got == 'ab'":                     "passed",
		"image.getMetadata('x').tag == '1'":                           "passed",
		"http.get('u').a == 1":                                        "failed: spec.validations[0].expression: no answer to GET u",
		"resource.get('v1', 'configmaps', 'shop', 'c').data.a == 'b'": "failed: spec.validations[0].expression: configmaps c of namespace shop is not given by the test",
	} {
		if got := strings.Join(told(t, o, says(expression), pod), "; "); got != want {
			t.Errorf("%s: got %q, expected %q", expression, got, want)
		}
	}
}

func TestPoliciesOfPayloadsAreAskedOfWhatIsNoObject(t *testing.T) {
	t.Parallel()
	text := "apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nmetadata: {name: p}\nspec:\n  evaluation: {mode: JSON}\n  validations: [{message: m, expression: \"object.value > 10\"}]\n"
	compiled, err := compile(t, celpolicy.Options{}, text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.New(compiled, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[int64]policies.Verdict{5: policies.Denied, 15: policies.Allow} {
		o := policies.NewDocument(map[string]any{"value": value}, policies.Origin{}, nil)
		if d := e.Decide(context.Background(), &policies.Change{Operation: policies.Create, Object: o, Plain: true}); d.Verdict() != want || len(d.Results) != 1 {
			t.Errorf("value %d: got %v with %d results, expected %v", value, d.Verdict(), len(d.Results), want)
		}
	}
	if got := told(t, celpolicy.Options{}, text, pod); len(got) != 0 {
		t.Errorf("a Pod is asked about: %v", got)
	}
}
