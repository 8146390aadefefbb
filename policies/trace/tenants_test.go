package trace_test

import (
	"slices"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// A tenant's repository declares what lies in the namespace of another one: that refuses nothing to who is at home there.
func TestWhatATenantDeclaresElsewhereRefusesNothing(t *testing.T) {
	home := policies.Unit{Kind: "Kustomization", Namespace: "team-a", Name: "apps", ServiceAccount: "team-a:deployer", Prune: true}
	tenant := policies.Unit{Kind: "Kustomization", Namespace: "team-b", Name: "apps", ServiceAccount: "team-b:deployer", Prune: true}
	platform := policies.Unit{Kind: "Kustomization", Namespace: "flux-system", Name: "platform", ServiceAccount: "flux-system:deployer", Prune: true}
	const (
		settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: team-a}\ndata: {a: b}\n"
		slice    = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, namespace: team-a}\naddressType: IPv4\nendpoints: []\n"
		tight    = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: theirs, namespace: team-a}\nspec: {minReplicas: 1, maxReplicas: 1, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n"
		wide     = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: team-a}\nspec: {minReplicas: 1, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n"
		scaled   = "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web, namespace: team-a}\nspec: {replicas: 1}\n"
		endpoint = "system:serviceaccount:kube-system:endpointslice-controller"
		deployer = "system:serviceaccount:team-a:deployer"
	)
	prune := request{user: deployer, old: settings}
	lists := request{user: endpoint, res: "endpointslices.discovery.k8s.io", old: slice, object: with(slice, "endpoints: []", "endpoints: [{addresses: [10.0.0.1]}]")}
	scales := func(to string) request {
		return request{user: hpaUser, res: "deployments.apps/scale", old: scaled, object: with(scaled, "replicas: 1", "replicas: "+to)}
	}
	for _, tc := range []struct {
		name string
		by   policies.Unit // who declares the second
		q    request
		want string
	}{
		{"a deletion of what a tenant declares too", tenant, prune, "reconciler"},
		{"a deletion of what the platform declares too", platform, prune, "[delete] ConfigMap team-a/settings is still declared"},
		{"a deletion of what the same unit declares", home, prune, "[delete] ConfigMap team-a/settings is still declared"},
		{"a deletion by the tenant of what it declares itself", tenant, request{user: "system:serviceaccount:team-b:deployer", old: settings}, "[delete] ConfigMap team-a/settings is still declared"},
		{"addresses that a tenant declares", tenant, lists, "derived"},
		{"addresses that the platform declares", platform, lists, "[derived] EndpointSlice team-a/web-1 is declared"},
		{"a scale that a tenant bounds", tenant, scales("4"), "derived"},
		{"a scale that the platform bounds", platform, scales("4"), "is scaled to 4, and HorizontalPodAutoscaler team-a/theirs"},
		{"a scale beyond what is declared here", tenant, scales("9"), "is scaled to 9, and HorizontalPodAutoscaler team-a/web"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{units: []policies.Unit{home, tenant, platform}}
			w.declares(t, tc.by, settings, slice, tight)
			w.declares(t, home, settings, wide)
			former := w.forms[slices.IndexFunc(w.forms, func(f *policies.Form) bool { return f.Unit == home && f.Object.Name == "settings" })]
			former.Current = tc.by == home
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}
