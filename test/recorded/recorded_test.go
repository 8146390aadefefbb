// Package recorded puts the requests that real programs made to a real API server before the policy that asks which commit
// declared a change, in a world that is made of the requests themselves.
package recorded

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

var update = flag.Bool("update", false, "write the golden table anew")

func policy(t testing.TB, w *world) *policies.Policy {
	t.Helper()
	p, err := trace.New(trace.Options{
		Index: w, Owners: w, Lists: w.lists,
		Reconcilers: []trace.Reconciler{{Sort: trace.Flux, Namespace: "flux-system"}, {Sort: trace.ArgoCD, Namespace: "argocd"}},
		Convert: func(o *policies.Object, to policies.GroupVersionKind) (map[string]any, error) {
			return w.rules.Convert(w.crds, o, to)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEachRecordedRequestFallsInTheClassItShould(t *testing.T) {
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	byRun := map[string][]*recording{}
	all := recordings(t)
	for _, r := range all {
		byRun[r.run()] = append(byRun[r.run()], r)
	}
	worlds := map[string]*world{}
	var table strings.Builder
	counts := map[string]int{}
	for _, r := range all {
		w := worlds[r.run()]
		if w == nil {
			w = newWorld(t, byRun[r.run()], rules)
			worlds[r.run()] = w
		}
		w.now, w.pruned = r.MS, r.follows()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		f, err := policy(t, w).Judge(ctx, r.change())
		cancel()
		class, words := verdict(f, err)
		counts[class]++
		if want := r.classes(); !slices.Contains(want, class) {
			t.Errorf("%s: is %s (%s), expected %s", r.File, class, words, strings.Join(want, " or "))
		}
		fmt.Fprintf(&table, "%s\t%s\t%s\n", r.File, class, words)
	}
	t.Log(counts)
	golden(t, "testdata/verdicts.tsv", table.String())
}

// classes are those in which a request may fall: a controller's is derived, a reconciler's traces unless it deletes what a person
// took from it in the cluster and Git goes on to declare, and a person's does not.
func (r *recording) classes() []string {
	switch actor := r.actor(); {
	case strings.HasPrefix(actor, "human-"):
		return []string{"untraced", "not governed"}
	case strings.HasPrefix(actor, "kcm-"):
		return []string{"derived", "not governed"}
	case r.text("operation") == "DELETE" && (strings.HasPrefix(r.Step, "flux-delete-") || r.Step == "argo-delete-app-cascade"):
		return []string{"untraced"}
	case strings.HasPrefix(actor, "flux-"), strings.HasPrefix(actor, "argocd-"):
		return []string{"reconciler", "derived", "not governed"}
	}
	return []string{"derived", "not governed"}
}

// follows says whether the commit that a deletion follows took the object away. In other steps Git went on to declare it: it was
// a hook, was to be made anew, or a person deleted its unit in the cluster.
func (r *recording) follows() bool {
	return r.text("operation") == "DELETE" && (strings.Contains(r.Step, "prune") || strings.HasPrefix(r.Step, "two-"))
}

// verdict is the class in which a change fell, and the first of what was said.
func verdict(f policies.Finding, err error) (class, words string) {
	switch {
	case err != nil:
		return "unsure", err.Error()
	case f.Skipped != "":
		return "not governed", strings.TrimPrefix(f.Skipped, "not governed: ")
	}
	for _, e := range f.Evidence {
		if e.Kind == "class" {
			class = e.Value
		}
		if e.Kind == "reason" {
			words = e.Value
		}
	}
	if len(f.Violations) > 0 {
		return "untraced", f.Violations[0].Rule + ": " + f.Violations[0].Message
	}
	return class, words
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(have) || have[i] != line {
			t.Errorf("%s:%d: got %s", file, i+1, line)
		}
	}
}
