package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/test/gitserver"
	"gitgate.dev/gitgate/webhook"
)

func commitOf(n string) string { return strings.Repeat(n, 40) }

// sharing is a replica with an empty state folder that shares what it knows in a Secret. It knows the commits of a history, the oldest first.
func sharing(t *testing.T, kube *fake.Clientset, history ...string) *shared {
	t.Helper()
	h, err := openHeadway(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := func(commit string) int { return slices.Index(history, commit) }
	s := &shared{
		cluster: cluster.New(cluster.Clients{Kubernetes: kube}, nil), namespace: "gitgate", name: "gitgate-state", headway: h,
		log: slog.New(slog.DiscardHandler), dirty: make(chan struct{}, 1),
		order:    func(_, commit string) (int, bool) { return at(commit), at(commit) >= 0 },
		accepted: func() map[string]string { return map[string]string{strings.Repeat("f", 24): history[len(history)-1]} },
		newer:    func(_ context.Context, _, commit, than string) bool { return at(commit) < 0 || at(commit) > at(than) },
	}
	h.told = s.change
	return s
}

func (s *shared) seen(said ...string) string {
	newest, _ := s.headway.seen(appliedTo{"fleet", "Kustomization", "flux-system", "apps"}, said, func(c string) (int, bool) { return s.order("fleet", c) })
	return newest
}

func stateSecret(t *testing.T, kube *fake.Clientset) *corev1.Secret {
	t.Helper()
	secret, err := kube.CoreV1().Secrets("gitgate").Get(t.Context(), "gitgate-state", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestAReplicaThatIsNewKnowsWhatOthersHaveSeenApplied(t *testing.T) {
	t.Parallel()
	a, b, c := commitOf("a"), commitOf("b"), commitOf("c")
	kube := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "gitgate", Name: "gitgate-state"}})
	turn := func(s *shared) {
		t.Helper()
		if err := s.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old := sharing(t, kube, a, b)
	old.seen(b)
	turn(old)
	before := stateSecret(t, kube).ResourceVersion + string(stateSecret(t, kube).Data[keyApplied])
	turn(old)
	if stateSecret(t, kube).ResourceVersion+string(stateSecret(t, kube).Data[keyApplied]) != before {
		t.Error("it is written again, and nothing has changed")
	}
	next := sharing(t, kube, a, b, c)
	if err := next.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := next.seen(a); got != b { // the status was set back
		t.Errorf("a new replica knows %q, want %q", got, b)
	}
	if next.floors[strings.Repeat("f", 24)] != b {
		t.Errorf("accepted: %v", next.floors)
	}
	next.seen(c)
	turn(next)
	turn(old) // which has not fetched c, keeps it for others, and takes nothing back
	third := sharing(t, kube, a, b, c)
	if err := third.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := third.seen(); got != c || third.floors[strings.Repeat("f", 24)] != c {
		t.Errorf("it knows %q, and %v as accepted; want %q", got, third.floors, c)
	}
	if got := old.seen(); got != b {
		t.Errorf("a replica that is behind knows %q", got)
	}

	// Who empties it, or puts nonsense in its place, makes nobody forget.
	for _, data := range []map[string][]byte{nil, {keyApplied: []byte("junk")}, {keyAccepted: []byte(`{"../../x":"` + a + `"}`)}, {keyAccepted: []byte(`{"` + strings.Repeat("f", 24) + `":"` + a + `"}`)}} {
		secret := stateSecret(t, kube)
		secret.Data = data
		if _, err := kube.CoreV1().Secrets("gitgate").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if fresh := sharing(t, kube, a, b, c); data[keyApplied] != nil {
			if err := fresh.learn(t.Context()); err == nil || !strings.Contains(err.Error(), "secret gitgate/gitgate-state: key applied.gz") {
				t.Errorf("a replica begins with what is damaged: %v", err)
			}
		}
		turn(third)
		fresh := sharing(t, kube, a, b, c)
		if err := fresh.learn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fresh.seen(a); got != c || fresh.floors[strings.Repeat("f", 24)] != c {
			t.Errorf("after %q it knows %q, and %v as accepted", data, got, fresh.floors)
		}
	}
}

// A new Pod has no copy of the repository: that a branch goes on from what was accepted it can know from others alone.
func TestABranchThatWasSetBackIsHeldByAReplicaThatIsNew(t *testing.T) {
	t.Parallel()
	r := gitserver.NewRepo(t)
	first := r.Commit("first", map[string]string{"gitgate.yaml": gateFile, "clusters/prod/c.yaml": configMapOf("1")})
	r.Git("checkout", "--quiet", "-b", "aside")
	aside := r.Commit("aside", map[string]string{"README.md": "aside\n"})
	r.Git("checkout", "--quiet", "main")
	r.Commit("beside it", map[string]string{"clusters/prod/c.yaml": configMapOf("2")})
	r.Git("merge", "--quiet", "--no-ff", "-m", "second", "aside")
	second := strings.TrimSpace(r.Git("rev-parse", "HEAD"))
	url := "file://" + r.Dir
	open := func(state, floor string) (*gate, *logged) {
		log := &logged{}
		p := &program{stderr: log, env: func(string) string { return "" }, dir: t.TempDir()}
		g := newGate(p, &serveFlags{repository: url, branch: "main", state: state, mode: "deny"}, slog.New(slog.NewJSONHandler(log, nil)))
		registry := prometheus.NewRegistry()
		var err error
		if g.metrics, err = newGateMetrics(registry, g); err != nil {
			t.Fatal(err)
		}
		if g.requests, err = webhook.NewMetrics(registry); err != nil {
			t.Fatal(err)
		}
		if g.headway, err = openHeadway(state, g.log); err != nil {
			t.Fatal(err)
		}
		g.floors = map[string]string{acceptedFile("fleet", url, "main"): floor, acceptedFile(configSource, url, "main"): floor}
		if err := g.open(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		t.Cleanup(g.close)
		return g, log
	}
	state := t.TempDir()
	if g, log := open(state, first); g.current.Load() == nil || g.current.Load().Commit != second {
		t.Fatalf("a branch that goes on is not taken:\n%s", log)
	} else {
		// What others had accepted is replaced by what goes on from it, also where the index does not have it.
		d, file := g.declared.Load(), acceptedFile("fleet", url, "main")
		for commit, want := range map[string]bool{first: false, aside: false, commitOf("d"): true} {
			if got := d.newer(t.Context(), file, commit, second); got != want {
				t.Errorf("%s is newer than what is accepted: %v", commit, got)
			}
		}
		if !d.newer(t.Context(), file, second, aside) {
			t.Error("what is accepted is replaced by what it goes on from")
		}
	}
	r.Git("reset", "--quiet", "--hard", first)
	g, log := open(t.TempDir(), second)
	if g.current.Load() != nil {
		t.Error("a branch that was set back is taken by a replica that is new")
	}
	wantAll(t, log.String(), "the branch was rewritten: "+first[:10], "does not descend from the accepted commit "+second[:10], "a person has to accept it")
	if g, log := open(state, second); g.current.Load() == nil || g.current.Load().Commit != second {
		t.Errorf("one that has accepted it does not go on with what it has:\n%s", log)
	}
}
