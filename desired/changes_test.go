package desired_test

import (
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

// plan describes the changes from one set of files to another, one line each.
func plan(t *testing.T, base, head map[string]string) string {
	t.Helper()
	r := gitserver.NewRepo(t)
	first := r.Commit("base", base)
	second := r.Commit("head", head)
	renderer, err := desired.New(options(t, r))
	if err != nil {
		t.Fatal(err)
	}
	from, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(first)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(second)}, from)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := desired.Changes(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s by %s", c.Operation, c.Subject(), strings.TrimPrefix(actor(c.Actor), "system:serviceaccount:"))
		for _, f := range c.Fields {
			fmt.Fprintf(&b, " %s: %v -> %v", f.Path, f.Old, f.New)
		}
		if c.Kept != "" {
			fmt.Fprintf(&b, " (kept: %s)", c.Kept)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const inShop = "apiVersion: v1\nmetadata: {name: books, namespace: shop}\ndata: {mode: fast}\n"

func actor(a *policies.Actor) string {
	if a == nil {
		return "nobody"
	}
	return a.User
}

func TestAMergeSendsExactlyWhatDiffers(t *testing.T) {
	controller := "flux-system:kustomize-controller"
	for _, tc := range []struct {
		name       string
		base, head map[string]string
		want       string
	}{
		{"a field in a patch", fleet(), patch("5"), "UPDATE Deployment shop/web by " + controller + " spec.replicas: 3 -> 5\n"},
		{"a file that no unit reads", fleet(), map[string]string{"README.md": "text"}, ""},
		{"what the API server stores in the same way", fleet(), map[string]string{"apps/ledger/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: books, namespace: ledger}\ndata: {mode: fast}\nimmutable: null\n"}, ""},
		{
			"a renamed object is a new one and one that is gone", fleet(),
			map[string]string{"apps/ledger/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ledgers\n  namespace: ledger\ndata:\n  mode: \"fast\"\n"},
			"CREATE ConfigMap ledger/ledgers by " + controller + "\nDELETE ConfigMap ledger/books by " + controller + "\n",
		},
		{
			"a unit that is gone takes with it what it applied", fleet(), map[string]string{"clusters/prod/ledger.yaml": ""},
			"DELETE Kustomization flux-system/ledger by " + controller + "\nDELETE ConfigMap ledger/books by " + controller + "\n",
		},
		{
			"a unit that does not prune keeps what is no more declared",
			with(fleet(), map[string]string{"clusters/prod/ledger.yaml": strings.Replace(kustomization("ledger", "apps/ledger", ""), "prune: true", "prune: false", 1), "apps/ledger/more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n  namespace: ledger\n"}),
			map[string]string{"apps/ledger/more.yaml": ""},
			"DELETE ConfigMap ledger/more by " + controller + " (kept: Kustomization flux-system/ledger does not prune)\n",
		},
		{
			"what an annotation keeps stays", with(fleet(), map[string]string{"apps/ledger/more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n  namespace: ledger\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n"}),
			map[string]string{"apps/ledger/more.yaml": ""},
			"DELETE ConfigMap ledger/more by " + controller + " (kept: annotation kustomize.toolkit.fluxcd.io/prune: disabled of the object forbids it)\n",
		},
		{
			"what a label keeps stays", with(fleet(), map[string]string{"apps/ledger/more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n  namespace: ledger\n  labels: {kustomize.toolkit.fluxcd.io/prune: disabled}\n"}),
			map[string]string{"apps/ledger/more.yaml": ""},
			"DELETE ConfigMap ledger/more by " + controller + " (kept: label kustomize.toolkit.fluxcd.io/prune: disabled of the object forbids it)\n",
		},
		{
			"an annotation that says something else keeps nothing", with(fleet(), map[string]string{"apps/ledger/more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n  namespace: ledger\n  annotations: {kustomize.toolkit.fluxcd.io/prune: enabled}\n"}),
			map[string]string{"apps/ledger/more.yaml": ""},
			"DELETE ConfigMap ledger/more by " + controller + "\n",
		},
		{
			"Prune=false of an object keeps it", with(argocdFleet(""), map[string]string{"web/more.yaml": kept("Prune=false")}), map[string]string{"web/more.yaml": ""},
			"DELETE ConfigMap shop/more by argocd:argocd-application-controller (kept: sync option Prune=false of the object forbids it)\n",
		},
		{
			"Prune=confirm of an Application lets a person decide", with(argocdFleet("Prune=confirm"), map[string]string{"web/more.yaml": kept("Validate=false")}), map[string]string{"web/more.yaml": ""},
			"DELETE ConfigMap shop/more by argocd:argocd-application-controller (kept: sync option Prune=confirm of Application web lets a person decide)\n",
		},
		{
			"Prune=true of an object goes before the Application's option", with(argocdFleet("Prune=false"), map[string]string{"web/more.yaml": kept("Prune=true")}), map[string]string{"web/more.yaml": ""},
			"DELETE ConfigMap shop/more by argocd:argocd-application-controller\n",
		},
		{
			"a unit that is broken now sends nothing", fleet(), map[string]string{"apps/shop/kustomization.yaml": "resources: [gone.yaml]\n"}, "",
		},
		{
			"an object that moves to another unit is updated, not deleted", with(fleet(), map[string]string{"apps/ledger/config.yaml": inShop + "kind: ConfigMap\n"}),
			map[string]string{"apps/ledger/config.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: ledger}\n", "apps/shop/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n---\n" + inShop + "kind: ConfigMap\n"},
			"CREATE Namespace ledger by " + controller + "\nUPDATE ConfigMap shop/books by " + controller + " metadata.labels[kustomize.toolkit.fluxcd.io/name]: ledger -> shop\n",
		},
		{
			"an impersonated account is the actor", fleet(),
			map[string]string{"clusters/prod/ledger.yaml": kustomization("ledger", "./apps/ledger", "  serviceAccountName: ledgers\n"), "apps/ledger/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: books\n  namespace: ledger\ndata:\n  mode: \"slow\"\n"},
			"UPDATE ConfigMap ledger/books by flux-system:ledgers data.mode: fast -> slow\nUPDATE Kustomization flux-system/ledger by " + controller + " spec.dependsOn: [map[name:shop]] -> <nil> spec.path: apps/ledger -> ./apps/ledger spec.serviceAccountName: <nil> -> ledgers\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := plan(t, tc.base, tc.head); got != tc.want {
				t.Errorf("changes:\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// argocdFleet is an Application of the folder web, with a sync option.
func argocdFleet(option string) map[string]string {
	return map[string]string{
		"clusters/prod/web.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: argocd}\nspec:\n  project: default\n  source: {repoURL: \"" + address +
			"\", targetRevision: main, path: web}\n  destination: {server: https://kubernetes.default.svc, namespace: shop}\n  syncPolicy: {automated: {prune: true}, syncOptions: [\"" + option + "\"]}\n",
		"web/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
	}
}

// kept is a ConfigMap with a sync option.
func kept(option string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n  annotations: {argocd.argoproj.io/sync-options: \"" + option + "\"}\n"
}
