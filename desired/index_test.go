package desired_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

var web = policies.Key{GroupKind: policies.GroupKind{Group: "apps", Kind: "Deployment"}, Namespace: "shop", Name: "web"}

func index(t testing.TB, r *gitserver.Repo, edit func(*desired.Options)) *desired.Index {
	t.Helper()
	o := options(t, r)
	if edit != nil {
		edit(&o)
	}
	x, err := desired.NewIndex(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func advance(t testing.TB, x *desired.Index, commit string) {
	t.Helper()
	if err := x.Advance(t.Context(), "fleet", git.Hash(commit)); err != nil {
		t.Fatal(err)
	}
}

// forms describes the forms of an object: commits by their subjects, and the replicas that each declares.
func forms(x *desired.Index, key policies.Key) string {
	var out []string
	for _, f := range x.Lookup(key) {
		replicas, _ := policies.Lookup(f.Object.Map(), policies.Path{"spec", "replicas"})
		text := fmt.Sprintf("%v from %s to %s in %s", replicas, f.Since.Subject, f.Until.Subject, f.Unit)
		if f.Current {
			text += " now"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func patch(replicas string) map[string]string {
	return map[string]string{"apps/shop/patch.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: " + replicas + "\n"}
}

func TestTheIndexKnowsWhichCommitDeclaredWhichForm(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("one", fleet())
	second := r.Commit("two", patch("4"))
	x := index(t, r, nil)
	if x.Ready() || x.Lookup(web) != nil {
		t.Error("an index without a commit knows something")
	}
	advance(t, x, second)
	if got, want := forms(x, web), "4 from two to two in Kustomization flux-system/shop now; 3 from one to one in Kustomization flux-system/shop"; got != want {
		t.Errorf("forms %s\nwant %s", got, want)
	}
	r.Commit("three", map[string]string{"README.md": "text"})
	fourth := r.Commit("four", patch("3"))
	advance(t, x, fourth)
	if got, want := forms(x, web), "3 from four to four in Kustomization flux-system/shop now; 4 from two to three in Kustomization flux-system/shop; 3 from one to one in Kustomization flux-system/shop"; got != want {
		t.Errorf("after a revert: forms %s\nwant %s", got, want)
	}
	books := policies.Key{GroupKind: policies.GroupKind{Kind: "ConfigMap"}, Namespace: "ledger", Name: "books"}
	if got, want := forms(x, books), "<nil> from one to four in Kustomization flux-system/ledger now"; got != want {
		t.Errorf("forms %s\nwant %s", got, want)
	}
	fifth := r.Commit("five", map[string]string{"clusters/prod/ledger.yaml": ""})
	advance(t, x, fifth)
	if got, want := forms(x, books), "<nil> from one to four in Kustomization flux-system/ledger"; got != want {
		t.Errorf("after its unit went: forms %s\nwant %s", got, want)
	}
	older, _ := x.Order("fleet", second)
	newer, ok := x.Order("fleet", fifth)
	if !ok || older >= newer {
		t.Errorf("order of commits: %d, %d", older, newer)
	}
	if tip, ok := x.Tip("fleet"); !ok || tip.Subject != "five" {
		t.Errorf("tip %v", tip)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("1", fleet())
	x := index(t, r, func(o *desired.Options) { o.History.Commits = 3 })
	advance(t, x, first)
	var last string
	for i := 4; i < 10; i++ {
		last = r.Commit(fmt.Sprint(i), patch(fmt.Sprint(i)))
		advance(t, x, last)
	}
	unit := " in Kustomization flux-system/shop"
	if got, want := forms(x, web), "9 from 9 to 9"+unit+" now; 8 from 8 to 8"+unit+"; 7 from 7 to 7"+unit; got != want {
		t.Errorf("forms %s\nwant %s", got, want)
	}
	if _, ok := x.Order("fleet", first); ok {
		t.Error("a forgotten commit has a place")
	}
	fresh := index(t, r, func(o *desired.Options) { o.History.Commits = 2 })
	advance(t, fresh, last)
	if got, want := forms(fresh, web), "9 from 9 to 9"+unit+" now; 8 from 8 to 8"+unit; got != want {
		t.Errorf("from the start: forms %s\nwant %s", got, want)
	}
}

func TestABranchThatWasRewrittenIsHeld(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("one", fleet())
	x := index(t, r, nil)
	advance(t, x, r.Commit("two", patch("4")))
	r.Git("reset", "--quiet", "--hard", first)
	evil := r.Commit("evil", patch("666"))
	err := x.Advance(t.Context(), "fleet", git.Hash(evil))
	var rewritten *desired.RewrittenError
	if !errors.As(err, &rewritten) {
		t.Fatalf("error %v", err)
	}
	if got := forms(x, web); !strings.HasPrefix(got, "4 from two to two") {
		t.Errorf("forms %s", got)
	}
	if p := x.Problems(); len(p) != 1 || p[0].Rule != desired.RuleRewritten {
		t.Errorf("problems %v", p)
	}
}
