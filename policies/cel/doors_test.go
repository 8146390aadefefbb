package cel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/cel"
)

func TestADoorThatKnowsLessDefersWhatHangsOnIt(t *testing.T) {
	t.Parallel()
	authorizer := "authorizer.group('').resource('pods').namespace('shop').check('get').allowed()"
	for _, tc := range []struct {
		name, spec string
		lacks      policies.Facts
		want       string
		facts      policies.Facts
	}{
		{"the authorizer is asked at no door", "validations: [{expression: \"" + authorizer + "\"}]", 0,
			"error: needs what the cluster's authorizer says", policies.KnowsCluster},
		{"the authorizer is not asked where the answer is clear", "validations: [{expression: \"true || " + authorizer + "\"}]", 0, "passed", 0},
		{"the resource of the request, for the authorizer", "validations: [{expression: \"authorizer.requestResource.check('get').allowed()\"}]", 0,
			"error: needs what the cluster's authorizer says", policies.KnowsCluster},
		{"a denial stands beside what is not known", "validations: [{expression: \"" + authorizer + "\"}, {expression: \"false\", message: denied}]", 0,
			"validations[1] Invalid: denied", 0},
		{"the actor", "validations: [{expression: \"request.userInfo.username == 'alice'\"}]", policies.KnowsActor, "error: needs who makes the change", policies.KnowsActor},
		{"the actor, where another part denies", "validations: [{expression: \"request.userInfo.username == 'alice' && object.spec.replicas < 3\", message: denied}]", policies.KnowsActor,
			"validations[0] Invalid: denied", 0},
		{"whether the actor is in a group", "validations: [{expression: \"has(request.userInfo.groups) && 'dev' in request.userInfo.groups\"}]", policies.KnowsActor,
			"error: needs who makes the change", policies.KnowsActor},
		{"a match condition on the actor, for what passes anyway", "matchConditions: [{name: c, expression: \"request.userInfo.username != 'alice'\"}]\nvalidations: [{expression: \"true\"}]", policies.KnowsActor,
			"passed", 0},
		{"a match condition on the actor, for what would be denied", "matchConditions: [{name: c, expression: \"request.userInfo.username != 'alice'\"}]\nvalidations: [{expression: \"false\"}]", policies.KnowsActor,
			"error: needs who makes the change", policies.KnowsActor},
		{"a match condition that decides before the actor is asked for", "matchConditions: [{name: c, expression: \"object.kind == 'Pod'\"}]\nvalidations: [{expression: \"request.userInfo.username == 'alice'\"}]", policies.KnowsActor,
			"skipped: match condition c is not met", 0},
		{"a match condition that fails, beside one that is not known", "matchConditions: [{name: c, expression: \"request.userInfo.username != 'alice'\"}, {name: d, expression: \"object.nothing == 1\"}]\nvalidations: [{expression: \"false\"}]", policies.KnowsActor,
			"error: needs who makes the change", policies.KnowsActor},
		{"the namespace", "validations: [{expression: \"namespaceObject.metadata.labels['team'] == 'a'\"}]", policies.KnowsNamespace, "error: needs namespace shop", policies.KnowsNamespace},
		{"a variable on the actor", "variables: [{name: who, expression: \"request.userInfo.username\"}]\nvalidations: [{expression: \"variables.who == 'alice'\"}]", policies.KnowsActor,
			"error: needs who makes the change", policies.KnowsActor},
		{"a macro over what is not known", "validations: [{expression: \"request.userInfo.groups.all(g, g != 'x')\"}]", policies.KnowsActor, "error: needs who makes the change", policies.KnowsActor},
		{"two things at once", "validations: [{expression: \"request.userInfo.username == namespaceObject.metadata.name\"}]", policies.KnowsActor | policies.KnowsNamespace,
			"error: needs who makes the change, namespace shop", policies.KnowsActor | policies.KnowsNamespace},
		{"the old object, where the object may exist already", "validations: [{expression: \"oldObject == null || object.spec.replicas >= oldObject.spec.replicas\"}]", policies.KnowsOld,
			"error: needs the object before the change", policies.KnowsOld},
		{"the old object, where the new one decides", "validations: [{expression: \"object.spec.replicas == 7 || object.spec.replicas >= oldObject.spec.replicas\"}]", policies.KnowsOld, "passed", 0},
		{"the old object, where a creation would be denied", "validations: [{expression: \"oldObject != null\", message: denied}]", policies.KnowsOld, "validations[0] Invalid: denied", 0},
		{"the operation, where both pass", "matchConditions: [{name: c, expression: \"request.operation == 'CREATE'\"}]\nvalidations: [{expression: \"object.spec.replicas == 7\"}]", policies.KnowsOld, "passed", 0},
		{"the operation, where an update would be denied", "validations: [{expression: \"request.operation != 'UPDATE'\"}]", policies.KnowsOld, "error: needs the object before the change", policies.KnowsOld},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, err := judgeOne(t, policyOf(tc.spec), atPoorDoor(creation(object(t, deployment)), tc.lacks))
			if got := told(f, err); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			var need *policies.NeedError
			if errors.As(err, &need) != (tc.facts != 0) || need != nil && need.Facts != tc.facts {
				t.Errorf("needs %+v, want %b", need, tc.facts)
			}
		})
	}
}

func TestWithoutOptionsOfTheRequestTheyAreNeeded(t *testing.T) {
	t.Parallel()
	c := creation(object(t, deployment))
	c.Options = nil
	f, err := judgeOne(t, policyOf("validations: [{expression: \"request.options.fieldManager == 'kubectl'\"}]"), c)
	if got := told(f, err); got != "error: needs the options of the request" {
		t.Error(got)
	}
}

func TestWhatTheAPIServerFillsInIsKnownToItAlone(t *testing.T) {
	t.Parallel()
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-, namespace: shop}\nspec: {containers: []}\n"
	const need = "error: needs what the API server fills into the object's metadata"
	for _, tc := range []struct{ name, object, expression, want string }{
		{"a time", deployment, "timestamp(object.metadata.creationTimestamp) > timestamp('2020-01-01T00:00:00Z')", need},
		{"whether there is an id", deployment, "has(object.metadata.uid)", need},
		{"an optional one", deployment, "object.metadata.?generation.orValue(1) == 1", need},
		{"one that is there", strings.Replace(deployment, "namespace: shop", "namespace: shop\n  uid: a-b", 1), "object.metadata.uid == 'a-b'", "passed"},
		{"a generated name", pod, "object.metadata.name.matches('^web-[a-z]{5}$') && request.name == object.metadata.name", "passed"},
		{"a generated name that is too long", strings.Replace(pod, "web-", strings.Repeat("a", 70), 1), "size(object.metadata.name) == 63", "passed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := told(judgeOne(t, policyOf("validations:\n- expression: "+quote(tc.expression)), creation(object(t, tc.object)))); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
	text := policyOf("variables: [{name: age, expression: \"object.metadata.creationTimestamp\"}]\nvalidations: [{expression: \"variables.age != ''\"}]")
	if got := told(judgeOne(t, text, creation(object(t, deployment)))); got != need {
		t.Errorf("a variable: got %s", got)
	}
}

func TestANamespaceSelectorNeedsTheNamespace(t *testing.T) {
	t.Parallel()
	text := strings.Replace(policyOf("validations: [{expression: \"object.spec.replicas < 3\", message: denied}]"), "  matchConstraints:\n", "  matchConstraints:\n    namespaceSelector: {matchLabels: {team: a}}\n", 1)
	for _, tc := range []struct {
		name, replicas string
		prepare        func(*policies.Change)
		want           string
	}{
		{"known, selected", "7", func(*policies.Change) {}, "validations[0] Invalid: denied"},
		{"known, not selected", "7", func(c *policies.Change) {
			c.Holder = policies.NewObject(map[string]any{"metadata": map[string]any{"name": "shop"}}, policies.Origin{}, nil, nil)
		}, "skipped: namespaceSelector does not match its namespace"},
		{"not known, and it matters", "7", func(c *policies.Change) { c.Holder, c.Knows = nil, c.Knows&^policies.KnowsNamespace }, "error: needs namespace shop"},
		{"not known, and it does not matter", "2", func(c *policies.Change) { c.Holder, c.Knows = nil, c.Knows&^policies.KnowsNamespace }, "passed"},
		{"known not to exist", "7", func(c *policies.Change) { c.Holder = nil }, `error: namespaces "shop" not found`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := creation(object(t, strings.Replace(deployment, "replicas: 7", "replicas: "+tc.replicas, 1)))
			tc.prepare(c)
			if got := told(judgeOne(t, text, c)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// paramPolicy takes its limit from a ConfigMap (or another kind) that the binding's paramRef names.
func paramPolicy(kind, ref string) string {
	return strings.Replace(policyOf("paramKind: "+kind+"\nvalidations: [{expression: \"params != null && object.spec.replicas <= int(params.data.max)\", messageExpression: \"'at most ' + params.data.max\"}]"),
		"policyName: p,", "policyName: p, paramRef: "+ref+",", 1)
}

func limits(namespace, name, max string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s, labels: {limits: replicas}}\ndata: {max: %q}\n", name, namespace, max)
}

func TestParametersAreFound(t *testing.T) {
	t.Parallel()
	const configMap = "{apiVersion: v1, kind: ConfigMap}"
	offline := policies.KnowsOld | policies.KnowsActor | policies.KnowsNamespace
	for _, tc := range []struct {
		name, kind, ref string
		set, beside     []string
		knows           policies.Facts
		want            string
	}{
		{"by name in the change set", configMap, "{name: l, namespace: policy, parameterNotFoundAction: Deny}", []string{limits("policy", "l", "5")}, nil, offline, "validations[0] Invalid: at most 5"},
		{"by name beside the policy", configMap, "{name: l, namespace: policy, parameterNotFoundAction: Deny}", nil, []string{limits("policy", "l", "5")}, offline, "validations[0] Invalid: at most 5"},
		{"the change set comes before what lies beside the policy", configMap, "{name: l, namespace: policy, parameterNotFoundAction: Deny}", []string{limits("policy", "l", "9")}, []string{limits("policy", "l", "5")}, offline, "passed"},
		{"in the namespace of the request", configMap, "{name: l, parameterNotFoundAction: Deny}", []string{limits("shop", "l", "5"), limits("prod", "l", "9")}, nil, offline, "validations[0] Invalid: at most 5"},
		{"not in another namespace", configMap, "{name: l, parameterNotFoundAction: Allow}", []string{limits("prod", "l", "5")}, nil, offline | policies.KnowsCluster, "skipped: there is no ConfigMap l of namespace shop, the parameters of the policy"},
		{"all that a selector selects", configMap, "{selector: {matchLabels: {limits: replicas}}, namespace: policy, parameterNotFoundAction: Deny}",
			[]string{limits("policy", "a", "5"), limits("policy", "b", "9"), limits("policy", "c", "3"), limits("policy", "d", "3")}, nil, offline, "validations[0] Invalid: at most 5\nvalidations[0] Invalid: at most 3"},
		{"an empty selector selects all", configMap, "{selector: {}, namespace: policy, parameterNotFoundAction: Deny}", []string{limits("policy", "a", "5")}, nil, offline, "validations[0] Invalid: at most 5"},
		{"what is not at hand may be in the cluster", configMap, "{name: l, namespace: policy, parameterNotFoundAction: Allow}", nil, nil, offline, "error: needs ConfigMap l of namespace policy, the parameters of the policy"},
		{"what is not in the cluster is denied", configMap, "{name: l, namespace: policy, parameterNotFoundAction: Deny}", nil, nil, offline | policies.KnowsCluster,
			"params Invalid: no params found for policy binding with `Deny` parameterNotFoundAction: expected ConfigMap l of namespace policy, the parameters of the policy"},
		{"or allowed", configMap, "{name: l, namespace: policy, parameterNotFoundAction: Allow}", nil, nil, offline | policies.KnowsCluster, "skipped: there is no ConfigMap l of namespace policy, the parameters of the policy"},
		{"a kind without namespaces", "{apiVersion: v1, kind: Namespace}", "{name: l, parameterNotFoundAction: Deny}", []string{"apiVersion: v1\nkind: Namespace\nmetadata: {name: l}\ndata: {max: \"5\"}\n"}, nil, offline, "validations[0] Invalid: at most 5"},
		{"a kind without namespaces takes none", "{apiVersion: v1, kind: Namespace}", "{name: l, namespace: x, parameterNotFoundAction: Deny}", nil, nil, offline, "error: paramRef.namespace must not be provided for a cluster-scoped `paramKind`"},
		{"a kind that nobody declares", "{apiVersion: example.com/v1, kind: Limits}", "{name: l, namespace: policy, parameterNotFoundAction: Deny}",
			[]string{"apiVersion: example.com/v1\nkind: Limits\nmetadata: {name: l, namespace: policy}\ndata: {max: \"5\"}\n"}, nil, offline, "validations[0] Invalid: at most 5"},
		{"another version of the kind", "{apiVersion: example.com/v1, kind: Limits}", "{name: l, namespace: policy, parameterNotFoundAction: Deny}",
			[]string{"apiVersion: example.com/v2\nkind: Limits\nmetadata: {name: l, namespace: policy}\ndata: {max: \"5\"}\n"}, nil, offline, "error: parameters Limits policy/l cannot be converted from example.com/v2 to example.com/v1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			docs := documents(t, "p.yaml", paramPolicy(tc.kind, tc.ref))
			for _, text := range tc.beside {
				d := policies.Document{File: "param.yaml", Object: object(t, text)}
				if !cel.Beside(docs, d) {
					t.Errorf("%s is not taken for a parameter", d.Object)
				}
				docs = append(docs, d)
			}
			compiled, err := cel.Compiler(cel.Options{API: testAPI{}})(context.Background(), docs)
			if err != nil {
				t.Fatal(err)
			}
			c := creation(object(t, deployment))
			c.Knows = tc.knows
			var set []*policies.Object
			for _, text := range tc.set {
				set = append(set, object(t, text))
			}
			c.Set = policies.NewSet(set...)
			if got := told(compiled[0].Judge(context.Background(), c)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestAClusterScopedObjectHasNoParametersOfItsNamespace(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("[pods, deployments]", `["*"]`, `["", apps]`, `["*"]`).Replace(paramPolicy("{apiVersion: v1, kind: ConfigMap}", "{name: l, parameterNotFoundAction: Allow}"))
	c := creation(object(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"))
	if got := told(judgeOne(t, text, c)); got != "error: cannot use namespaced paramRef in policy binding that matches cluster-scoped resources" {
		t.Error(got)
	}
	text = strings.Replace(text, "spec:\n", "spec:\n  failurePolicy: Ignore\n", 1)
	if got := told(judgeOne(t, text, c)); got != "skipped: failurePolicy is Ignore, and cannot use namespaced paramRef in policy binding that matches cluster-scoped resources" {
		t.Error(got)
	}
}

func TestAPolicyReadsOnlyItsOwnKindOfDocuments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: a}\n":      true,
		"apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: a}\n": false,
		"apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata: {name: a}\n":        false,
		"apiVersion: example.com/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: a}\n":                       false,
	} {
		if got := cel.Claims(policies.Document{Object: object(t, text)}); got != want {
			t.Errorf("%v, want %v:\n%s", got, want, text)
		}
	}
	if cel.Claims(policies.Document{File: "a.rego", Text: []byte("package a")}) {
		t.Error("a file of another language is claimed")
	}
	if cel.Beside(nil, policies.Document{File: "a.rego", Text: []byte("package a")}) {
		t.Error("a file of another language is a parameter")
	}
}

func TestEachBindingIsAPolicy(t *testing.T) {
	t.Parallel()
	text := policyOf("validations: [{expression: \"object.spec.replicas < 3\", message: denied}]") + `---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: warn}
spec: {policyName: p, validationActions: [Audit, Warn], matchResources: {excludeResourceRules: [{apiGroups: [apps], apiVersions: ["*"], operations: ["*"], resources: [deployments]}]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: audit}
spec: {policyName: p, validationActions: [Audit]}
`
	compiled, err := compile(t, cel.Options{}, text)
	if err != nil {
		t.Fatal(err)
	}
	c := creation(object(t, deployment))
	got := map[string]string{}
	for _, p := range compiled {
		got[p.Name] = p.Action.String() + ", " + told(p.Judge(context.Background(), c))
	}
	want := map[string]string{
		"p/p":     "deny, validations[0] Invalid: denied",
		"p/warn":  "warn, skipped: the binding does not apply: excludeResourceRules name it",
		"p/audit": "audit, validations[0] Invalid: denied",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if p := compiled[0]; p.Kind != "cel" || p.Origin.Line != 3 || !slices.Equal(p.Rules, []string{"validations[0]"}) {
		t.Errorf("policy %+v", p)
	}
}

func TestAPolicyWithoutABindingCanBeBoundByConfiguration(t *testing.T) {
	t.Parallel()
	text, _, _ := strings.Cut(policyOf("validations: [{expression: \"false\", message: denied}]"), "---")
	compiled, err := compile(t, cel.Options{ImplicitBinding: true}, text)
	if err != nil || len(compiled) != 1 || compiled[0].Name != "p" || compiled[0].Action != policies.Deny {
		t.Fatalf("%v, %v", compiled, err)
	}
	if got := told(compiled[0].Judge(context.Background(), creation(object(t, deployment)))); got != "validations[0] Invalid: denied" {
		t.Error(got)
	}
	_, err = compile(t, cel.Options{ImplicitBinding: true}, strings.Replace(text, "spec:\n", "spec:\n  paramKind: {apiVersion: v1, kind: ConfigMap}\n", 1))
	if got := places(err); len(got) != 1 || !strings.Contains(got[0], "an implicit binding cannot choose") {
		t.Errorf("got %v", got)
	}
}

func TestAnnotationsSayWhatAPolicyIsFor(t *testing.T) {
	t.Parallel()
	text := strings.Replace(policyOf("validations: [{expression: \"true\"}]"), "metadata: {name: p}\nspec:\n",
		"metadata: {name: p, annotations: {kubernetes.io/description: why, gitgate.dev/url: \"https://a\", gitgate.dev/severity: high, gitgate.dev/controls: \"CIS 5.2.1, NIST CM-6\"}}\nspec:\n", 1)
	compiled, err := compile(t, cel.Options{}, text)
	if err != nil {
		t.Fatal(err)
	}
	if p := compiled[0]; p.Doc != "why" || p.URL != "https://a" || p.Severity != policies.High || !slices.Equal(p.Controls, []string{"CIS 5.2.1", "NIST CM-6"}) {
		t.Errorf("policy %+v", p)
	}
	_, err = compile(t, cel.Options{}, strings.Replace(text, "severity: high", "severity: grave", 1))
	if got := places(err); len(got) != 1 || !strings.Contains(got[0], `severity "grave": expected info, low, medium, high or critical`) {
		t.Errorf("got %v", got)
	}
}

func TestAViolationCarriesTheFixOfItsPolicy(t *testing.T) {
	t.Parallel()
	text := strings.Replace(policyOf("validations: [{expression: \"false\"}]"), "metadata: {name: p}\nspec:\n",
		"metadata: {name: p, annotations: {gitgate.dev/fix: \" set spec.replicas \"}}\nspec:\n", 1)
	f, err := judgeOne(t, text, creation(object(t, deployment)))
	if err != nil || len(f.Violations) != 1 || f.Violations[0].Fix != "set spec.replicas" {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestAuditAnnotationsAreEvidence(t *testing.T) {
	t.Parallel()
	f, err := judgeOne(t, policyOf("auditAnnotations:\n- {key: replicas, valueExpression: \"' replicas ' + string(object.spec.replicas)\"}\n- {key: none, valueExpression: \"null\"}\n- {key: blank, valueExpression: \"' '\"}"), creation(object(t, deployment)))
	if err != nil || len(f.Evidence) != 1 || f.Evidence[0] != (policies.Evidence{Kind: "audit-annotation", Value: "p/replicas=replicas 7"}) {
		t.Errorf("%s, evidence %v", told(f, err), f.Evidence)
	}
	f, err = judgeOne(t, policyOf("auditAnnotations:\n- {key: a, valueExpression: \"'' + object.nothing\"}"), creation(object(t, deployment)))
	if got := told(f, err); got != "error: spec.auditAnnotations[0].valueExpression: expression ''' + object.nothing' resulted in error: no such key: nothing" {
		t.Error(got)
	}
}

func TestEquivalentVersionsAreConverted(t *testing.T) {
	t.Parallel()
	const hpa = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: h, namespace: shop}\nspec: {maxReplicas: 9}\n"
	text := func(policy, kind string) string {
		return strings.NewReplacer(`["", apps]`, "[autoscaling, example.com]", "apiVersions: [v1]", "apiVersions: [v2]", "[pods, deployments]", "[horizontalpodautoscalers, widgets]",
			"  matchConstraints:\n", "  matchConstraints:\n    matchPolicy: "+policy+"\n").Replace(
			policyOf(`validations: [{expression: "object.apiVersion == 'autoscaling/v2' && request.kind.version == 'v2' && request.requestKind.version == 'v1' && request.resource.version == 'v2'", message: denied}]`))
	}
	convert := func(_ *policies.Set, o *policies.Object, to policies.GroupVersionKind) (map[string]any, error) {
		m := maps.Clone(o.Settled())
		m["apiVersion"] = to.APIVersion()
		return m, nil
	}
	for _, tc := range []struct {
		name, policy, object string
		convert              admission.Converter
		knows                policies.Facts
		want                 string
	}{
		{"an equivalent version is converted", "Equivalent", hpa, convert, policies.KnowsCluster, "passed"},
		{"Exact takes no equivalents", "Exact", hpa, convert, policies.KnowsCluster, "skipped: no resource rule matches it"},
		{"without a converter it fails", "Equivalent", hpa, nil, policies.KnowsCluster,
			"error: HorizontalPodAutoscaler shop/h cannot be converted from autoscaling/v1 to autoscaling/v2, which the policy is written for"},
		{"a converter may fail", "Equivalent", hpa, func(*policies.Set, *policies.Object, policies.GroupVersionKind) (map[string]any, error) {
			return nil, errors.New("broken")
		}, policies.KnowsCluster, "error: HorizontalPodAutoscaler shop/h cannot be converted from autoscaling/v1 to autoscaling/v2, which the policy is written for: broken"},
		{"versions of a kind that nobody declares are not known", "Equivalent", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}\n", convert, 0,
			"error: needs the versions in which the cluster serves Widget.example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			compiled, err := compile(t, cel.Options{API: testAPI{}, Convert: tc.convert}, text(tc.policy, ""))
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.New(compiled, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			d := engine.Decide(context.Background(), creation(object(t, tc.object)))
			if len(d.Results) == 0 {
				if tc.want != "skipped: no resource rule matches it" {
					t.Error("the engine did not ask")
				}
				return
			}
			if got := told(compiled[0].Judge(context.Background(), creation(object(t, tc.object)))); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestTheAPIServerAsksNoPolicyAboutSomeResources(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("[pods, deployments]", `["*"]`, `["", apps]`, `["*"]`).Replace(policyOf("validations: [{expression: \"false\", message: denied}]"))
	for _, tc := range []struct{ group, resource, want string }{
		{"admissionregistration.k8s.io", "validatingadmissionpolicies", "skipped: the API server asks no admission policy about admission policies"},
		{"admissionregistration.k8s.io", "validatingwebhookconfigurations", "validations[0] Invalid: denied"},
		{"authentication.k8s.io", "tokenreviews", "skipped: the API server asks no admission policy about reviews"},
		{"", "pods", "validations[0] Invalid: denied"},
	} {
		c := creation(object(t, deployment))
		c.Resource = policies.Resource{Group: tc.group, Version: "v1", Resource: tc.resource}
		if got := told(judgeOne(t, text, c)); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.resource, got, tc.want)
		}
	}
}

func TestTimeThatRunsOutIsNeverAnAnswer(t *testing.T) {
	t.Parallel()
	compiled, err := compile(t, cel.Options{}, policyOf("failurePolicy: Ignore\nvalidations: [{expression: \"object.spec.template.spec.containers.all(c, lists.range(1000).all(i, lists.range(300).all(j, i + j >= 0)))\"}]"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if f, err := compiled[0].Judge(ctx, creation(object(t, deployment))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %s", told(f, err))
	}
	if _, err := cel.Compiler(cel.Options{})(ctx, documents(t, "p.yaml", policyOf("validations: [{expression: \"true\"}]"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("compiled with %v", err)
	}
}
