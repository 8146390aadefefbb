package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

// TestFlux plays all scenes that share one cluster. Their order matters only for the last ones, which stop parts of the world.
func TestFlux(t *testing.T) {
	w := start(t, world.Options{
		Flux:    true,
		Config:  "breakGlass: {maximum: 30m}\n",
		Prepare: agingAuthority(t, time.Minute),
		ControlPlane: controlplane.Options{
			Editor:      "sed -i s/web:1.0.0/web:evil/",
			AuditPolicy: auditPolicy, Controllers: []string{"--horizontal-pod-autoscaler-sync-period=2s"},
		},
	})
	w.StartKubelet("node-1")
	probes := probing(w)
	t.Cleanup(probes.stop)
	for _, scene := range []struct {
		name string
		play func(*testing.T, *world.World)
	}{
		{"what a person changes by hand is denied", byHand},
		{"values of Secrets are not told", secretsAreNotTold},
		{"a drift is corrected by the reconciler", drift},
		{"what Git no longer declares is pruned", prune},
		{"a commit is reverted", revert},
		{"controllers make of what is declared what they always make", controllers},
		{"claims of devices are made of declared templates", deviceClaims},
		{"a namespace goes with everything in it", namespaceGoes},
		{"a custom resource comes with its definition", customResources},
		{"a stolen token of the reconciler writes only what Git declares", stolenToken},
		{"a push is admitted that the gate has not fetched yet", notYetFetched},
		{"a branch that was rewritten is held", forcePush},
		{"a commit that nobody trusted has signed is held", unsigned},
		{"a rogue GitRepository brings nothing in", rogueSource},
		{"what a cluster needs to come up never reaches the webhook", neverAsked},
		{"the API server's audit log has the gate's answers", auditLog},
		{"what would be denied is told or recorded", modes},
		{"a person breaks the glass", breakGlass},
		{"the gate's authority is renewed while it serves", renewed(probes)},
		{"an older state does not come back with a restart of the gate", replayAfterRestart},
		{"five hundred requests at once are all answered", storm},
		{"Git cannot be asked", gitIsDown},
		{"the gate is killed and started again under load", gateDies},
		{"a cluster comes up cold, with the gate last", coldStart},
	} {
		if !t.Run(scene.name, func(t *testing.T) { scene.play(t, w) }) && t.Context().Err() != nil {
			break
		}
	}
}

// drift is a change that got in while there was no gate.
func drift(t *testing.T, w *world.World) {
	s := newScene(t, w, "drift")
	s.applied("web", map[string]string{"web.yaml": deployment("drift", "web", 2, image), "config.yaml": configMap("drift", "settings", "colour", "blue")})
	s.Unguarded(func() {
		for _, args := range [][]string{
			{"scale", "deployment/web", "--replicas=5"},
			{"set", "image", "deployment/web", "web=registry.example.com/shop/web:evil"},
			{"patch", "configmap/settings", "--type=merge", "-p", `{"data":{"colour":"red","more":"x"}}`},
		} {
			if said, err := s.Kubectl("ann", append([]string{"-n", "drift"}, args...)...); err != nil {
				t.Fatal(said)
			}
		}
	})
	s.Reconcile("drift")
	s.has("apps/v1 Deployment", "web", int64(2), "spec", "replicas")
	s.has("v1 ConfigMap", "settings", "blue", "data", "colour")
	containers, _ := dig(s.Get("apps/v1 Deployment", "drift", "web"), "spec", "template", "spec", "containers").([]any)
	if got := containers[0].(map[string]any)["image"]; got != image {
		t.Errorf("image: %v", got)
	}
}

func prune(t *testing.T, w *world.World) {
	s := newScene(t, w, "prune")
	s.applied("two", map[string]string{"a.yaml": configMap("prune", "a", "k", "v"), "b.yaml": configMap("prune", "b", "k", "v"), "web.yaml": deployment("prune", "web", 2, image)})
	s.Eventually("no Pod is made", func() error {
		if len(s.List("v1 Pod", "prune")) != 2 {
			return fmt.Errorf("%d Pods", len(s.List("v1 Pod", "prune")))
		}
		return nil
	})
	s.applied("one", map[string]string{"b.yaml": "", "web.yaml": ""})
	s.gone("v1 ConfigMap", "prune", "b")
	s.gone("apps/v1 Deployment", "prune", "web")
	// What controllers made of the Deployment is collected.
	s.Eventually("ReplicaSets and Pods stay", func() error {
		if n := len(s.List("apps/v1 ReplicaSet", "prune")) + len(s.List("v1 Pod", "prune")); n > 0 {
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
	if s.Get("v1 ConfigMap", "prune", "a") == nil {
		t.Error("what Git still declares is pruned")
	}
}

func revert(t *testing.T, w *world.World) {
	s := newScene(t, w, "revert")
	s.applied("one", map[string]string{"config.yaml": configMap("revert", "settings", "n", "one"), "web.yaml": deployment("revert", "web", 1, image)})
	s.applied("two", map[string]string{"config.yaml": configMap("revert", "settings", "n", "two"), "web.yaml": deployment("revert", "web", 1, "registry.example.com/shop/web:2.0.0")})
	s.has("v1 ConfigMap", "settings", "two", "data", "n")
	s.Repo.Git("revert", "--no-edit", "-S", "HEAD")
	s.FetchLater()
	s.Applied("revert", s.Repo.Git("rev-parse", "HEAD"))
	s.has("v1 ConfigMap", "settings", "one", "data", "n")
}

// stolenToken is an attacker with the token of kustomize-controller, which is cluster-admin.
func stolenToken(t *testing.T, w *world.World) {
	s := newScene(t, w, "stolen")
	before := s.applied("web 1", map[string]string{"web.yaml": deployment("stolen", "web", 1, image), "config.yaml": configMap("stolen", "settings", "n", "one")})
	now := s.applied("web 2", map[string]string{"web.yaml": deployment("stolen", "web", 1, "registry.example.com/shop/web:2.0.0")})
	groups := controlplane.ServiceAccountGroups(world.FluxNamespace)
	deployments := s.As(world.FluxUser, groups, "apps/v1 Deployment", "stolen")
	patch := func(kind types.PatchType, text string) error {
		_, err := deployments.Patch(t.Context(), "web", kind, []byte(text), metav1.PatchOptions{FieldManager: "kustomize-controller"})
		return err
	}
	create := func(of string, o map[string]any) error {
		_, err := s.As(world.FluxUser, groups, of, "stolen").Create(t.Context(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{FieldManager: "kustomize-controller"})
		return err
	}
	const container = `{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`
	for _, tc := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"adds a sidecar", func() error {
			return patch(types.StrategicMergePatchType, fmt.Sprintf(container, "miner", "registry.example.com/miner:1"))
		}, []string{"Deployment stolen/web", "miner", "not declared", "apps/stolen/web.yaml", short(now)}},
		{"changes the image", func() error {
			return patch(types.StrategicMergePatchType, fmt.Sprintf(container, "web", "registry.example.com/shop/web:evil"))
		}, []string{"spec.template.spec.containers[0].image", "web:evil", "web:2.0.0", "apps/stolen/web.yaml:16"}},
		{"replays the image of before", func() error {
			return patch(types.StrategicMergePatchType, fmt.Sprintf(container, "web", image))
		}, []string{"Deployment stolen/web", "commits up to " + short(before), short(now) + " was applied", "git revert"}},
		{"sets hostPID", func() error { return patch(types.MergePatchType, `{"spec":{"template":{"spec":{"hostPID":true}}}}`) },
			[]string{"spec.template.spec.hostPID", "true", "not declared"}},
		{"takes another service account", func() error {
			return patch(types.MergePatchType, `{"spec":{"template":{"spec":{"serviceAccountName":"admin"}}}}`)
		}, []string{"serviceAccountName", `"admin"`}},
		{"adds an object", func() error {
			return create("v1 ConfigMap", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "mine", "namespace": "stolen"}})
		}, []string{"ConfigMap stolen/mine", "is declared by no accepted commit"}},
		{"adds a Pod", func() error {
			return create("v1 Pod", map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "mine", "namespace": "stolen"},
				"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "registry.example.com/miner:1"}}}})
		}, []string{"Pod stolen/mine", "is declared by no accepted commit"}},
		{"binds itself a role", func() error {
			return create("rbac.authorization.k8s.io/v1 RoleBinding", map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"name": "mine", "namespace": "stolen"},
				"roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": []any{map[string]any{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "mallory"}}})
		}, []string{"RoleBinding stolen/mine", "is declared by no accepted commit"}},
		{"deletes what is declared", func() error { return deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}) }, []string{"still declared at apps/stolen/web.yaml:4"}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantDenied(t, tc.do(), tc.want...) })
	}
	// What is declared it may write: that is what it is for.
	if err := patch(types.StrategicMergePatchType, fmt.Sprintf(container, "web", "registry.example.com/shop/web:2.0.0")); err != nil {
		t.Errorf("what is declared is refused: %v", err)
	}
}

// replayAfterRestart is an attacker with the token of kustomize-controller who sets the status of a unit back, and waits for the gate to be
// started again.
func replayAfterRestart(t *testing.T, w *world.World) {
	s := newScene(t, w, "replayed")
	before := s.applied("web 1", map[string]string{"web.yaml": deployment("replayed", "web", 1, image), "old.yaml": configMap("replayed", "old", "k", "one")})
	now := s.applied("web 2", map[string]string{"web.yaml": deployment("replayed", "web", 1, "registry.example.com/shop/web:2.0.0"), "old.yaml": ""})
	s.gone("v1 ConfigMap", "replayed", "old")
	as := func(of, namespace string) writer {
		return writer{s.As(world.FluxUser, controlplane.ServiceAccountGroups(world.FluxNamespace), of, namespace), t}
	}
	revision := "main@sha1:" + before
	status := fmt.Sprintf(`{"status":{"lastAppliedRevision":%q,"lastAttemptedRevision":%q}}`, revision, revision)
	if _, err := as("kustomize.toolkit.fluxcd.io/v1 Kustomization", world.FluxNamespace).Patch(t.Context(), "replayed", types.MergePatchType, []byte(status), asFluxDoes, "status"); err != nil {
		t.Fatal(err)
	}
	image1 := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":%q}]}}}}`, image)
	restart := func(forget bool) {
		s.StopGate()
		if forget {
			s.ForgetGate()
		}
		s.StartGate()
		s.Guarded()
	}
	restart(false)
	old := strings.Replace(configMap("replayed", "old", "k", "one"), "name: old\n", "name: old\n  labels: {kustomize.toolkit.fluxcd.io/name: replayed, kustomize.toolkit.fluxcd.io/namespace: flux-system}\n", 1)
	wantDenied(t, as("v1 ConfigMap", "replayed").create(old), "ConfigMap replayed/old", "commits up to "+short(before), short(now)+" was applied")
	wantDenied(t, as("apps/v1 Deployment", "replayed").patch("web", image1), "Deployment replayed/web", "commits up to "+short(before), short(now)+" was applied")
	// As a new Pod, without a state folder, it knows from its Secret.
	restart(true)
	wantDenied(t, as("v1 ConfigMap", "replayed").create(old), "ConfigMap replayed/old", "commits up to "+short(before), short(now)+" was applied")
	// Without that too, what is there shows it.
	s.StopGate()
	s.ForgetGate()
	secrets := s.As("system:admin", []string{"system:masters"}, "v1 Secret", world.GateNamespace)
	if _, err := secrets.Patch(t.Context(), "gitgate-state", types.MergePatchType, []byte(`{"data":null}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.StartGate()
	s.Guarded()
	wantDenied(t, as("apps/v1 Deployment", "replayed").patch("web", image1), "Deployment replayed/web", "commits up to "+short(before), short(now)+" was applied")
}

// wantDenied wants an error of the gate's that is a denial by policy, with these parts.
func wantDenied(t *testing.T, err error, parts ...string) {
	t.Helper()
	status, ok := err.(interface{ Status() metav1.Status })
	if !ok || status.Status().Code != http.StatusForbidden || !strings.Contains(err.Error(), "gitgate.dev") {
		t.Errorf("it is not denied by the gate: %v", err)
		return
	}
	wantAll(t, err.Error(), parts...)
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: None
    verbs: [get, list, watch]
  - level: Metadata
`
