package desired_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

// example renders a folder of examples/ as the repository at an address whose source's path is given.
func example(t *testing.T, name, url, path string) *desired.State {
	t.Helper()
	files, root := map[string]string{}, filepath.Join("..", "examples", name)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		rel, _ := filepath.Rel(root, file)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := gitserver.NewRepo(t)
	head := r.Commit("files", files)
	o := options(t, r)
	o.Sources[0].URL, o.Sources[0].Path = url, path
	renderer, err := desired.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(head)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheExamplesAreRenderedInFull(t *testing.T) {
	for _, c := range []struct {
		name, url, path string
		want            string // what each unit declares
	}{
		{"argocd-fleet", "https://git.example.com/platform/argocd-fleet.git", "bootstrap", `
Application argocd/payments: ConfigMap/payments/payments@charts/service/templates/config.yaml:2 Deployment/payments/payments@charts/service/templates/deployment.yaml:1 Namespace//payments@applications/payments.yaml:2 Service/payments/payments@charts/service/templates/service.yaml:1
Application argocd/root: Application/argocd/payments@applications/payments.yaml:2 Application/argocd/storefront@applications/storefront.yaml:1 ApplicationSet/argocd/teams@applications/teams.yaml:2
Application argocd/storefront: ConfigMap/storefront/storefront-hf678c7m2b@apps/storefront/base/kustomization.yaml:0 Deployment/storefront/storefront@apps/storefront/base/deployment.yaml:1 Namespace//storefront@applications/storefront.yaml:1 PodDisruptionBudget/storefront/storefront@apps/storefront/overlays/prod/pdb.yaml:1 Service/storefront/storefront@apps/storefront/base/service.yaml:1
Application argocd/team-ledger: Namespace//ledger@teams/ledger/namespace.yaml:1 NetworkPolicy/ledger/deny-all@teams/ledger/network.yaml:1 ResourceQuota/ledger/quota@teams/ledger/quota.yaml:1
Application argocd/team-orders: Namespace//orders@teams/orders/namespace.yaml:1 NetworkPolicy/orders/deny-all@teams/orders/network.yaml:1 ResourceQuota/orders/quota@teams/orders/quota.yaml:1
ApplicationSet argocd/teams: Application/argocd/team-ledger@applications/teams.yaml:2 Application/argocd/team-orders@applications/teams.yaml:2
path bootstrap: Application/argocd/root@bootstrap/root.yaml:2
`},
		{"flux-fleet", "https://git.example.com/platform/flux-fleet.git", "clusters/prod", `
HelmRelease payments/payments: ConfigMap/payments/payments@charts/service/templates/config.yaml:2 Deployment/payments/payments@charts/service/templates/deployment.yaml:1 Service/payments/payments@charts/service/templates/service.yaml:1
Kustomization flux-system/apps: ConfigMap/payments/payments-values@apps/base/payments/values.yaml:1 ConfigMap/shop/storefront-ghh26b95cc@apps/base/storefront/kustomization.yaml:0 Deployment/shop/storefront@apps/base/storefront/deployment.yaml:1 HelmRelease/payments/payments@apps/base/payments/release.yaml:1
Kustomization flux-system/fleet: GitRepository/flux-system/fleet@clusters/prod/flux-system/sync.yaml:1 Kustomization/flux-system/apps@clusters/prod/apps.yaml:1 Kustomization/flux-system/fleet@clusters/prod/flux-system/sync.yaml:11 Kustomization/flux-system/infrastructure@clusters/prod/infrastructure.yaml:1
Kustomization flux-system/infrastructure: Namespace//payments@infrastructure/namespaces.yaml:7 Namespace//shop@infrastructure/namespaces.yaml:1 NetworkPolicy/shop/deny-all@infrastructure/network.yaml:1
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := example(t, c.name, c.url, c.path)
			if got := problems(s); got != "" {
				t.Errorf("problems:\n%s", got)
			}
			lines := strings.Split(strings.TrimSpace(describe(s)), "\n")
			slices.Sort(lines)
			if got := "\n" + strings.Join(lines, "\n") + "\n"; got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFieldsOfTheExamplesAreWrittenWhereAPersonEditsThem(t *testing.T) {
	argocd := example(t, "argocd-fleet", "https://git.example.com/platform/argocd-fleet.git", "bootstrap")
	flux := example(t, "flux-fleet", "https://git.example.com/platform/flux-fleet.git", "clusters/prod")
	for _, tc := range []struct {
		name         string
		state        *desired.State
		kind, object string // group/kind, namespace/name
		field        string
		want         string
	}{
		{"a value in a file of values", argocd, "apps/Deployment", "payments/payments", "spec.replicas", "environments/prod/payments.values.yaml:1"},
		{"a value that a parameter sets", argocd, "apps/Deployment", "payments/payments", "spec.template.spec.containers[0].image", "applications/payments.yaml:17"},
		{"a value of the chart", argocd, "apps/Deployment", "payments/payments", "spec.template.spec.containers[0].ports[0].containerPort", "charts/service/values.yaml:5"},
		{"a value in a map that is written whole", argocd, "apps/Deployment", "payments/payments", "spec.template.spec.containers[0].resources.limits.memory", "charts/service/values.yaml:9"},
		{"what the template says itself", argocd, "apps/Deployment", "payments/payments", "spec.template.spec.automountServiceAccountToken", "charts/service/templates/deployment.yaml:19"},
		{"the mark of Argo CD", argocd, "apps/Deployment", "payments/payments", "metadata.annotations[argocd.argoproj.io/tracking-id]", "applications/payments.yaml:5"},
		{"the namespace of the destination", argocd, "apps/Deployment", "payments/payments", "metadata.namespace", "applications/payments.yaml:23"},
		{"an image of an Application", argocd, "apps/Deployment", "storefront/storefront", "spec.template.spec.containers[0].image", "applications/storefront.yaml:14"},
		{"a patch of an overlay", argocd, "apps/Deployment", "storefront/storefront", "spec.template.spec.containers[0].resources.limits.memory", "apps/storefront/overlays/prod/kustomization.yaml:13"},
		{"the template of a set", argocd, "argoproj.io/Application", "argocd/team-ledger", "spec.source.path", "applications/teams.yaml:23"},
		{"a value of a ConfigMap", flux, "apps/Deployment", "payments/payments", "spec.replicas", "apps/prod/payments/kustomization.yaml:6"},
		{"a value of a HelmRelease", flux, "apps/Deployment", "payments/payments", "spec.template.spec.containers[0].image", "apps/base/payments/release.yaml:15"},
		{"a patch of a post-renderer", flux, "apps/Deployment", "payments/payments", "spec.revisionHistoryLimit", "apps/base/payments/release.yaml:22"},
		{"a label of helm-controller", flux, "apps/Deployment", "payments/payments", "metadata.labels[helm.toolkit.fluxcd.io/name]", "apps/base/payments/release.yaml:4"},
		{"a label of kustomize-controller", flux, "apps/Deployment", "shop/storefront", "metadata.labels[kustomize.toolkit.fluxcd.io/name]", "clusters/prod/apps.yaml:4"},
		{"an object as a whole", flux, "apps/Deployment", "shop/storefront", "", "apps/base/storefront/deployment.yaml:1"},
		{"an object as a whole that is generated", flux, "/ConfigMap", "shop/storefront-ghh26b95cc", "", "apps/base/storefront/kustomization.yaml:0"},
		{"an object as a whole that a template makes", flux, "apps/Deployment", "payments/payments", "", "charts/service/templates/deployment.yaml:1"},
		{"common metadata of a Kustomization", flux, "apps/Deployment", "shop/storefront", "metadata.labels.environment", "clusters/prod/apps.yaml:13"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			group, kind, _ := strings.Cut(tc.kind, "/")
			namespace, name, _ := strings.Cut(tc.object, "/")
			found := tc.state.Find(policies.Key{GroupKind: policies.GroupKind{Group: group, Kind: kind}, Namespace: namespace, Name: name})
			if len(found) != 1 {
				t.Fatalf("found %d", len(found))
			}
			pos := found[0].Object.Locate(policies.ParsePath(tc.field), policies.AtValue)
			if got := fmt.Sprintf("%s:%d", pos.File, pos.Line); got != tc.want {
				t.Errorf("%s is at %s, want %s", tc.field, got, tc.want)
			}
		})
	}
}
