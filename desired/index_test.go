package desired_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
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

func TestACommitOfSomebodyElseIsHeldAndTheOldTipServes(t *testing.T) {
	signer, other := gitserver.NewSigner(t, "dev@example.com"), gitserver.NewSigner(t, "eve@example.com")
	r := gitserver.NewRepo(t)
	anchor := r.Commit("before signatures", fleet())
	allowed, err := trust.ParseAllowedSigners([]byte(signer.Allowed), nil)
	if err != nil {
		t.Fatal(err)
	}
	x := index(t, r, func(o *desired.Options) {
		o.Sources[0].Trust, o.Sources[0].Anchor = &trust.Rules{SSH: allowed}, git.Hash(anchor)
	})
	signer.Use(r)
	signed := r.Commit("signed", patch("4"), "-S")
	advance(t, x, signed)
	if f := x.Lookup(web); len(f) == 0 || f[0].Since.Signer != "dev@example.com" {
		t.Fatalf("forms %v", f)
	}
	second := r.Commit("signed too", patch("5"), "-S")
	other.Use(r)
	r.Commit("evil", patch("666"), "-S")
	signer.Use(r)
	later := r.Commit("on top of it", map[string]string{"README.md": "x"}, "-S")
	err = x.Advance(t.Context(), "fleet", git.Hash(later))
	var untrusted *desired.UntrustedError
	if !errors.As(err, &untrusted) || untrusted.Evidence[len(untrusted.Evidence)-1].Commit.Subject != "evil" {
		t.Fatalf("error %v", err)
	}
	if tip, _ := x.Tip("fleet"); tip.Hash != second {
		t.Errorf("tip %s, want the last trusted commit", tip.Subject)
	}
	if p := x.Problems(); len(p) != 1 || p[0].Rule != desired.RuleUntrusted {
		t.Errorf("problems %v", p)
	}
	if got := forms(x, web); !strings.HasPrefix(got, "5 from signed too") || strings.Contains(got, "666") {
		t.Errorf("forms %s", got)
	}
	// A process that starts now takes what is trusted, and no more.
	fresh := index(t, r, func(o *desired.Options) {
		o.Sources[0].Trust, o.Sources[0].Anchor = &trust.Rules{SSH: allowed}, git.Hash(anchor)
	})
	if err := fresh.Advance(t.Context(), "fleet", git.Hash(later)); !errors.As(err, &untrusted) {
		t.Errorf("error %v", err)
	}
	if got := forms(fresh, web); !strings.HasPrefix(got, "5 from signed too") || strings.Contains(got, "666") {
		t.Errorf("forms %s", got)
	}
}

// A merge brings every commit of its branch: one that nobody trusts is not made good by the signature on the merge.
func TestASignedMergeOfAnUnsignedCommitIsHeld(t *testing.T) {
	signer := gitserver.NewSigner(t, "dev@example.com")
	r := gitserver.NewRepo(t)
	anchor := r.Commit("before signatures", fleet())
	allowed, err := trust.ParseAllowedSigners([]byte(signer.Allowed), nil)
	if err != nil {
		t.Fatal(err)
	}
	x := index(t, r, func(o *desired.Options) {
		o.Sources[0].Trust, o.Sources[0].Anchor = &trust.Rules{SSH: allowed}, git.Hash(anchor)
	})
	signer.Use(r)
	r.Git("checkout", "--quiet", "-b", "topic")
	r.Commit("unsigned", patch("666"))
	r.Git("checkout", "--quiet", "main")
	before := r.Commit("signed", map[string]string{"README.md": "x"}, "-S")
	r.Git("merge", "--quiet", "--no-ff", "-S", "-m", "merge", "topic")
	merge := r.Git("rev-parse", "HEAD")
	var untrusted *desired.UntrustedError
	if err := x.Advance(t.Context(), "fleet", git.Hash(merge)); !errors.As(err, &untrusted) || len(untrusted.Evidence) != 1 || untrusted.Evidence[0].Commit.Subject != "unsigned" {
		t.Fatalf("error %v", err)
	}
	if tip, _ := x.Tip("fleet"); tip.Hash != before {
		t.Errorf("tip %s, want the commit before the merge", tip.Subject)
	}
	if got := forms(x, web); strings.Contains(got, "666") {
		t.Errorf("forms %s", got)
	}
}

func TestAMirrorIsFollowed(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("one", fleet())
	server := gitserver.Serve(t, r)
	m, err := git.OpenMirror(t.Context(), t.TempDir(), server.URL, "main")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x := index(t, r, func(o *desired.Options) { o.Sources[0].Repo = m.Repo })
	if err := x.Follow(t.Context(), "fleet", m); err != nil {
		t.Fatal(err)
	}
	server.Down.Store(true)
	if err := x.Follow(t.Context(), "fleet", m); !errors.Is(err, git.ErrUnreachable) {
		t.Errorf("error %v", err)
	}
	if p := x.Problems(); len(p) != 1 || p[0].Rule != desired.RuleUnavailable || !strings.HasPrefix(forms(x, web), "3 from one") {
		t.Errorf("problems %v, forms %s", p, forms(x, web))
	}
	server.Down.Store(false)
	r.Commit("two", patch("4"))
	if err := x.Follow(t.Context(), "fleet", m); err != nil || len(x.Problems()) > 0 || !strings.HasPrefix(forms(x, web), "4 from two") {
		t.Errorf("error %v, problems %v, forms %s", err, x.Problems(), forms(x, web))
	}
	r.Git("reset", "--quiet", "--hard", first)
	r.Commit("evil", patch("666"))
	var rewritten *desired.RewrittenError
	if err := x.Follow(t.Context(), "fleet", m); !errors.As(err, &rewritten) || strings.Contains(forms(x, web), "666") {
		t.Errorf("error %v, forms %s", err, forms(x, web))
	}
}

func TestEachFieldIsBlamedOnTheCommitThatLastChangedItsLine(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("one", fleet())
	r.Commit("two", patch("4"))
	x := index(t, r, nil)
	advance(t, x, r.Commit("three", map[string]string{"apps/shop/kustomization.yaml": "resources: [deployment.yaml, namespace.yaml]\nimages:\n  - name: nginx\n    newTag: \"1.2\"\npatches:\n  - path: patch.yaml\n"}))
	blamer := x.Blamer()
	for field, want := range map[string]string{
		"spec.replicas":                          "two apps/shop/patch.yaml:6",
		"spec.template.spec.containers[0].image": "three apps/shop/kustomization.yaml:4",
		"spec.template.spec.containers[0].name":  "one apps/shop/deployment.yaml:14",
	} {
		blame, _, _, err := blamer.Field(t.Context(), x.State().Find(web)[0], policies.ParsePath(field))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s:%d", blame.Commit.Subject, blame.File, blame.Line); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
}
