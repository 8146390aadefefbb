package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/world"
)

// behind is a replica that has not fetched what the other has let in: it says the same.
func behind(t *testing.T, w *world.World) {
	s := newScene(t, w, "behind")
	defer s.Route()
	edit := func(value string) string {
		said, err := s.Kubectl("ann", "-n", "behind", "patch", "configmap/settings", "--type=merge", "-p", `{"data":{"n":"`+value+`"}}`)
		if err == nil {
			t.Fatalf("admitted: %s", said)
		}
		return said
	}
	s.Route(0)
	s.applied("one", map[string]string{"config.yaml": configMap("behind", "settings", "n", "one")})
	s.Route(1) // it fetches as it is asked for what it does not know
	s.applied("two", map[string]string{"config.yaml": configMap("behind", "settings", "n", "two")})
	commit := s.applied("three", map[string]string{"config.yaml": configMap("behind", "settings", "n", "three")})
	ahead := edit("mine")
	wantAll(t, ahead, `"mine"`, `"three"`, "apps/behind/config.yaml:6", short(commit))
	s.Route(0) // and this one knows nothing of the last two
	if err := s.asFlux("v1 ConfigMap", "settings", `{"data":{"n":"one"}}`); err == nil {
		t.Error("the replica that is behind lets the reconciler's token write what was declared before")
	}
	s.has("v1 ConfigMap", "settings", "three", "data", "n")
	if said := edit("mine"); said != ahead {
		t.Errorf("the replicas refuse in different words:\n%s\n%s", ahead, said)
	}
	if err := s.asFlux("v1 ConfigMap", "settings", `{"data":{"n":"three"}}`); err != nil {
		t.Errorf("what is declared is refused: %v", err)
	}
}

// oneDies is a replica that dies, and one that is drained, while requests arrive.
func oneDies(t *testing.T, w *world.World) {
	s := newScene(t, w, "pair")
	s.applied("settings", map[string]string{"config.yaml": configMap("pair", "settings", "n", "one")})
	s.Route(0)
	l := s.underLoad()
	l.more(50, 5)
	s.Route() // the API server keeps the connection that it has
	s.Replica(0).Kill()
	l.more(50, 5)
	if n := l.seen["failed"]; n > askers {
		t.Errorf("%d requests failed, and %d were in work when the replica died", n, askers)
	}
	s.Replica(0).Launch()
	s.Eventually("the replica does not come back", s.Replica(0).Ready)
	failed := l.seen["failed"]
	s.Replica(1).Stop()
	l.more(50, 5)
	s.Replica(1).Launch()
	s.Eventually("the replica does not come back", s.Replica(1).Ready)
	l.end(t)
	if n := l.seen["failed"] - failed; n > 0 {
		t.Errorf("%d requests failed while a replica was drained", n)
	}
}

// glassOfBoth is a grant, which every replica hears of and has recorded.
func glassOfBoth(t *testing.T, w *world.World) {
	s := newScene(t, w, "both")
	defer s.Route()
	s.applied("settings", map[string]string{"config.yaml": configMap("both", "settings", "n", "one")})
	said, err := s.Gitgate("ann", "breakglass", "open", "--scope", "both/ConfigMap/settings", "--for", "10m", "--reason", "INC-44")
	if err != nil {
		t.Fatal(said)
	}
	grant := lastLine(said)
	label := func(value string) error {
		said, err := s.Kubectl("ann", "-n", "both", "label", "--overwrite", "configmap/settings", "by="+value)
		return because(err, said)
	}
	for n, r := range s.Replicas() {
		s.Route(n)
		before, notes := r.Metric("gitgate_traced_total", `class="break-glass"`), len(s.auditNotes("ann", "settings"))
		s.Eventually(fmt.Sprintf("replica %d does not let the grant's person in", n), func() error { return label(fmt.Sprint(n)) })
		if r.Metric("gitgate_traced_total", `class="break-glass"`) == before {
			t.Errorf("replica %d does not count it", n)
		}
		s.noted("ann", "settings", notes, func(note map[string]string) bool {
			return note["class"] == "break-glass" && strings.Contains(note["grant"], grant)
		})
	}
	if said, err := s.Gitgate("ann", "breakglass", "close", grant); err != nil {
		t.Fatal(said)
	}
	for n := range s.Replicas() {
		s.Route(n)
		s.Eventually(fmt.Sprintf("replica %d still lets the grant's person in", n), func() error {
			if label("later") == nil {
				return fmt.Errorf("admitted")
			}
			return nil
		})
	}
}

// renewedByBoth is an authority that comes to its age: one replica renews it, and the other follows.
func renewedByBoth(t *testing.T, w *world.World) {
	s := w.For(t)
	agingAuthority(t, 15*time.Second)(s)
	var before *x509.Certificate
	s.Eventually("the authority is not taken from the Secret", func() error {
		s.HurryGate()
		before = certificate(t, s, 0)
		if before.Issuer.CommonName != "aging" || !before.Equal(certificate(t, s, 1)) {
			return fmt.Errorf("a replica serves another certificate")
		}
		return nil
	})
	s.Eventually("the authority is not renewed", func() error {
		s.Replica(0).Hurry()
		if serves(t, s, 0).Equal(before) {
			return fmt.Errorf("the certificate that is served ends in %s", time.Until(before.NotAfter))
		}
		return nil
	})
	s.Eventually("the other replica does not follow", func() error {
		s.Replica(1).Hurry()
		if !serves(t, s, 1).Equal(serves(t, s, 0)) {
			return fmt.Errorf("it serves another certificate")
		}
		return nil
	})
	s.Guarded()
}

// serves is the certificate that a replica serves, which has to be one that the API server trusts.
func serves(t *testing.T, w *world.World, n int) *x509.Certificate {
	t.Helper()
	leaf := certificate(t, w, n)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(w.GateCA())) // what is trusted after it was served: it was before
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"}); err != nil {
		t.Fatalf("replica %d serves what the API server does not trust: %v", n, err)
	}
	return leaf
}

// certificate is what a replica serves.
func certificate(t *testing.T, w *world.World, n int) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", w.Replica(n).Address(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}
