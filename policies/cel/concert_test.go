package cel_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// TestTheEngineMatchesResourcesAsTheAPIServerDoes holds policies.Match to the API server's own rule matcher.
func TestTheEngineMatchesResourcesAsTheAPIServerDoes(t *testing.T) {
	t.Parallel()
	o := object(t, deployment)
	for _, pattern := range []string{"*", "*/*", "pods", "pods/*", "pods/status", "*/status", "*/scale", "deployments", "deployments/scale", "pod", "pods/", "/status", "*/"} {
		for _, group := range []string{"", "apps", "*"} {
			for _, version := range []string{"v1", "v1beta1", "*"} {
				for _, op := range []policies.Operation{policies.Create, policies.Delete} {
					for _, res := range []policies.Resource{
						{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "pods", Subresource: "status"}, {Group: "apps", Version: "v1", Resource: "deployments"},
						{Group: "apps", Version: "v1beta1", Resource: "deployments", Subresource: "scale"}, {Group: "apps", Version: "v1", Resource: "replicasets", Subresource: "scale"},
					} {
						rule := admissionv1.RuleWithOperations{
							Operations: []admissionv1.OperationType{admissionv1.OperationType(op)},
							Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{pattern}},
						}
						m := rules.Matcher{Rule: rule, Attr: admission.NewAttributesRecord(nil, nil, schema.GroupVersionKind{}, "shop", "web",
							schema.GroupVersionResource{Group: res.Group, Version: res.Version, Resource: res.Resource}, res.Subresource, admission.Create, nil, false, nil)}
						engine, err := policies.New([]*policies.Policy{{
							Name: "p",
							Match: policies.Match{Operations: []policies.Operation{op}, NoPods: true,
								Resources: []policies.ResourceRule{{Groups: []string{group}, Versions: []string{version}, Resources: []string{pattern}}}},
							Judge: func(context.Context, *policies.Change) (policies.Finding, error) { return policies.Finding{}, nil },
						}}, nil, nil)
						if err != nil {
							t.Fatal(err)
						}
						c := creation(o)
						c.Resource = res
						if asked := len(engine.Decide(context.Background(), c).Results) > 0; asked != m.Matches() {
							t.Errorf("%s of %q %q %q on %v: asked %v, the API server matches %v", op, group, version, pattern, res, asked, m.Matches())
						}
					}
				}
			}
		}
	}
}

func TestOnePolicyMayBeAskedFromManySides(t *testing.T) {
	t.Parallel()
	compiled, err := compile(t, cel.Options{API: testAPI{}}, benchPolicies(20))
	if err != nil {
		t.Fatal(err)
	}
	bad := object(t, strings.NewReplacer("replicas: 3", "replicas: 99", ":1.2.3", ":latest", "env: prod", "env: test").Replace(benchDeployment))
	shared := creation(bad)
	say := func(c *policies.Change) string {
		var b strings.Builder
		for _, p := range compiled {
			f, err := p.Judge(context.Background(), c)
			fmt.Fprintln(&b, p.Name, told(f, err), pathsOf(f))
		}
		return b.String()
	}
	want := say(creation(bad))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c := shared
			if i%2 == 0 {
				c = atPoorDoor(shared, 0)
			}
			if got := say(c); got != want {
				t.Errorf("said\n%s\nand\n%s", got, want)
			}
		})
	}
	all.Wait()
}
