package breakglass_test

import (
	"testing"
	"time"

	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/policies"
)

func TestAGrantThatNobodyJudgedIsWorthNothing(t *testing.T) {
	const robot = "system:serviceaccount:flux-system:kustomize-controller"
	scope := ", reason: r, duration: 30m, scope: [{namespace: shop, kind: Deployment, name: web}]}"
	now := func() time.Time { return time.Date(2026, 11, 26, 10, 1, 0, 0, time.UTC) }
	web := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n")
	for _, tc := range []struct {
		name, person string
		approvers    []string
		approvals    int
		want         bool
	}{
		{"a person's", "alice", nil, 0, true},
		{"a service account's own", robot, nil, 0, false},
		{"a person's that another one approves", "alice", []string{"bob"}, 1, true},
		{"a person's that a service account approves", "alice", []string{robot}, 1, false},
		{"a person's of nobody's approval", "alice", nil, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := breakglass.NewSet(breakglass.Rules{Approvals: tc.approvals}, now)
			var approvals []*policies.Object
			for _, a := range tc.approvers {
				approvals = append(approvals, approval(t, "{breakGlass: inc-42, uid: u1, approver: \""+a+"\"}"))
			}
			set.Replace([]*policies.Object{grant(t, "{person: \""+tc.person+"\""+scope)}, approvals)
			c := write(tc.person, policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}, "shop", web)
			if _, _, got := set.Covering(c); got != tc.want {
				t.Errorf("covers: %v", got)
			}
			if g, err := breakglass.ParseGrant(grant(t, "{person: \""+tc.person+"\""+scope)); err != nil {
				t.Error(err)
			} else if state, why := g.State(breakglass.Rules{Approvals: tc.approvals}, spoken(t, approvals), now()); (state == breakglass.Open) != tc.want {
				t.Errorf("is listed as %s: %s", state, why)
			}
			if _, _, got := set.Over(policies.KeyOf(web, "shop")); got != tc.want {
				t.Errorf("is over the object: %v", got)
			}
		})
	}
}

func spoken(t *testing.T, objects []*policies.Object) (out []breakglass.Approval) {
	t.Helper()
	for _, o := range objects {
		a, err := breakglass.ParseApproval(o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *a)
	}
	return out
}
