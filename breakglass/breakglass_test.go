package breakglass_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func object(t *testing.T, text string) *policies.Object {
	t.Helper()
	objects, problems := manifest.Decode("x.yaml", []byte(text), manifest.DefaultLimits())
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatalf("%s\n%v", text, problems)
	}
	return objects[0]
}

func grant(t *testing.T, spec string) *policies.Object {
	return object(t, "apiVersion: gitgate.dev/v1alpha1\nkind: BreakGlass\nmetadata: {name: inc-42, uid: u1, creationTimestamp: \"2026-11-26T10:00:00Z\"}\nspec: "+spec+"\n")
}

func approval(t *testing.T, spec string) *policies.Object {
	return object(t, "apiVersion: gitgate.dev/v1alpha1\nkind: BreakGlassApproval\nmetadata: {name: a}\nspec: "+spec+"\n")
}

func write(user string, resource policies.Resource, namespace string, o *policies.Object) *policies.Change {
	return &policies.Change{
		Operation: policies.Update, Resource: resource, Namespace: namespace, Namespaced: namespace != "", Object: o, Old: o,
		Actor: &policies.Actor{User: user}, Knows: policies.KnowsActor | policies.KnowsOld,
	}
}

func TestAGrantCoversItsScopeForItsPersonAndItsTime(t *testing.T) {
	const web = "{person: alice, reason: INC-42, duration: 30m, scope: [{namespace: shop, kind: Deployment, name: web}]}"
	deployment := func(namespace, name string) *policies.Change {
		o := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: "+name+", namespace: "+namespace+"}\n")
		return write("alice", policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}, namespace, o)
	}
	by := func(c *policies.Change, user string) *policies.Change { c.Actor.User = user; return c }
	scale := object(t, "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web, namespace: shop}\n")
	role := object(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: viewer}\n")
	self := grant(t, web)
	for _, tc := range []struct {
		name   string
		grant  string
		change *policies.Change
		after  time.Duration
		want   bool
	}{
		{"the object that is named", web, deployment("shop", "web"), time.Minute, true},
		{"another name", web, deployment("shop", "web2"), time.Minute, false},
		{"another namespace", web, deployment("shop2", "web"), time.Minute, false},
		{"another person", web, by(deployment("shop", "web"), "bob"), time.Minute, false},
		{"a name that begins with the person's", web, by(deployment("shop", "web"), "alice2"), time.Minute, false},
		{"its last second", web, deployment("shop", "web"), 30*time.Minute - time.Second, true},
		{"the end of its time", web, deployment("shop", "web"), 30 * time.Minute, false},
		{"a clock that runs backwards by hours", web, deployment("shop", "web"), -time.Hour, false},
		{"a scale of the object", web, write("alice", policies.Resource{Group: "apps", Version: "v1", Resource: "deployments", Subresource: "scale"}, "shop", scale), time.Minute, true},
		{"a scale of another kind", web, write("alice", policies.Resource{Group: "apps", Version: "v1", Resource: "statefulsets", Subresource: "scale"}, "shop", scale), time.Minute, false},
		{"every name of a kind", strings.Replace(web, "name: web", "name: \"*\"", 1), deployment("shop", "other"), time.Minute, true},
		{"every kind of a namespace", strings.Replace(web, "kind: Deployment", "kind: \"*\"", 1), deployment("shop", "web"), time.Minute, true},
		{"a kind of another API group", strings.Replace(web, "kind: Deployment", "kind: Deployment.example.com", 1), deployment("shop", "web"), time.Minute, false},
		{"a cluster-scoped object", "{person: alice, reason: r, duration: 30m, scope: [{kind: ClusterRole, name: viewer}]}", write("alice", policies.Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "", role), time.Minute, true},
		{"every cluster-scoped object", "{person: alice, reason: r, duration: 30m, scope: [{kind: \"*\", name: viewer}]}", write("alice", policies.Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "", role), time.Minute, false},
		{"a grant itself", "{person: alice, reason: r, duration: 30m, scope: [{kind: BreakGlass, name: \"*\"}]}", write("alice", policies.Resource{Group: "gitgate.dev", Version: "v1alpha1", Resource: "breakglasses"}, "", self), time.Minute, false},
		{"a grant that is closed", strings.Replace(web, "{person", "{closed: true, person", 1), deployment("shop", "web"), time.Minute, false},
		{"a grant whose closed is no boolean", strings.Replace(web, "{person", "{closed: \"false\", person", 1), deployment("shop", "web"), time.Minute, false},
		{"a grant without a reason", strings.Replace(web, "INC-42", "\" \"", 1), deployment("shop", "web"), time.Minute, false},
		{"a grant for days", strings.Replace(web, "30m", "72h", 1), deployment("shop", "web"), time.Minute, false},
		{"a grant for longer than the configuration allows ends at its maximum", strings.Replace(web, "30m", "3h", 1), deployment("shop", "web"), 61 * time.Minute, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC).Add(tc.after)
			s := breakglass.NewSet(breakglass.Rules{}, func() time.Time { return now })
			s.Replace([]*policies.Object{grant(t, tc.grant)}, nil)
			if _, _, got := s.Covering(tc.change); got != tc.want {
				t.Errorf("covers: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestASecondPersonHasToApprove(t *testing.T) {
	const spec = "{person: alice, reason: INC-42, duration: 30m, scope: [{namespace: shop, kind: Deployment, name: web}]}"
	now := time.Date(2026, 11, 26, 10, 1, 0, 0, time.UTC)
	key := policies.Key{GroupKind: policies.GroupKind{Group: "apps", Kind: "Deployment"}, Namespace: "shop", Name: "web"}
	for _, tc := range []struct {
		name      string
		approvals []string
		want      bool
	}{
		{"nobody does", nil, false},
		{"another person does", []string{"{breakGlass: inc-42, uid: u1, approver: bob}"}, true},
		{"the person who asks does", []string{"{breakGlass: inc-42, uid: u1, approver: alice}"}, false},
		{"of another grant", []string{"{breakGlass: inc-43, uid: u1, approver: bob}"}, false},
		{"of an earlier grant of that name", []string{"{breakGlass: inc-42, uid: u0, approver: bob}"}, false},
		{"without a UID", []string{"{breakGlass: inc-42, approver: bob}"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := breakglass.NewSet(breakglass.Rules{Approvals: 1}, func() time.Time { return now })
			var approvals []*policies.Object
			for _, a := range tc.approvals {
				approvals = append(approvals, approval(t, a))
			}
			s.Replace([]*policies.Object{grant(t, spec)}, approvals)
			if _, _, got := s.Over(key); got != tc.want {
				t.Errorf("open: %t, want %t", got, tc.want)
			}
		})
	}
	s := breakglass.NewSet(breakglass.Rules{Approvals: 2}, func() time.Time { return now })
	s.Replace([]*policies.Object{grant(t, spec)}, []*policies.Object{
		approval(t, "{breakGlass: inc-42, uid: u1, approver: bob}"), approval(t, "{breakGlass: inc-42, uid: u1, approver: bob}"),
	})
	if _, _, open := s.Over(key); open {
		t.Error("two approvals of one person count as two people")
	}
}

func TestWhoMakesAndChangesAGrantIsJudged(t *testing.T) {
	const spec = "{person: alice, reason: INC-42, duration: 30m, scope: [{namespace: shop, kind: Deployment, name: web}]}"
	find := func(name string) (*breakglass.Grant, bool) {
		g, err := breakglass.ParseGrant(grant(t, spec))
		return g, err == nil && name == g.Name
	}
	policy := breakglass.Policy(breakglass.Rules{Maximum: time.Hour, Approvals: 1}, find)
	for _, tc := range []struct {
		name   string
		user   string
		object *policies.Object
		old    *policies.Object
		want   string // part of a message; "" for none
	}{
		{"a person for themself", "alice", grant(t, spec), nil, ""},
		{"a person for somebody else", "mallory", grant(t, spec), nil, `"mallory" makes this for "alice"`},
		{"a service account for itself", "system:serviceaccount:flux-system:kustomize-controller", grant(t, strings.Replace(spec, "alice", "system:serviceaccount:flux-system:kustomize-controller", 1)), nil, "is no person"},
		{"longer than is allowed", "alice", grant(t, strings.Replace(spec, "30m", "2h", 1)), nil, "at most 1h0m0s here, not 2h0m0s"},
		{"everything in the cluster", "alice", grant(t, strings.Replace(spec, "namespace: shop, kind: Deployment", "kind: \"*\"", 1)), nil, "covers every cluster-scoped object"},
		{"grants under a grant", "alice", grant(t, strings.Replace(spec, "namespace: shop, kind: Deployment", "kind: BreakGlass.gitgate.dev", 1)), nil, "grants are not changed under a grant"},
		{"a closing", "bob", grant(t, strings.Replace(spec, "{person", "{closed: true, person", 1)), grant(t, spec), ""},
		{"a reopening", "alice", grant(t, spec), grant(t, strings.Replace(spec, "{person", "{closed: true, person", 1)), "closed, not changed"},
		{"an extension", "alice", grant(t, strings.Replace(spec, "30m", "45m", 1)), grant(t, spec), "closed, not changed"},
		{"another scope", "alice", grant(t, strings.Replace(spec, "name: web", "name: api", 1)), grant(t, spec), "closed, not changed"},
		{"a grant that granted nothing becomes one", "alice", grant(t, spec), grant(t, strings.Replace(spec, "30m", "72h", 1)), "what grants nothing stays so"},
		{"another person approves", "bob", approval(t, "{breakGlass: inc-42, uid: u1, approver: bob}"), nil, ""},
		{"somebody approves in another's name", "mallory", approval(t, "{breakGlass: inc-42, uid: u1, approver: bob}"), nil, `"mallory" makes this for "bob"`},
		{"a person approves their own", "alice", approval(t, "{breakGlass: inc-42, uid: u1, approver: alice}"), nil, "cannot approve it"},
		{"an approval is changed", "bob", approval(t, "{breakGlass: inc-43, uid: u1, approver: bob}"), approval(t, "{breakGlass: inc-42, uid: u1, approver: bob}"), "an approval is not changed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := write(tc.user, policies.Resource{Group: breakglass.Group, Version: breakglass.Version, Resource: breakglass.GrantResource}, "", tc.object)
			if c.Old = tc.old; tc.old == nil {
				c.Operation = policies.Create
			}
			finding, err := policy.Judge(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, v := range finding.Violations {
				said = append(said, v.Message)
			}
			if all := strings.Join(said, "\n"); (tc.want == "") != (all == "") || !strings.Contains(all, tc.want) {
				t.Errorf("said %q, want %q", all, tc.want)
			}
		})
	}
}

func TestAScopeIsReadFromText(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string // "" for an error
	}{
		{"shop/Deployment/web", "shop/Deployment/web"},
		{"shop/*/*", "shop/*/*"},
		{"/ClusterRole/viewer", "/ClusterRole/viewer"},
		{"/ClusterRole/*", "/ClusterRole/*"},
		{"shop/Deployment", ""},
		{"*/Deployment/web", ""},
		{"shop/Deploy*/web", ""},
		{"shop/Deployment/web-*", ""},
		{"/*/*", ""},
		{"//", ""},
		{"/BreakGlassApproval/a", ""},
	} {
		s, err := breakglass.ParseScope(tc.text)
		if got := s.String(); (err != nil) != (tc.want == "") || (err == nil && got != tc.want) {
			t.Errorf("%s: got %s, %v", tc.text, got, err)
		}
	}
}
