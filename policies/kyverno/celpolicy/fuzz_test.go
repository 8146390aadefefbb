package celpolicy_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
)

// FuzzPolicies compiles arbitrary documents and asks those that compile about a Pod and a CronJob: nothing panics, the answer is the
// same twice, and the objects stay as they are.
func FuzzPolicies(f *testing.F) {
	f.Add(says("object.spec.containers.all(c, parseImageReference(c.image).tag() != 'latest')"))
	f.Add(policy("pods", "autogen: {podControllers: {controllers: [cronjobs, jobsets.v1alpha2.jobset.x-k8s.io]}}\nvariables: [{name: a, expression: \"object.metadata.?labels.orValue({})\"}]\nvalidations: [{messageExpression: \"'no ' + string(variables.a.size())\", expression: \"'x' in variables.a\"}]"))
	f.Add(policy("cronjobs.batch", "matchConditions: [{name: c, expression: \"resource.get('v1', 'configmaps', 'n', 'c').data.a == 'b'\"}]\nauditAnnotations: [{key: a, valueExpression: \"http.get('u').b\"}]"))
	f.Add(says("false") + "---\napiVersion: policies.kyverno.io/v1\nkind: PolicyException\nmetadata: {name: x}\nspec: {policyRefs: [{kind: ValidatingPolicy, name: p}], images: [a], expiresAt: \"2999-01-01T00:00:00Z\"}\n")
	f.Add("apiVersion: policies.kyverno.io/v1beta1\nkind: NamespacedValidatingPolicy\nmetadata: {name: p}\nspec: {evaluation: {mode: JSON}, validations: [{expression: object.a > 1}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		objects, _ := manifest.Decode("policy.yaml", []byte(text), manifest.DefaultLimits())
		var docs []policies.Document
		for _, o := range objects {
			if d := (policies.Document{File: "policy.yaml", Object: o}); celpolicy.Claims(d) {
				docs = append(docs, d)
			}
		}
		compiled, err := celpolicy.Compile(context.Background(), celpolicy.Options{API: served{}}, docs)
		if err != nil || len(compiled) == 0 {
			return
		}
		e, err := policies.New(compiled, nil, nil)
		if err != nil {
			return
		}
		volatile := strings.Contains(text, "random") || strings.Contains(text, "time") || strings.Contains(text, "gzip") || strings.Contains(text, "x509")
		for _, object := range []string{pod, cronJob} {
			o, untouched := decode(t, "object.yaml", object)[0], decode(t, "object.yaml", object)[0]
			res, _, _ := served{}.Resource(nil, o.Kind)
			ask := func() policies.Decision {
				return e.Decide(context.Background(), &policies.Change{Operation: policies.Create, Object: o, Resource: res, Namespaced: true, Namespace: "shop"})
			}
			first, second := ask(), ask()
			for i := range first.Results {
				a, b := &first.Results[i], &second.Results[i]
				if !volatile && (a.Outcome != b.Outcome || a.Missing != b.Missing || len(a.Finding.Violations) != len(b.Finding.Violations)) {
					t.Fatalf("%v %q, then %v %q", a.Outcome, a.Missing, b.Outcome, b.Missing)
				}
				if p, ok := a.Err.(*policies.PanicError); ok {
					t.Fatalf("%v\n%s", p, p.Stack)
				}
			}
			if !reflect.DeepEqual(o.Map(), untouched.Map()) {
				t.Fatal("the object was changed")
			}
		}
	})
}
