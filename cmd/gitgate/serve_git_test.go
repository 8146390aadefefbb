package main

import (
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/test/gitserver"
)

// signedGateFile asks for signatures of the source that holds it.
const signedGateFile = `apiVersion: gitgate.dev/v1alpha1
kind: Gate
sources: [{name: fleet, path: clusters/prod, trust: {ssh: {allowedSigners: allowed_signers}}}]
reconcilers: [{flux: {namespace: flux-system}}]
trace: {}
`

// A commit that nobody trusted is not accepted, so that it goes again is no rewrite of what is.
func TestACommitThatWasNeverTrustedMayGoFromTheBranchAgain(t *testing.T) {
	t.Parallel()
	r := gitserver.NewRepo(t)
	signer := gitserver.NewSigner(t, "author@example.com")
	signer.Use(r)
	good := r.Commit("good", map[string]string{"gitgate.yaml": signedGateFile, "allowed_signers": signer.Allowed, "clusters/prod/c.yaml": configMapOf("1")}, "-S")
	g := startGate(t, "--repository", "file://"+r.Dir, "--state", t.TempDir())
	admits := func(value string, want bool) {
		t.Helper()
		if ok, said := g.asks(t, flux, value); ok != want {
			t.Errorf("n: %q admitted: %v, want %v: %s", value, ok, want, said)
		}
	}
	admits("1", true)
	r.Commit("unsigned", map[string]string{"clusters/prod/c.yaml": configMapOf("2")})
	eventually(t, "the source is not held", func() bool { return g.metric(t, `gitgate_source_held{source="fleet"} 1`) })
	if ok, said := g.asks(t, flux, "2"); ok {
		t.Error("a commit that nobody signed is accepted")
	} else {
		wantAll(t, said, `"2" is not what Git declares: "1"`, "new commits of source fleet are not accepted", "the commit is not signed")
	}
	r.Git("reset", "--quiet", "--hard", good)
	r.Commit("signed", map[string]string{"clusters/prod/c.yaml": configMapOf("3")}, "-S")
	admits("3", true)
	eventually(t, "the source stays held", func() bool { return g.metric(t, `gitgate_source_held{source="fleet"} 0`) })
}

// The identity decides whether the index of before goes on: it must not change with the address of what was decoded.
func TestTheIdentityOfTrustIsItsContent(t *testing.T) {
	load := func(trust, signers string) string {
		t.Helper()
		files := fstest.MapFS{
			"gitgate.yaml":    {Data: []byte("apiVersion: gitgate.dev/v1alpha1\nkind: Gate\nsources: [{name: fleet, path: clusters/prod, trust: {ssh: {" + trust + "}}}]\n")},
			"allowed_signers": {Data: []byte(signers)}, "revoked": {Data: []byte("")},
		}
		c, err := bundle.Decode("gitgate.yaml", files["gitgate.yaml"].Data)
		if err != nil {
			t.Fatal(err)
		}
		return trustIdentity(c, 0, files)
	}
	const allowed = "allowedSigners: allowed_signers"
	first := load(allowed, "ann")
	if again := load(allowed, "ann"); again != first {
		t.Error("the same trust has another identity")
	}
	for name, other := range map[string]string{"another field": load(allowed+", revoked: revoked", "ann"), "another file": load(allowed, "bob")} {
		if other == first {
			t.Errorf("%s has the same identity", name)
		}
	}
}
