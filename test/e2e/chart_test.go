package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

// TestChart is the life of a release of the chart as its values come, with two replicas, in the hands of a person with the helm program:
// what it says, what its modes do, what its replicas do for each other, and how it goes.
func TestChart(t *testing.T) {
	w := start(t, world.Options{
		Flux: true, ByHelm: true, Replicas: 2,
		Values:       hourly,
		Config:       "breakGlass: {maximum: 30m}\n",
		ControlPlane: controlplane.Options{AuditPolicy: auditPolicy},
	})
	w.StartKubelet("node-1")
	for _, scene := range []struct {
		name string
		play func(*testing.T, *world.World)
	}{
		{"values that the chart does not have are refused", wrongValues},
		{"a release begins by recording, then warns, then denies", byAndBy},
		{"the test of the release asks the gate", releaseTest},
		{"a replica is behind the other", behind},
		{"a replica dies, and one is drained, under load", oneDies},
		{"a grant is one for both replicas", glassOfBoth},
		{"replicas renew their authority together", renewedByBoth},
		{"a release goes and leaves nothing locked", uninstalled},
	} {
		if !t.Run(scene.name, func(t *testing.T) { scene.play(t, w) }) && t.Context().Err() != nil {
			break
		}
	}
}

// hourly are values by which a replica looks at Git when a request makes it, and else long after the test.
const hourly = "git: {interval: 1h}\n"

// wrongValues is what values.schema.json is for.
func wrongValues(t *testing.T, w *world.World) {
	w = w.For(t)
	for _, tc := range []struct{ name, values, want string }{
		{"a mode that there is not", "mode: enforce", "mode"},
		{"a value that there is not", "modes: deny", "modes"},
		{"no replica", "replicas: 0", "replicas"},
		{"a time without a unit", "webhook: {budget: 3}", "budget"},
		{"a Secret that is not named", "tls: {source: secret}", "secret"},
		{"no issuer", "tls: {source: cert-manager}", "issuer"},
	} {
		if said, err := w.RunHelm("ann", "upgrade", tc.values); err == nil {
			t.Errorf("%s: taken: %s", tc.name, said)
		} else {
			wantAll(t, said, "specifications of the schema", tc.want)
		}
	}
}

// byAndBy is how a cluster is adopted: nothing is refused until somebody says so.
func byAndBy(t *testing.T, w *world.World) {
	s := newScene(t, w, "adopted")
	wantAll(t, s.InstallNotes(), "MODE AUDIT: nothing is refused yet", "gitgate_untraced_total", "--set mode=warn", "--set mode=deny")
	s.applied("settings", map[string]string{"config.yaml": configMap("adopted", "settings", "n", "one")})
	authority := s.GateCA()
	for _, tc := range []struct {
		mode, failurePolicy, notes string
		admitted, told             bool
	}{
		{"audit", "Ignore", "MODE AUDIT", true, false},
		{"warn", "Fail", "MODE WARN: nothing is refused", true, true},
		{"deny", "Fail", "MODE DENY", false, false},
	} {
		if tc.mode != "audit" {
			said, err := s.RunHelm("ann", "upgrade", hourly+"mode: "+tc.mode)
			if err != nil {
				t.Fatal(said)
			}
			wantAll(t, said, tc.notes)
			s.Rollout()
		}
		untraced, notes := s.Metric("gitgate_untraced_total", `action="`+tc.mode+`"`), len(s.auditNotes("ann", "settings"))
		said, err := s.Kubectl("ann", "-n", "adopted", "label", "--overwrite", "configmap/settings", "mode="+tc.mode)
		if (err == nil) != tc.admitted {
			t.Errorf("%s: %v: %s", tc.mode, err, said)
		}
		if told := strings.Contains(said, "Warning: ") && strings.Contains(said, "metadata.labels.mode"); told != tc.told {
			t.Errorf("%s: warned %v: %s", tc.mode, told, said)
		}
		if s.Metric("gitgate_untraced_total", `action="`+tc.mode+`"`) == untraced {
			t.Errorf("%s: it is not counted", tc.mode)
		}
		key := map[string]string{"audit": "audited", "warn": "warned", "deny": "denied"}[tc.mode]
		s.noted("ann", "settings", notes, func(note map[string]string) bool {
			return strings.HasPrefix(note[key], "trace/") && note["class"] == "untraced"
		})
		hook := s.Get("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "", world.WebhookName)
		hooks, _ := dig(hook, "webhooks").([]any)
		if got := hooks[0].(map[string]any)["failurePolicy"]; got != tc.failurePolicy {
			t.Errorf("%s: failurePolicy %v, want %s", tc.mode, got, tc.failurePolicy)
		}
		if s.GateCA() != authority {
			t.Errorf("%s: the upgrade took the gate's authority away", tc.mode)
		}
	}
	// From now on an upgrade by hand is a change that no commit declares; and there is a way back.
	said, err := s.RunHelm("ann", "upgrade", hourly+"mode: warn")
	if err == nil {
		t.Errorf("it is admitted: %s", said)
	}
	wantAll(t, said, "ClusterRole gitgate", "no accepted commit declares it")
	if said, err := s.Kubectl("ann", "delete", "validatingwebhookconfiguration", world.WebhookName); err != nil {
		t.Fatal(said)
	}
	s.Eventually("the API server still asks the gate", s.Probe)
	if said, err = s.RunHelm("ann", "upgrade", hourly+"mode: deny"); err != nil {
		t.Fatal(said)
	}
	s.Rollout()
}

// noted wants the API server's audit log to have more than the notes that it had, and the last one to be such. The API server may write
// it after it has answered.
func (s *scene) noted(user, name string, had int, such func(map[string]string) bool) {
	s.t.Helper()
	s.Eventually("the API server's audit log", func() error {
		all := s.auditNotes(user, name)
		if len(all) <= had {
			return fmt.Errorf("it has no more than %d notes", had)
		}
		if last := all[len(all)-1]; !such(last) {
			return fmt.Errorf("it has %v", last)
		}
		return nil
	})
}

// auditNotes are what the gate has told the API server's audit log of the requests of a user for an object of the scene.
func (s *scene) auditNotes(user, name string) []map[string]string {
	s.t.Helper()
	var notes []map[string]string
	text, err := os.ReadFile(s.AuditLog())
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e struct {
			User struct{ Username string }
			Ref  struct{ Namespace, Name string } `json:"objectRef"`
			Note map[string]string                `json:"annotations"`
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.User.Username != user || e.Ref.Namespace != s.name || e.Ref.Name != name {
			continue
		}
		note := map[string]string{}
		for key, value := range e.Note {
			if key, ok := strings.CutPrefix(key, "gate.gitgate.dev/"); ok {
				note[key] = value
			}
		}
		notes = append(notes, note)
	}
	return notes
}

// releaseTest is `helm test`, whose Pod has no identity and asks the gate's Service.
func releaseTest(t *testing.T, w *world.World) {
	w = w.For(t)
	if said, err := w.RunHelm("ann", "test", ""); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	w.StopGate()
	if said, err := w.RunHelm("ann", "test", ""); err == nil {
		t.Errorf("no replica runs: %s", said)
	}
	w.StartGate()
}

// uninstalled is the end of a release in mode deny: once while the gate answers, once while it does not.
func uninstalled(t *testing.T, w *world.World) {
	w = w.For(t)
	secrets := w.As("system:admin", []string{"system:masters"}, "v1 Secret", world.GateNamespace)
	for _, answers := range []bool{true, false} {
		if !answers {
			if err := secrets.Delete(t.Context(), "gitgate-tls", metav1.DeleteOptions{}); err != nil { // it outlives the release
				t.Fatal(err)
			}
			if said, err := w.RunHelm("ann", "install", "mode: deny"); err != nil {
				t.Fatal(said)
			}
			w.StartGate() // both at once, and each would make an authority
			w.Guarded()
			if !serves(t, w, 0).Equal(serves(t, w, 1)) {
				t.Error("the replicas serve different certificates")
			}
			w.KillGate()
			w.Eventually("a change gets in without the gate", func() error {
				if err := w.Probe(); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
					return fmt.Errorf("error: %v", err)
				}
				return nil
			})
		}
		said, err := w.RunHelm("ann", "uninstall", "")
		if err != nil {
			t.Fatalf("answers %v: %v: %s", answers, err, said)
		}
		w.Eventually(fmt.Sprintf("answers %v: a change is refused", answers), w.Probe)
		for of, name := range map[string]string{
			"admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration": "gitgate", "rbac.authorization.k8s.io/v1 ClusterRole": "gitgate",
			"rbac.authorization.k8s.io/v1 ClusterRoleBinding": "gitgate-remove",
		} {
			if o := w.Get(of, "", name); o != nil {
				t.Errorf("answers %v: %s %s is left", answers, of, name)
			}
		}
		w.KillGate()
	}
}
