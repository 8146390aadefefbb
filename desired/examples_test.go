package desired_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
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
