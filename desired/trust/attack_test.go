package trust_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/test/gitserver"
)

func TestAMergeTakesNothingBackThatItsSignerMayNotChange(t *testing.T) {
	alice, bob := newSSHKey(t), newSSHKey(t)
	rules := &trust.Rules{
		SSH:   signers(t, "alice@example.com "+alice.public+"\nbob@example.com "+bob.public, ""),
		Paths: []trust.PathRule{{Pattern: "gitgate.yaml", Signers: []string{"alice@example.com"}}},
	}
	const lenient, strict = "mode: warn\n", "mode: deny\n"
	for _, tc := range []struct {
		name  string
		merge func(r *gitserver.Repo, merge func(content string, parents ...string) string) string
		state trust.State
	}{
		{"what a branch of its signer brings", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(strict, "apps", "main")
		}, trust.Trusted},
		{"the same with the branches turned around", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(strict, "main", "apps")
		}, trust.Trusted},
		{"a merge that keeps the older file of another branch", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(lenient, "main", "apps")
		}, trust.Refused},
		{"a merge onto the other branch that keeps its older file", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(lenient, "apps", "main")
		}, trust.Refused},
		{"a merge with its own ancestor that takes the ancestor's file", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(lenient, "main", "main~1")
		}, trust.Refused},
		{"a merge of three that takes the oldest file", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(lenient, "main", "apps", "docs")
		}, trust.Refused},
		{"a merge of three", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(strict, "main", "apps", "docs")
		}, trust.Trusted},
		{"a merge that has a file like no parent", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge("mode: audit\n", "main", "apps")
		}, trust.Refused},
		{"a merge with a history that has nothing in common", func(r *gitserver.Repo, merge func(string, ...string) string) string {
			return merge(lenient, "main", "orphan")
		}, trust.Refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := gitserver.NewRepo(t)
			alice.sign(t, r, "base", map[string]string{"gitgate.yaml": lenient, "x": "1"})
			for _, branch := range []string{"apps", "docs"} {
				r.Git("checkout", "--quiet", "-b", branch, "main")
				bob.sign(t, r, branch, map[string]string{branch: "1"})
			}
			r.Git("checkout", "--quiet", "main")
			alice.sign(t, r, "stricter", map[string]string{"gitgate.yaml": strict})
			r.Git("checkout", "--quiet", "--orphan", "orphan")
			bob.sign(t, r, "orphan", map[string]string{"gitgate.yaml": lenient})
			r.Git("checkout", "--quiet", "main")
			h := tc.merge(r, func(content string, parents ...string) string {
				r.Git("config", "user.signingKey", bob.file)
				r.Write(map[string]string{"gitgate.yaml": content})
				r.Git("add", "--all")
				args := []string{"commit-tree", "-S", "-m", "merge", r.Git("write-tree")}
				for _, p := range parents {
					args = append(args, "-p", p)
				}
				return r.Git(args...)
			})
			if e := judge(t, rules, open(t, r), git.Hash(h)); e.State != tc.state || tc.state == trust.Refused && !strings.Contains(e.Reason, "may not change gitgate.yaml") {
				t.Errorf("%s because %q, want %s", e.State, e.Reason, tc.state)
			}
		})
	}
}

func TestAnOldDateOnANewParentDoesNotReviveAKey(t *testing.T) {
	alice, bob := newSSHKey(t), newSSHKey(t)
	r := gitserver.NewRepo(t)
	rules := &trust.Rules{SSH: signers(t, "alice@example.com "+alice.public+"\nbob@example.com valid-before=\"20250101\" "+bob.public, "")}
	at := func(date string, by sshKey, message string) git.Hash {
		t.Setenv("GIT_COMMITTER_DATE", date+"T00:00:00Z")
		return by.sign(t, r, message, map[string]string{"x": message})
	}
	alicesOld := at("2024-01-01", alice, "old")
	bobsOld := at("2024-06-01", bob, "while the key was valid")
	alicesNew := at("2026-01-01", alice, "new")
	forged := at("2024-06-02", bob, "with an old date")
	twice := at("2024-06-03", bob, "with an old date on an old date")
	late := at("2025-12-31", alice, "a clock that is a day behind")
	repo := open(t, r)
	for _, tc := range []struct {
		name   string
		commit git.Hash
		state  trust.State
		reason string
	}{
		{"a commit of then", bobsOld, trust.Trusted, ""},
		{"a commit before it", alicesOld, trust.Trusted, ""},
		{"a commit after it", alicesNew, trust.Trusted, ""},
		{"an old date on a new parent", forged, trust.Refused, "was valid before 2025-01-01 00:00, and the commit is of 2026-01-01"},
		{"an old date on a parent that has one", twice, trust.Trusted, ""}, // its parent is refused, and with it the branch
		{"a key without an end and a clock that is behind", late, trust.Trusted, ""},
	} {
		if e := judge(t, rules, repo, tc.commit); e.State != tc.state || !strings.Contains(e.Reason, tc.reason) {
			t.Errorf("%s: %s because %q, want %s because %q", tc.name, e.State, e.Reason, tc.state, tc.reason)
		}
	}
}
