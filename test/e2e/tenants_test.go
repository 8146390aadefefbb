package e2e

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/gitserver"
	"gitgate.dev/gitgate/test/world"
)

// tenants are declared by the platform in its repository. The Kubernetes permissions of both accounts are everything, so that what is
// refused is refused by the gate. Team A's files are in the platform's repository, and its Kustomization names the account; team B has
// a repository of its own, and its Kustomization leaves the account to Flux's --default-service-account.
const tenants = `apiVersion: v1
kind: Namespace
metadata: {name: team-a}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: deployer, namespace: team-a}
---
apiVersion: v1
kind: Namespace
metadata: {name: team-b}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reconciler, namespace: team-b}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: tenants}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
  - {kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:team-a"}
  - {kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:team-b"}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: team-a}
spec: {interval: 1m, url: "FLEET", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: team-a}
spec:
  interval: 1h
  retryInterval: 2s
  path: ./teams/a
  prune: true
  serviceAccountName: deployer
  sourceRef: {kind: GitRepository, name: fleet}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: own, namespace: team-b}
spec: {interval: 1m, url: "OWN", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: team-b}
spec:
  interval: 1h
  retryInterval: 2s
  path: ./deploy
  prune: true
  sourceRef: {kind: GitRepository, name: own}
`

// TestTenants plays the scenes of a fleet whose tenants are applied by service accounts of their own.
func TestTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real control plane")
	}
	other := gitserver.NewRepo(t)
	signer := gitserver.NewSigner(t, "team-b@example.com")
	signer.Use(other)
	own := gitserver.Serve(t, other)
	other.Commit("team b", map[string]string{"deploy/web.yaml": deployment("team-b", "web", 1, image)}, "-S")
	w := start(t, world.Options{
		Flux: true, Tenants: true, Prepare: gateOfOneClient, ControlPlane: controlplane.Options{WebhookUser: apiServerClient},
		Sources: fmt.Sprintf(", {name: team-b, url: %q, branch: main, referenced: true, trust: {ssh: {allowedSigners: .gitgate/team_b_signers}}}", own.URL),
		Files:   map[string]string{".gitgate/team_b_signers": signer.Allowed},
	})
	first := w.Push("two tenants", map[string]string{
		"clusters/prod/tenants.yaml": strings.NewReplacer("FLEET", w.Git.URL, "OWN", own.URL).Replace(tenants),
		"teams/a/web.yaml":           deployment("team-a", "web", 1, image),
	})
	w.Applied("fleet", first)
	w.FetchLater() // the new GitRepositories
	w.Applied("team-a/apps", first)
	w.Applied("team-b/apps", other.Git("rev-parse", "HEAD"))
	for _, scene := range []struct {
		name string
		play func(*testing.T, *tenancy)
	}{
		{"only the API server may connect to the gate", func(t *testing.T, s *tenancy) { onlyTheAPIServer(t, s.World) }},
		{"a tenant's commit is applied by its account", tenantCommits},
		{"a tenant's token in a person's hands writes only what Git declares for it", tenantToken},
		{"a service account that Git does not declare as a unit's writes nothing", rogueAccount},
		{"a Kustomization whose account is changed in the cluster applies nothing", editedAccount},
		{"an undeclared Kustomization of a tenant brings nothing in", rogueTenantUnit},
		{"a tenant goes, with what its account applied", tenantGoes},
	} {
		if !t.Run(scene.name, func(t *testing.T) { scene.play(t, &tenancy{World: w.For(t), t: t, other: other.For(t)}) }) && t.Context().Err() != nil {
			break
		}
	}
}

// tenancy is the fleet with its tenants.
type tenancy struct {
	*world.World
	t     *testing.T
	other *gitserver.Repo // of team B
}

// commit commits to team B's repository, and has it fetched.
func (s *tenancy) commit(message string, files map[string]string) string {
	s.t.Helper()
	commit := s.other.Commit(message, files, "-S")
	s.FetchLater()
	return commit
}

// as writes objects of a kind with the token of a service account, "namespace:name".
func (s *tenancy) as(account, of, namespace string) writer {
	home, _, _ := strings.Cut(account, ":")
	return writer{s.As("system:serviceaccount:"+account, controlplane.ServiceAccountGroups(home), of, namespace), s.t}
}

func tenantCommits(t *testing.T, s *tenancy) {
	now := s.Push("team a grows", map[string]string{"teams/a/web.yaml": deployment("team-a", "web", 2, image), "teams/a/settings.yaml": configMap("team-a", "settings", "n", "one")})
	s.Applied("team-a/apps", now)
	own := s.commit("team b grows", map[string]string{"deploy/web.yaml": deployment("team-b", "web", 3, image), "deploy/settings.yaml": configMap("team-b", "settings", "n", "one")})
	s.Applied("team-b/apps", own)
	for namespace, replicas := range map[string]int64{"team-a": 2, "team-b": 3} {
		if got := dig(s.Get("apps/v1 Deployment", namespace, "web"), "spec", "replicas"); got != replicas {
			t.Errorf("%s has %v replicas, want %d", namespace, got, replicas)
		}
		if s.Get("v1 ConfigMap", namespace, "settings") == nil {
			t.Errorf("%s has no settings", namespace)
		}
	}
	// What leaves Git goes, by the account too.
	s.Applied("team-b/apps", s.commit("no settings", map[string]string{"deploy/settings.yaml": ""}))
	if s.Get("v1 ConfigMap", "team-b", "settings") != nil {
		t.Error("what team B's repository no longer declares stays")
	}
}

// tenantToken is an attacker with the token of team A's account, whose permissions are everything.
func tenantToken(t *testing.T, s *tenancy) {
	const thief, container = "team-a:deployer", `{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`
	web := s.as(thief, "apps/v1 Deployment", "team-a")
	for _, tc := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"adds a sidecar", func() error { return web.patch("web", fmt.Sprintf(container, "miner", "registry.example.com/miner:1")) },
			[]string{"Deployment team-a/web", "miner", "not declared", "teams/a/web.yaml"}},
		{"changes the image", func() error { return web.patch("web", fmt.Sprintf(container, "web", "registry.example.com/evil:1")) },
			[]string{"spec.template.spec.containers[0].image", "evil:1", "teams/a/web.yaml:16"}},
		{"adds an object", func() error {
			return s.as(thief, "v1 ConfigMap", "team-a").create(configMap("team-a", "mine", "n", "x"))
		},
			[]string{"ConfigMap team-a/mine is declared by no accepted commit"}},
		{"deletes what is declared", func() error { return web.delete("web") }, []string{"still declared at teams/a/web.yaml:4"}},
		{"writes another tenant's object", func() error {
			return s.as(thief, "apps/v1 Deployment", "team-b").patch("web", fmt.Sprintf(container, "web", "registry.example.com/evil:1"))
		},
			[]string{"Deployment team-b/web is declared by Kustomization team-b/apps", "system:serviceaccount:team-a:deployer does not apply", "system:serviceaccount:team-b:reconciler does"}},
		{"writes another tenant's object as Git declares it", func() error {
			return s.as(thief, "apps/v1 Deployment", "team-b").patch("web", fmt.Sprintf(container, "web", image))
		},
			[]string{"Deployment team-b/web is declared by Kustomization team-b/apps", "system:serviceaccount:team-b:reconciler does"}},
		{"deletes another tenant's object", func() error { return s.as(thief, "apps/v1 Deployment", "team-b").delete("web") },
			[]string{"Deployment team-b/web is still declared"}},
		{"gives its own unit another account", func() error {
			return s.as(thief, "kustomize.toolkit.fluxcd.io/v1 Kustomization", "team-a").merge("apps", `{"spec":{"serviceAccountName":"admin"}}`)
		},
			[]string{"Kustomization team-a/apps is declared by Kustomization flux-system/fleet", "system:serviceaccount:flux-system:kustomize-controller does"}},
		{"declares a unit of its own", func() error {
			return s.as(thief, "kustomize.toolkit.fluxcd.io/v1 Kustomization", "team-a").create("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: mine, namespace: team-a}\nspec: {interval: 1h, path: ./, prune: true, sourceRef: {kind: GitRepository, name: fleet}}\n")
		}, []string{"Kustomization team-a/mine is declared by no accepted commit"}},
		{"becomes an administrator", func() error {
			return s.as(thief, "rbac.authorization.k8s.io/v1 ClusterRoleBinding", "").merge("tenants", `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"mallory"}]}`)
		}, []string{"ClusterRoleBinding tenants is declared by Kustomization flux-system/fleet"}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantDenied(t, tc.do(), tc.want...) })
	}
	if err := web.patch("web", fmt.Sprintf(container, "web", image)); err != nil {
		t.Errorf("what Git declares for the account is refused: %v", err)
	}
	// The controller itself writes nothing in place of the account.
	err := s.as("flux-system:kustomize-controller", "apps/v1 Deployment", "team-a").patch("web", fmt.Sprintf(container, "web", image))
	wantDenied(t, err, "Deployment team-a/web is declared by Kustomization team-a/apps", "system:serviceaccount:team-a:deployer does")
}

func rogueAccount(t *testing.T, s *tenancy) {
	const marks = `"labels":{"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"team-a"}`
	rogue := s.as("team-a:rogue", "apps/v1 Deployment", "team-a")
	wantDenied(t, rogue.merge("web", `{"metadata":{`+marks+`},"spec":{"replicas":9}}`),
		"system:serviceaccount:team-a:rogue may not change Deployment team-a/web", "system:serviceaccount:team-a:deployer applies it",
		"no Kustomization, HelmRelease or AppProject that Git declares takes the service account team-a:rogue")
	wantDenied(t, s.as("team-a:rogue", "v1 ConfigMap", "team-a").create(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"mine","namespace":"team-a",`+marks+`}}`),
		"system:serviceaccount:team-a:rogue may not create ConfigMap team-a/mine", "no accepted commit declares it",
		"takes the service account team-a:rogue")
}

// editedAccount is a Kustomization that somebody changed whom the API server did not ask the gate about: Flux writes as the account that
// stands there, until its own reconciliation puts the declared one back.
func editedAccount(t *testing.T, s *tenancy) {
	now := s.Repo.Git("rev-parse", "HEAD")
	s.UnguardedFor("ann", func() {
		for _, args := range [][]string{
			{"patch", "kustomization/apps", "--type=merge", "-p", `{"spec":{"serviceAccountName":"rogue"}}`},
			{"scale", "deployment/web", "--replicas=7"},
		} {
			if said, err := s.Kubectl("ann", append([]string{"-n", "team-a"}, args...)...); err != nil {
				t.Fatal(said)
			}
		}
	})
	s.Reconcile("team-a/apps")
	// Flux tells of either of the two objects that are refused.
	wantAll(t, s.Refused("team-a/apps", now), " team-a/", "system:serviceaccount:team-a:deployer applies it", "takes the service account team-a:rogue")
	if got := dig(s.Get("apps/v1 Deployment", "team-a", "web"), "spec", "replicas"); got != int64(7) {
		t.Errorf("an account that Git does not declare has written: %v replicas", got)
	}
	s.Reconcile("fleet")
	s.Applied("team-a/apps", now)
	if got := dig(s.Get("apps/v1 Deployment", "team-a", "web"), "spec", "replicas"); got != int64(2) {
		t.Errorf("%v replicas, want 2", got)
	}
}

// rogueTenantUnit is a Kustomization that got in before the gate, and applies a foreign repository as a tenant's account.
func rogueTenantUnit(t *testing.T, s *tenancy) {
	foreign := gitserver.NewRepo(t)
	commit := foreign.Commit("mine", map[string]string{"all.yaml": configMap("team-a", "miner", "n", "mine")})
	text := strings.ReplaceAll(strings.Replace(rogue, "URL", gitserver.Serve(t, foreign).URL, 1), "namespace: flux-system", "namespace: team-a")
	file := s.File("rogue.yaml", strings.Replace(text, "prune: true", "prune: true, serviceAccountName: deployer", 1))
	s.Unguarded(func() {
		if said, err := s.Kubectl("ann", "create", "-f", file); err != nil {
			t.Fatal(said)
		}
	})
	s.FetchLater()
	wantAll(t, s.Refused("team-a/intruder", commit), "ConfigMap team-a/miner is declared by no accepted commit", "it names Kustomization team-a/intruder as its unit, which Git does not declare")
	if s.Get("v1 ConfigMap", "team-a", "miner") != nil {
		t.Error("what the other repository has is applied")
	}
	s.Unguarded(func() {
		if said, err := s.Kubectl("ann", "delete", "-f", file); err != nil {
			t.Fatal(said)
		}
	})
}

// tenantGoes takes team B's unit out of Git: Flux deletes what it applied as its account.
func tenantGoes(t *testing.T, s *tenancy) {
	text := s.Repo.Git("show", "HEAD:clusters/prod/tenants.yaml")
	at := strings.LastIndex(text, "---\n")
	now := s.Push("team b goes", map[string]string{"clusters/prod/tenants.yaml": text[:at]})
	s.Applied("fleet", now)
	s.Eventually("team B's unit stays", func() error {
		if s.Get("kustomize.toolkit.fluxcd.io/v1 Kustomization", "team-b", "apps") != nil || s.Get("apps/v1 Deployment", "team-b", "web") != nil {
			return fmt.Errorf("kustomization %v, deployment %v", s.Get("kustomize.toolkit.fluxcd.io/v1 Kustomization", "team-b", "apps") != nil, s.Get("apps/v1 Deployment", "team-b", "web") != nil)
		}
		return nil
	})
	// Its account has nothing more to write.
	err := s.as("team-b:reconciler", "v1 ConfigMap", "team-b").create(configMap("team-b", "late", "n", "x"))
	wantDenied(t, err, "ConfigMap team-b/late is declared by no accepted commit")
}

// writer writes objects of a kind as Flux's controllers do.
type writer struct {
	dynamic.ResourceInterface
	t *testing.T
}

var asFluxDoes = metav1.PatchOptions{FieldManager: "kustomize-controller"}

func (w writer) patch(name, text string) error {
	_, err := w.Patch(w.t.Context(), name, types.StrategicMergePatchType, []byte(text), asFluxDoes)
	return err
}

func (w writer) merge(name, text string) error {
	_, err := w.Patch(w.t.Context(), name, types.MergePatchType, []byte(text), asFluxDoes)
	return err
}

func (w writer) create(text string) error {
	_, err := w.Create(w.t.Context(), &unstructured.Unstructured{Object: object(w.t, text)}, metav1.CreateOptions{FieldManager: "kustomize-controller"})
	return err
}

func (w writer) delete(name string) error {
	return w.Delete(w.t.Context(), name, metav1.DeleteOptions{})
}
