package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/gitserver"
	"gitgate.dev/gitgate/test/world"
)

// notYetFetched is a push that the reconciler knows before the gate: the gate looks at Git by itself every 30 seconds.
func notYetFetched(t *testing.T, w *world.World) {
	s := newScene(t, w, "fresh")
	looks := func() float64 {
		return s.Metric("gitgate_admission_stage_duration_seconds_count", `stage="freshness"`)
	}
	pushes := 0
	s.Eventually("no request makes the gate look at Git", func() error { // that it has just looked by itself can happen, and not every time
		before := looks()
		pushes++
		s.applied("one more", map[string]string{"config.yaml": configMap("fresh", "settings", "n", fmt.Sprintf("%q", fmt.Sprint(pushes)))})
		if looks() == before {
			return errors.New("it has all")
		}
		return nil
	})
}

// forcePush is a branch that somebody rewrites: Flux follows, the gate does not.
func forcePush(t *testing.T, w *world.World) {
	s := newScene(t, w, "forced")
	good := s.applied("good", map[string]string{"config.yaml": configMap("forced", "settings", "n", "good")})
	s.Repo.Write(map[string]string{"apps/forced/config.yaml": configMap("forced", "settings", "n", "rewritten")})
	s.Repo.Git("add", "--all")
	s.Repo.Git("commit", "--quiet", "--amend", "-S", "-m", "rewritten")
	rewritten := s.Repo.Git("rev-parse", "HEAD")
	s.FetchLater()
	said := s.Refused("forced", rewritten)
	wantAll(t, said, "ConfigMap forced/settings", "data.n", `"rewritten"`, "new commits of source fleet are not accepted", "the branch was rewritten")
	if s.Metric("gitgate_source_held", `source="fleet"`) != 1 {
		t.Error("the metric does not say that the source is held")
	}
	s.has("v1 ConfigMap", "settings", "good", "data", "n")
	// What was accepted goes on while the branch is held.
	if err := s.asFlux("v1 ConfigMap", "settings", `{"data":{"n":"good"}}`); err != nil {
		t.Errorf("what is accepted is refused: %v", err)
	}
	s.Repo.Git("reset", "--quiet", "--hard", good)
	s.FetchLater()
	s.Applied("forced", good)
	s.applied("better", map[string]string{"config.yaml": configMap("forced", "settings", "n", "better")})
	if s.Metric("gitgate_source_held", `source="fleet"`) != 0 {
		t.Error("the metric still says that the source is held")
	}
}

// asFlux sends a merge patch with the reconciler's token.
func (s *scene) asFlux(of, name, patch string) error {
	_, err := s.As(world.FluxUser, controlplane.ServiceAccountGroups(world.FluxNamespace), of, s.name).
		Patch(s.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kustomize-controller"})
	return err
}

// unsigned is a commit that nobody who is trusted has signed: Flux applies it, the gate does not accept it.
func unsigned(t *testing.T, w *world.World) {
	s := newScene(t, w, "unsigned")
	good := s.applied("good", map[string]string{"config.yaml": configMap("unsigned", "settings", "n", "good")})
	bad := s.Repo.Commit("unsigned", map[string]string{"apps/unsigned/config.yaml": configMap("unsigned", "settings", "n", "unsigned")})
	s.FetchLater()
	wantAll(t, s.Refused("unsigned", bad), "ConfigMap unsigned/settings", `"unsigned"`, "new commits of source fleet are not accepted", "is not signed")
	s.has("v1 ConfigMap", "settings", "good", "data", "n")
	s.Repo.Git("reset", "--quiet", "--hard", good)
	s.FetchLater()
	s.Applied("unsigned", good)
}

const rogue = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: intruder, namespace: flux-system}
spec: {interval: 1m, url: "URL", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: intruder, namespace: flux-system}
spec: {interval: 1h, retryInterval: 2s, path: ./, prune: true, sourceRef: {kind: GitRepository, name: intruder}}
`

// rogueSource is somebody who has Flux apply another repository.
func rogueSource(t *testing.T, w *world.World) {
	s := newScene(t, w, "rogue")
	s.applied("settings", map[string]string{"config.yaml": configMap("rogue", "settings", "n", "declared")})
	other := gitserver.NewRepo(t)
	commit := other.Commit("mine", map[string]string{"all.yaml": configMap("rogue", "miner", "n", "mine") + "---\n" + configMap("rogue", "settings", "n", "mine")})
	file := s.File("rogue.yaml", strings.Replace(rogue, "URL", gitserver.Serve(t, other).URL, 1))
	said, err := s.Kubectl("ann", "create", "-f", file)
	if err == nil {
		t.Fatalf("admitted: %s", said)
	}
	wantAll(t, said, "GitRepository flux-system/intruder", "Kustomization flux-system/intruder", "no accepted commit declares it")
	// It is there from before the gate.
	s.Unguarded(func() {
		if said, err := s.Kubectl("ann", "create", "-f", file); err != nil {
			t.Fatal(said)
		}
	})
	s.FetchLater()
	said = s.Refused("intruder", commit)
	wantAll(t, said, "denied the request: ConfigMap rogue/") // whichever of the two was asked first
	if s.Get("v1 ConfigMap", "rogue", "miner") != nil {
		t.Error("what the other repository has is applied")
	}
	s.has("v1 ConfigMap", "settings", "declared", "data", "n")
	s.Unguarded(func() {
		if said, err := s.Kubectl("ann", "delete", "-f", file); err != nil {
			t.Fatal(said)
		}
	})
}

// gitIsDown is Git that cannot be asked, while the gate runs and when it starts.
func gitIsDown(t *testing.T, w *world.World) {
	s := newScene(t, w, "offline")
	s.applied("settings", map[string]string{"config.yaml": configMap("offline", "settings", "n", "one")})
	s.Git.Down.Store(true)
	defer s.Git.Down.Store(false)
	for _, when := range []string{"while it runs", "after a restart"} {
		if when == "after a restart" {
			s.StopGate()
			s.StartGate()
			s.Guarded()
		}
		if err := s.asFlux("v1 ConfigMap", "settings", `{"data":{"n":"one"}}`); err != nil {
			t.Errorf("%s: what was accepted is refused: %v", when, err)
		}
		said, err := s.Kubectl("ann", "-n", "offline", "patch", "configmap/settings", "--type=merge", "-p", `{"data":{"n":"two"}}`)
		if err == nil {
			t.Errorf("%s: a person is let in: %s", when, said)
		}
		wantAll(t, said, "apps/offline/config.yaml:6")
		// What no known commit declares could be in one that is not known: it is refused, and not as a denial.
		err = s.asFlux("v1 ConfigMap", "settings", `{"data":{"n":"two"}}`)
		if status := (apierrors.APIStatus)(nil); !errors.As(err, &status) || status.Status().Code != http.StatusServiceUnavailable {
			t.Errorf("%s: what could be newer is not unsure: %v", when, err)
		} else {
			wantAll(t, err.Error(), "could not judge", "could not be asked")
		}
	}
	if age := s.Metric("gitgate_mirror_age_seconds"); age >= 0 && age < 0.5 {
		t.Errorf("the metric says that Git was asked %v seconds ago", age)
	}
}

// storm is more requests at once than the gate judges at once.
func storm(t *testing.T, w *world.World) {
	s := newScene(t, w, "crowd")
	s.applied("settings", map[string]string{"config.yaml": configMap("crowd", "settings", "n", "one")})
	in := s.As(world.FluxUser, controlplane.ServiceAccountGroups(world.FluxNamespace), "v1 ConfigMap", "crowd")
	errs := make(chan error, 500)
	var all []func()
	for range cap(errs) {
		all = append(all, func() {
			_, err := in.Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"n":"one"}}`), metav1.PatchOptions{FieldManager: "kustomize-controller", DryRun: []string{metav1.DryRunAll}})
			errs <- err
		})
	}
	parallel(all...)
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// gateDies kills the gate while requests arrive: nothing gets in that would not have, and all that may get in does afterwards.
func gateDies(t *testing.T, w *world.World) {
	s := newScene(t, w, "storm")
	s.applied("settings", map[string]string{"config.yaml": configMap("storm", "settings", "n", "one")})
	l := s.underLoad()
	l.more(50, 5)
	for range 2 {
		failed := l.seen["failed"]
		s.KillGate()
		l.until(func(m map[string]int) bool { return m["failed"] >= failed+50 })
		s.StartGate()
		l.more(50, 5)
	}
	l.end(t)
}
