package trace_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

const (
	helmUser = "system:serviceaccount:flux-system:helm-controller"
	record   = "apiVersion: v1\nkind: Secret\nmetadata: {name: sh.helm.release.v1.web.v1, namespace: shop}\ntype: helm.sh/release.v1\n"
	release  = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec: {interval: 1h}\n"
)

func TestRecordsOfReleasesAreWrittenByWhoAppliesADeclaredHelmRelease(t *testing.T) {
	long := strings.Repeat("n", 60)
	const account = "system:serviceaccount:shop:deployer"
	// declares adds a HelmRelease with a service account and the lines of its spec.
	declares := func(w *world, manifest, takes string) {
		w.declares(t, apps, manifest)
		o := object(t, manifest)
		w.units = append(w.units, policies.Unit{Kind: "HelmRelease", Namespace: o.Namespace, Name: o.Name, ServiceAccount: takes})
	}
	for _, tc := range []struct {
		name  string
		q     request
		want  string
		setup func(*world)
	}{
		{"of a HelmRelease of that name", request{object: record}, "derived", func(w *world) { declares(w, release, "") }},
		{"under the name of the release", request{object: with(record, "v1.web.v1", "v1.shop-web.v12")}, "derived", func(w *world) { declares(w, with(release, "interval: 1h", "releaseName: shop-web"), "") }},
		{"of one that installs into another namespace", request{object: with(record, "v1.web.v1", "v1.prod-web.v1")}, "derived", func(w *world) { declares(w, with(release, "interval: 1h", "targetNamespace: prod"), "") }},
		{"in the namespace that is named for it", request{object: record}, "derived", func(w *world) {
			declares(w, with(release, "namespace: shop", "namespace: team-a", "interval: 1h", "storageNamespace: shop"), "")
		}},
		{"of one whose name is cut", request{object: with(record, "v1.web.v1", "v1."+long[:40]+"-0123456789ab.v1")}, "derived", func(w *world) { declares(w, with(release, "name: web", "name: "+long), "") }},
		{"of no declared HelmRelease", request{object: record}, "[object] Secret shop/sh.helm.release.v1.web.v1 is declared by no accepted commit; Secret shop/sh.helm.release.v1.web.v1 records the release of no declared HelmRelease that " + helmUser + " applies", nil},
		{"of a HelmRelease in another namespace", request{object: record}, "records the release of no declared HelmRelease", func(w *world) { declares(w, with(release, "namespace: shop", "namespace: team-a"), "") }},
		{"of a HelmRelease that a newer commit declares", request{object: record}, "derived", func(w *world) {
			w.fresh = func() (bool, error) { declares(w, release, ""); return true, nil }
		}},
		{"that is brought up to date while its release is taken away", request{old: record, object: record}, "derived", nil},
		{"that is deleted when its release is no longer declared", request{old: record}, "derived", nil},
		{"another Secret under a record's name", request{object: with(record, "helm.sh/release.v1", "Opaque")}, "[object] Secret shop/sh.helm.release.v1.web.v1", func(w *world) { declares(w, release, "") }},
		{"that becomes another Secret", request{old: record, object: with(record, "helm.sh/release.v1", "Opaque")}, "[object] Secret shop/sh.helm.release.v1.web.v1", func(w *world) { declares(w, release, "") }},
		{"under a name that is no record's", request{object: with(record, "v1.web.v1", "v1.web.v1x")}, "[object] Secret shop/sh.helm.release.v1.web.v1x", func(w *world) { declares(w, release, "") }},
		{"by a person", request{user: "ann", object: record}, "[object] ann may not create Secret", func(w *world) { declares(w, release, "") }},

		{"by the account that the HelmRelease takes", request{user: account, object: record}, "derived", func(w *world) { declares(w, release, "shop:deployer") }},
		{"by the controller itself in place of that account", request{object: record}, "records a release of HelmRelease shop/web, which " + account + " applies", func(w *world) { declares(w, release, "shop:deployer") }},
		{"by the account of another HelmRelease", request{user: account, old: record, object: record}, "records a release of HelmRelease shop/web, which Flux's helm-controller applies", func(w *world) {
			declares(w, release, "")
			declares(w, with(release, "name: web", "name: other"), "shop:deployer")
		}},
		{"by the account of a HelmRelease, where it has none", request{user: account, old: with(record, "namespace: shop", "namespace: pay")}, "[delete] Secret pay/sh.helm.release.v1.web.v1", func(w *world) { declares(w, release, "shop:deployer") }},
		{"by an account that takes no HelmRelease", request{user: "system:serviceaccount:team-a:reconciler", object: with(record, "namespace: shop", "namespace: team-a")}, "[object] Secret team-a/sh.helm.release.v1.web.v1 is declared by no accepted commit", nil},
		{"and no other Secret by that account", request{user: account, object: with(record, "sh.helm.release.v1.web.v1", "mine", "helm.sh/release.v1", "Opaque")}, "[object] Secret shop/mine is declared by no accepted commit", func(w *world) { declares(w, release, "shop:deployer") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			if tc.setup != nil {
				tc.setup(w)
			}
			if tc.q.user == "" {
				tc.q.user = helmUser
			}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}
