package policies_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
)

func object(kind string, group string, content map[string]any) *policies.Object {
	m := map[string]any{"apiVersion": policies.GroupVersionKind{Group: group, Version: "v1"}.APIVersion(), "kind": kind,
		"metadata": map[string]any{"name": "web", "namespace": "shop"}}
	for k, v := range content {
		m[k] = v
	}
	return policies.NewObject(m, policies.Origin{File: "web.yaml", Line: 1}, nil, nil)
}

func creation(o *policies.Object, plural string) *policies.Change {
	return &policies.Change{Operation: policies.Create, Object: o, Namespace: o.Namespace, Namespaced: true,
		Resource: policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: plural}}
}

func engine(t *testing.T, ps ...*policies.Policy) *policies.Engine {
	t.Helper()
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func answering(f policies.Finding, err error) func(context.Context, *policies.Change) (policies.Finding, error) {
	return func(context.Context, *policies.Change) (policies.Finding, error) { return f, err }
}

var broken = policies.Finding{Violations: []policies.Violation{{Rule: "r", Message: "no"}}}

func TestVerdictWeighsOutcomesByAction(t *testing.T) {
	warningOnly := policies.Finding{Violations: []policies.Violation{{Message: "no", Warning: true}}}
	boom := errors.New("registry unreachable")
	for _, tc := range []struct {
		name    string
		policy  policies.Policy
		outcome policies.Outcome
		verdict policies.Verdict
	}{
		{"a policy that is kept allows", policies.Policy{Judge: answering(policies.Finding{}, nil)}, policies.Passed, policies.Allow},
		{"a violation denies", policies.Policy{Judge: answering(broken, nil)}, policies.Violated, policies.Denied},
		{"a violation of a warning policy warns", policies.Policy{Action: policies.Warn, Judge: answering(broken, nil)}, policies.Violated, policies.AllowWarn},
		{"a violation of an audit policy is only recorded", policies.Policy{Action: policies.Audit, Judge: answering(broken, nil)}, policies.Violated, policies.Allow},
		{"a warning violation of a denying policy warns", policies.Policy{Judge: answering(warningOnly, nil)}, policies.Violated, policies.AllowWarn},
		{"a warning violation of an audit policy stays a record", policies.Policy{Action: policies.Audit, Judge: answering(warningOnly, nil)}, policies.Violated, policies.Allow},
		{"a policy that could not judge is unsure, not denied", policies.Policy{Judge: answering(policies.Finding{}, boom)}, policies.Failed, policies.Unsure},
		{"a finding beside an error does not count", policies.Policy{Judge: answering(broken, boom)}, policies.Failed, policies.Unsure},
		{"a warning policy that could not judge warns", policies.Policy{Action: policies.Warn, Judge: answering(policies.Finding{}, boom)}, policies.Failed, policies.AllowWarn},
		{"a panic is a failure to judge", policies.Policy{Judge: func(context.Context, *policies.Change) (policies.Finding, error) { panic("oops") }}, policies.Failed, policies.Unsure},
		{"a missing fact defers", policies.Policy{Needs: policies.KnowsActor, Judge: answering(broken, nil)}, policies.Deferred, policies.Allow},
		{"a need found while judging defers", policies.Policy{Judge: answering(policies.Finding{}, fmt.Errorf("ns: %w", &policies.NeedError{What: "labels of namespace shop"}))}, policies.Deferred, policies.Allow},
		{"a policy with nothing to say is skipped", policies.Policy{Judge: answering(policies.Finding{Skipped: "selector"}, nil)}, policies.Skipped, policies.Allow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.policy.Name = "p"
			d := engine(t, &tc.policy).Decide(t.Context(), creation(object("ConfigMap", "", nil), "configmaps"))
			if len(d.Results) != 1 || d.Results[0].Outcome != tc.outcome {
				t.Fatalf("results %+v, want one that %s", d.Results, tc.outcome)
			}
			if got := d.Verdict(); got != tc.verdict {
				t.Errorf("verdict %s, want %s", got, tc.verdict)
			}
			if want := tc.outcome != policies.Deferred; d.Complete() != want {
				t.Errorf("complete %v, want %v", d.Complete(), want)
			}
		})
	}
}

func TestDeniedBeatsUnsure(t *testing.T) {
	e := engine(t,
		&policies.Policy{Name: "a", Judge: answering(broken, nil)},
		&policies.Policy{Name: "b", Judge: answering(policies.Finding{}, errors.New("x"))})
	d := e.Decide(t.Context(), creation(object("ConfigMap", "", nil), "configmaps"))
	if d.Verdict() != policies.Denied {
		t.Errorf("verdict %s", d.Verdict())
	}
}

func TestAZeroVerdictAllowsNothing(t *testing.T) {
	var v policies.Verdict
	if v == policies.Allow || v == policies.AllowWarn {
		t.Error("the zero verdict lets a change in")
	}
}

func TestNoTimeLeftIsAFailureToJudge(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("deadline of the request"))
	e := engine(t, &policies.Policy{Name: "p", Judge: answering(policies.Finding{}, nil)})
	d := e.Decide(ctx, creation(object("ConfigMap", "", nil), "configmaps"))
	if d.Verdict() != policies.Unsure || !strings.Contains(d.Results[0].Err.Error(), "deadline of the request") {
		t.Errorf("verdict %s, err %v", d.Verdict(), d.Results[0].Err)
	}
}

func TestNewRefusesWhatCouldAllowByMistake(t *testing.T) {
	judge := answering(policies.Finding{}, nil)
	for _, tc := range []struct {
		name string
		ps   []*policies.Policy
		want string
	}{
		{"no policies at all", nil, "none given"},
		{"a policy without a name", []*policies.Policy{{Judge: judge}}, "no name"},
		{"a policy without a judge", []*policies.Policy{{Name: "p"}}, "cannot judge"},
		{"two policies of one name", []*policies.Policy{{Name: "p", Judge: judge}, {Name: "p", Judge: judge}}, "declared twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := policies.New(tc.ps, nil, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

var deployment = map[string]any{"spec": map[string]any{"template": map[string]any{
	"metadata": map[string]any{"labels": map[string]any{"app": "web"}},
	"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "nginx"}}},
}}}

func TestAPolicyForPodsIsAskedOfTheWorkloadsPodOnce(t *testing.T) {
	var asked []*policies.Change
	podPolicy := func(m policies.Match) *policies.Policy {
		return &policies.Policy{Name: "p", Match: m, Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
			asked = append(asked, c)
			return policies.Finding{Violations: []policies.Violation{{Message: "no", Path: policies.ParsePath("spec.containers[0].image")}}}, nil
		}}
	}
	pods := policies.ResourceRule{Groups: []string{""}, Versions: []string{"v1"}, Resources: []string{"pods"}}
	for _, tc := range []struct {
		name  string
		match policies.Match
		pod   bool
		asked int
	}{
		{"one that names the kind Pod", policies.Match{Kinds: []policies.KindRule{{Kind: "Pod"}}}, true, 1},
		{"one that names the resource pods", policies.Match{Resources: []policies.ResourceRule{pods}}, true, 1},
		{"one that names the workload too is asked of the workload only", policies.Match{Kinds: []policies.KindRule{{Kind: "Pod"}, {Group: "apps", Kind: "Deployment"}}}, false, 1},
		{"one that matches everything is asked of the workload only", policies.Match{}, false, 1},
		{"one that opted out is not asked", policies.Match{Kinds: []policies.KindRule{{Kind: "Pod"}}, NoPods: true}, false, 0},
		{"one about deleting Pods is not asked", policies.Match{Kinds: []policies.KindRule{{Kind: "Pod"}}, Operations: []policies.Operation{policies.Delete}}, false, 0},
		{"one about exec into Pods is not asked", policies.Match{Kinds: []policies.KindRule{{Kind: "Pod", Subresource: "exec"}}}, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked = nil
			d := engine(t, podPolicy(tc.match)).Decide(t.Context(), creation(object("Deployment", "apps", deployment), "deployments"))
			if len(asked) != tc.asked {
				t.Fatalf("asked %d times, want %d", len(asked), tc.asked)
			}
			if tc.asked == 0 {
				return
			}
			if d.Results[0].Pod != tc.pod {
				t.Errorf("asked of the Pod: %v, want %v", d.Results[0].Pod, tc.pod)
			}
			want := "spec.containers[0].image"
			if tc.pod {
				want = "spec.template.spec.containers[0].image"
				o := asked[0].Object
				if o.Kind.Kind != "Pod" || o.Namespace != "shop" || asked[0].Operation != policies.Create {
					t.Errorf("asked about %s %s", asked[0].Operation, o)
				}
				if labels, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "labels", "app"}); labels != "web" {
					t.Errorf("Pod has labels %v", labels)
				}
			}
			if got := d.Results[0].Finding.Violations[0].Path.String(); got != want {
				t.Errorf("violation at %s, want %s", got, want)
			}
		})
	}
}

func TestThePodIsMadeOfTheStoredWorkload(t *testing.T) {
	written := object("Deployment", "apps", deployment)
	o := written.WithStored(func(o *policies.Object) (map[string]any, error) {
		return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"dnsPolicy": "ClusterFirst"}}}}, nil
	})
	e := engine(t, &policies.Policy{Name: "p", Match: policies.Match{Kinds: []policies.KindRule{{Kind: "Pod"}}},
		Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
			if v, _ := policies.Lookup(c.Object.Settled(), policies.Path{"spec", "dnsPolicy"}); v != "ClusterFirst" {
				t.Errorf("dnsPolicy %v: the Pod lacks the defaults", v)
			}
			return policies.Finding{}, nil
		}})
	if d := e.Decide(t.Context(), creation(o, "deployments")); len(d.Results) != 1 {
		t.Fatalf("results %+v", d.Results)
	}
}

func TestAPolicyAboutUpdatesIsDeferredWhereTheOldObjectIsUnknown(t *testing.T) {
	e := engine(t, &policies.Policy{Name: "p", Match: policies.Match{Operations: []policies.Operation{policies.Update}}, Judge: answering(broken, nil)})
	c := creation(object("ConfigMap", "", nil), "configmaps")
	if d := e.Decide(t.Context(), c); d.Complete() || d.Results[0].Outcome != policies.Deferred {
		t.Errorf("results %+v, want one deferred", d.Results)
	}
	c = creation(object("ConfigMap", "", nil), "configmaps")
	c.Knows = policies.KnowsOld
	if d := e.Decide(t.Context(), c); !d.Complete() || len(d.Results) != 0 {
		t.Errorf("results %+v, want none: it is known to be a creation", d.Results)
	}
}

func TestExemptionsCoverOnlyWhatTheyName(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		x    policies.Exemption
		want bool
	}{
		{"one that names nothing covers everything", policies.Exemption{}, true},
		{"one for the policy", policies.Exemption{Policies: []string{"p"}}, true},
		{"one for the rule", policies.Exemption{Policies: []string{"p/r"}}, true},
		{"one for another rule", policies.Exemption{Policies: []string{"p/other"}}, false},
		{"one for another policy", policies.Exemption{Policies: []string{"q"}}, false},
		{"a pattern does not match a part of a name", policies.Exemption{Namespaces: []string{"sho"}}, false},
		{"a pattern of a namespace", policies.Exemption{Namespaces: []string{"sh*"}}, true},
		{"one for the kind with its group", policies.Exemption{Kinds: []string{"Deployment.apps"}}, true},
		{"one for a kind of another group", policies.Exemption{Kinds: []string{"Deployment.extensions"}}, false},
		{"one for another name", policies.Exemption{Names: []string{"api"}}, false},
		{"one that ends tomorrow", policies.Exemption{Until: now.AddDate(0, 0, 1)}, true},
		{"one that ended now", policies.Exemption{Until: now}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := policies.New([]*policies.Policy{{Name: "p", Judge: answering(broken, nil)}}, []policies.Exemption{tc.x}, func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			d := e.Decide(t.Context(), creation(object("Deployment", "apps", deployment), "deployments"))
			if got := d.Verdict() == policies.Allow; got != tc.want {
				t.Errorf("exempted %v, want %v", got, tc.want)
			}
			if len(d.Results[0].Finding.Violations) != 1 {
				t.Error("an exempted violation has to stay in the record")
			}
		})
	}
}

func TestAModeOfAKindCoversItsSubresources(t *testing.T) {
	object := func(apiVersion, kind string) *policies.Object {
		return policies.NewObject(map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "web", "namespace": "shop"}}, policies.Origin{}, nil, nil)
	}
	scale := object("autoscaling/v1", "Scale")
	resource := func(group, name, sub string) policies.Resource {
		return policies.Resource{Group: group, Version: "v1", Resource: name, Subresource: sub}
	}
	for _, tc := range []struct {
		name     string
		kinds    []string
		resource policies.Resource
		object   *policies.Object
		want     policies.Verdict
	}{
		{"the scale of a Deployment", []string{"Deployment"}, resource("apps", "deployments", "scale"), scale, policies.Allow},
		{"with its group", []string{"Deployment.apps"}, resource("apps", "deployments", "scale"), scale, policies.Allow},
		{"of the same name in another group", []string{"Deployment.apps"}, resource("example.com", "deployments", "scale"), scale, policies.Denied},
		{"the scale of another kind", []string{"StatefulSet"}, resource("apps", "deployments", "scale"), scale, policies.Denied},
		{"a kind that begins alike", []string{"Deploy"}, resource("apps", "deployments", "scale"), scale, policies.Denied},
		{"a pattern", []string{"*Set"}, resource("apps", "statefulsets", "scale"), scale, policies.Allow},
		{"the scale itself", []string{"Scale"}, resource("apps", "deployments", "scale"), scale, policies.Allow},
		{"a command in a Pod", []string{"Pod"}, resource("", "pods", "exec"), object("v1", "PodExecOptions"), policies.Allow},
		{"a container in a running Pod", []string{"Pod"}, resource("", "pods", "ephemeralcontainers"), object("v1", "Pod"), policies.Allow},
		{"an eviction", []string{"Pod"}, resource("", "pods", "eviction"), object("policy/v1", "Eviction"), policies.Allow},
		{"a status", []string{"Ingress.networking.k8s.io"}, resource("networking.k8s.io", "ingresses", "status"), object("networking.k8s.io/v1", "Ingress"), policies.Allow},
		{"a plural with ies", []string{"Proxy"}, resource("example.com", "proxies", "scale"), scale, policies.Allow},
		{"another namespace", nil, resource("apps", "deployments", "scale"), scale, policies.Denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mode := policies.Mode{Kinds: tc.kinds, Action: policies.Audit}
			if tc.kinds == nil {
				mode.Kinds, mode.Namespaces = []string{"Deployment"}, []string{"prod"}
			}
			e := engine(t, &policies.Policy{
				Name: "p", Judge: answering(broken, nil),
				Match: policies.Match{Resources: []policies.ResourceRule{{Groups: []string{"*"}, Versions: []string{"*"}, Resources: []string{"*/*"}}}},
			}).WithModes([]policies.Mode{mode})
			d := e.Decide(t.Context(), &policies.Change{Operation: policies.Update, Resource: tc.resource, Object: tc.object, Old: tc.object, Namespace: "shop", Namespaced: true, Knows: policies.KnowsOld})
			if d.Verdict() != tc.want {
				t.Errorf("%v, want %v", d.Verdict(), tc.want)
			}
		})
	}
}

func TestModesGiveAPolicyAnotherActionWhereTheyApply(t *testing.T) {
	failing := func(context.Context, *policies.Change) (policies.Finding, error) {
		return policies.Finding{}, errors.New("down")
	}
	for _, tc := range []struct {
		name  string
		modes []policies.Mode
		judge func(context.Context, *policies.Change) (policies.Finding, error)
		want  policies.Verdict
	}{
		{"no mode", nil, answering(broken, nil), policies.Denied},
		{"a mode of the policy", []policies.Mode{{Policies: []string{"p"}, Action: policies.Audit}}, answering(broken, nil), policies.Allow},
		{"a mode of another policy", []policies.Mode{{Policies: []string{"q"}, Action: policies.Audit}}, answering(broken, nil), policies.Denied},
		{"a mode of the namespace", []policies.Mode{{Namespaces: []string{"sh*"}, Action: policies.Warn}}, answering(broken, nil), policies.AllowWarn},
		{"a mode of another kind", []policies.Mode{{Kinds: []string{"Pod"}, Action: policies.Warn}}, answering(broken, nil), policies.Denied},
		{"the first of two counts", []policies.Mode{{Kinds: []string{"Deployment.apps"}, Action: policies.Audit}, {Action: policies.Deny}}, answering(broken, nil), policies.Allow},
		{"a mode also says what a failure leads to", []policies.Mode{{Action: policies.Audit}}, failing, policies.Allow},
		{"a failure without a mode", nil, failing, policies.Unsure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := engine(t, &policies.Policy{Name: "p", Judge: tc.judge}).WithModes(tc.modes)
			d := e.Decide(t.Context(), creation(object("Deployment", "apps", deployment), "deployments"))
			if got := d.Verdict(); got != tc.want {
				t.Errorf("verdict %s, want %s", got, tc.want)
			}
		})
	}
}

func TestManyInventedKindsDoNotGrowTheEngineWithoutBound(t *testing.T) {
	e := engine(t, &policies.Policy{Name: "p", Judge: answering(broken, nil)})
	for i := range 10000 {
		d := e.Decide(t.Context(), creation(object(fmt.Sprintf("Kind%d", i), "x.example", nil), "kinds"))
		if d.Verdict() != policies.Denied {
			t.Fatalf("kind %d: verdict %s", i, d.Verdict())
		}
	}
	if n := e.PlansKept(); n > 4200 {
		t.Errorf("%d plans kept", n)
	}
}

func TestAPolicyThatIsForPodsInPartIsAskedOfTheWorkloadAndOfItsPod(t *testing.T) {
	var asked []string
	p := &policies.Policy{Name: "p", Match: policies.Match{PodsToo: true}, Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
		of := ""
		if c.Workload != nil {
			of = " of " + c.Workload.Kind.Kind
		}
		asked = append(asked, c.Object.Kind.Kind+of)
		return policies.Finding{}, nil
	}}
	e := engine(t, p)
	e.Decide(t.Context(), creation(object("Deployment", "apps", deployment), "deployments"))
	e.Decide(t.Context(), creation(object("Service", "", nil), "services"))
	if got, want := strings.Join(asked, ", "), "Deployment, Pod of Deployment, Service"; got != want {
		t.Errorf("asked of %s, want %s", got, want)
	}
}
