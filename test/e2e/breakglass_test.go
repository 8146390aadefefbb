package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/world"
)

// breakGlass is a person who cannot wait for Git.
func breakGlass(t *testing.T, w *world.World) {
	s := newScene(t, w, "glass")
	s.applied("web", map[string]string{"web.yaml": deployment("glass", "web", 1, image), "other.yaml": deployment("glass", "other", 1, image)})
	scale := func(user, name, replicas string) (string, error) {
		return s.Kubectl(user, "-n", "glass", "scale", "deployment/"+name, "--replicas="+replicas)
	}
	said, err := s.Gitgate("ann", "breakglass", "open", "--scope", "glass/Deployment/web", "--for", "10m", "--reason", "INC-42")
	if err != nil {
		t.Fatal(said)
	}
	wantAll(t, said, "ann may change glass/Deployment/web until", "INC-42")
	grant := lastLine(said)
	s.Eventually("the grant does not let its person in", func() error {
		said, err := scale("ann", "web", "2")
		return because(err, said)
	})
	s.has("apps/v1 Deployment", "web", int64(2), "status", "availableReplicas") // controllers make of it what they always make
	for _, tc := range []struct{ name, user, object string }{
		{"another person under the grant", "bob", "web"},
		{"another object than the grant's", "ann", "other"},
	} {
		if said, err := scale(tc.user, tc.object, "3"); err == nil {
			t.Errorf("%s: admitted: %s", tc.name, said)
		}
	}
	said, err = s.Gitgate("bob", "breakglass", "list")
	if err != nil {
		t.Error(said)
	}
	wantAll(t, said, grant, "open", "ann", "glass/Deployment/web", "INC-42")
	if s.Metric("gitgate_traced_total", `class="break-glass"`) == 0 {
		t.Error("nothing is counted as break-glass")
	}

	for _, tc := range []struct {
		name, user string
		args       []string
		want       []string
	}{
		{"is made longer", "ann", []string{"patch", "breakglass", grant, "--type=merge", "-p", `{"spec":{"duration":"25m"}}`}, []string{"a grant is closed, not changed"}},
		{"gets another scope", "ann", []string{"patch", "breakglass", grant, "--type=merge", "-p", `{"spec":{"scope":[{"namespace":"glass","kind":"*","name":"*"}]}}`}, []string{"a grant is closed, not changed"}},
		{"is made for somebody else", "ann", []string{"create", "-f", s.File("grant.yaml", grantOf("bob", "10m"))}, []string{"a grant and an approval name the person who makes them"}},
		{"is longer than gitgate.yaml lets it be", "ann", []string{"create", "-f", s.File("grant.yaml", grantOf("ann", "2h"))}, []string{"30m"}},
		{"is longer than any may be", "ann", []string{"create", "-f", s.File("grant.yaml", grantOf("ann", "9h"))}, []string{"a grant lasts at most 8h"}},
		{"is the reconciler's", world.FluxUser, []string{"create", "-f", s.File("grant.yaml", grantOf(world.FluxUser, "10m"))}, []string{"get no grant"}},
	} {
		if said, err := s.Kubectl(tc.user, tc.args...); err == nil {
			t.Errorf("a grant %s: admitted: %s", tc.name, said)
		} else {
			wantAll(t, said, tc.want...)
		}
	}

	// A grant ends by itself: the shortest that this machine comes to use.
	lets := false
	for _, length := range []string{"6s", "30s", "4m"} {
		brief := s.File("grant.yaml", strings.Replace(grantOf("bob", length), "name: web", "name: other", 1))
		if said, err := s.Kubectl("bob", "create", "-f", brief); err != nil {
			t.Fatal(said)
		}
		lasts, err := time.ParseDuration(length)
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(lasts); !lets && time.Now().Before(end); {
			_, err := scale("bob", "other", "2")
			lets = err == nil
		}
		if lets {
			break
		}
	}
	if !lets {
		t.Error("no short grant lets its person in")
	}
	s.Eventually("the short grant does not end", func() error {
		said, err := scale("bob", "other", "3")
		if err == nil {
			return fmt.Errorf("admitted: %s", said)
		}
		return nil
	})

	if said, err := s.Gitgate("ann", "breakglass", "close", grant); err != nil {
		t.Fatal(said)
	}
	s.Eventually("the closed grant still lets its person in", func() error {
		said, err := scale("ann", "web", "5")
		if err == nil {
			return fmt.Errorf("admitted: %s", said)
		}
		return nil
	})
	if said, err := s.Kubectl("ann", "patch", "breakglass", grant, "--type=merge", "-p", `{"spec":{"closed":false}}`); err == nil {
		t.Errorf("a grant that was closed is open again: %s", said)
	}
	// What was changed comes back to what Git declares.
	s.Reconcile("glass")
	s.has("apps/v1 Deployment", "web", int64(1), "spec", "replicas")

	twoPeople(t, s)
}

// twoPeople is break-glass that another person has to agree to.
func twoPeople(t *testing.T, s *scene) {
	before := s.Repo.Git("show", "HEAD:gitgate.yaml") + "\n"
	s.configure(strings.Replace(before, "maximum: 30m", "maximum: 30m, approvals: 1", 1))
	said, err := s.Gitgate("ann", "breakglass", "open", "--scope", "glass/Deployment/web", "--for", "10m", "--reason", "INC-43")
	if err != nil {
		t.Fatal(said)
	}
	grant := lastLine(said)
	if said, err := s.Kubectl("ann", "-n", "glass", "scale", "deployment/web", "--replicas=4"); err == nil {
		t.Errorf("nobody approved it: %s", said)
	}
	if said, err := s.Gitgate("ann", "breakglass", "approve", grant); err == nil {
		t.Errorf("approved by herself: %s", said)
	}
	if said, err := s.Gitgate("bob", "breakglass", "approve", grant); err != nil {
		t.Error(said)
	}
	s.Eventually("the approved grant does not let its person in", func() error {
		said, err := s.Kubectl("ann", "-n", "glass", "scale", "deployment/web", "--replicas=4")
		return because(err, said)
	})
	if said, err := s.Gitgate("ann", "breakglass", "close", grant); err != nil {
		t.Error(said)
	}
	s.configure(before)
}

func grantOf(person, duration string) string {
	return `apiVersion: gitgate.dev/v1alpha1
kind: BreakGlass
metadata: {generateName: grant-}
spec: {person: "` + person + `", reason: INC-1, duration: ` + duration + `, scope: [{namespace: glass, kind: Deployment, name: web}]}
`
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// because is err with what was said.
func because(err error, said string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, said)
}
