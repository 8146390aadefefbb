package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

// neverAsked is what the chart's matchConditions keep from the webhook, as the API server itself evaluates them: all of it has
// happened by now.
func neverAsked(t *testing.T, w *world.World) {
	s := newScene(t, w, "quiet-ones")
	if n := len(s.List("coordination.k8s.io/v1 Lease", "kube-node-lease")); n == 0 {
		t.Error("no lease was written")
	}
	if n := len(s.List("v1 Event", "")); n == 0 {
		t.Error("no event was written")
	}
	for _, resource := range []string{"leases.coordination.k8s.io", "events", "events.events.k8s.io", "serviceaccounts/token", "subjectaccessreviews.authorization.k8s.io", "tokenreviews.authentication.k8s.io"} {
		if n := s.Metric("gitgate_admission_requests_total", `resource="`+resource+`"`); n > 0 {
			t.Errorf("%s reached the webhook %v times", resource, n)
		}
	}
	for _, resource := range []string{"endpoints", "endpointslices.discovery.k8s.io"} { // others than their controllers may delete them
		if n := s.Metric("gitgate_admission_requests_total", `resource="`+resource+`"`, `operation="CREATE"`); n > 0 {
			t.Errorf("%s of their controllers reached the webhook %v times", resource, n)
		}
	}
	if n := s.Metric("gitgate_admission_requests_total", `resource="nodes"`, `operation="CREATE"`); n > 0 {
		t.Error("a node that registers itself reached the webhook")
	}
	if s.Metric("gitgate_traced_total", `class="derived"`) == 0 || s.Metric("gitgate_traced_total", `class="reconciler"`) == 0 {
		t.Error("controllers and the reconciler are not counted")
	}
}

// auditLog is what the API server keeps of the gate's answers.
func auditLog(t *testing.T, w *world.World) {
	s := newScene(t, w, "audited")
	commit := s.applied("settings", map[string]string{"config.yaml": configMap("audited", "settings", "n", "one")})
	if said, err := s.Kubectl("ann", "-n", "audited", "label", "configmap/settings", "owner=ann"); err == nil {
		t.Fatal(said)
	}
	type event struct {
		Verb string
		User struct{ Username string }
		Ref  struct{ Resource, Namespace, Name string } `json:"objectRef"`
		Note map[string]string                          `json:"annotations"`
	}
	var events []event
	s.Eventually("the audit log does not have both", func() error {
		text, err := os.ReadFile(s.AuditLog())
		if err != nil {
			return err
		}
		events = nil
		users := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Ref.Namespace == "audited" && e.Ref.Resource == "configmaps" && e.Ref.Name == "settings" {
				events = append(events, e)
				users[e.User.Username] = true
			}
		}
		if !users["ann"] || !users[world.FluxUser] {
			return fmt.Errorf("%d events of %v", len(events), users)
		}
		return nil
	})
	for _, e := range events {
		note := func(key string) string { return e.Note["gate.gitgate.dev/"+key] }
		switch {
		case e.User.Username == "ann" && (note("verdict") != "deny" || !strings.HasPrefix(note("denied"), "trace/") || note("class") != "untraced"):
			t.Errorf("of the denial: %v", e.Note)
		case e.User.Username == world.FluxUser && (note("verdict") != "allow" || note("commit") != commit || note("class") != "reconciler" || !strings.Contains(note("unit"), "flux-system/audited")):
			t.Errorf("of the admission: %v", e.Note)
		}
		if !strings.HasPrefix(note("policy-digest"), "sha256:") {
			t.Errorf("policy digest: %v", e.Note)
		}
	}
}

// modes is a cluster that is adopted namespace by namespace: what would be denied is told, or only recorded.
func modes(t *testing.T, w *world.World) {
	s := newScene(t, w, "modes")
	before := s.Repo.Git("show", "HEAD:gitgate.yaml") + "\n"
	s.applied("settings", map[string]string{"config.yaml": configMap("modes", "settings", "n", "one")})
	for _, tc := range []struct {
		action         string
		admitted, told bool
	}{{"warn", true, true}, {"audit", true, false}, {"deny", false, false}} {
		s.configure(before + "modes: [{policies: [trace], namespaces: [modes], action: " + tc.action + "}]\n")
		said, err := s.Kubectl("ann", "-n", "modes", "label", "--overwrite", "configmap/settings", "mode="+tc.action+"-1")
		if (err == nil) != tc.admitted {
			t.Errorf("%s: %v: %s", tc.action, err, said)
		}
		if told := strings.Contains(said, "Warning: ") && strings.Contains(said, "metadata.labels.mode"); told != tc.told {
			t.Errorf("%s: warned %v: %s", tc.action, told, said)
		}
	}
	s.configure(before)
}

// configure commits another gitgate.yaml and returns when it is in force.
func (s *scene) configure(text string) {
	s.t.Helper()
	commit := s.Push("gitgate.yaml", map[string]string{"gitgate.yaml": text})
	var asked time.Time
	s.Eventually("the configuration is not in force", func() error {
		if time.Since(asked) > time.Second { // what it was fetching when it was asked may be older
			s.HurryGate()
			asked = time.Now()
		}
		if s.Metric("gitgate_bundle_info", `commit="`+commit+`"`) != 1 {
			return fmt.Errorf("commit %s is not", short(commit))
		}
		return nil
	})
}

// coldStart is a cluster of which everything has stopped, the gate among it, and comes up with the gate last. With it come the
// manifests for the API server itself, which see what no registered webhook sees.
func coldStart(t *testing.T, w *world.World) {
	s := newScene(t, w, "cold")
	s.applied("web", map[string]string{"web.yaml": deployment("cold", "web", 1, image)})
	s.has("apps/v1 Deployment", "web", int64(1), "status", "availableReplicas")
	dir := t.TempDir() + "/static"
	said, err := s.Gitgate("ann", "install", "--static", dir, "--url", s.GateURL(), "--ca-file", s.File("ca.crt", s.GateCA()), "--user", world.FluxUser, "--user", world.GateUser)
	if err != nil {
		t.Fatal(said)
	}

	s.HaltFlux()
	s.KillGate()
	for _, name := range []string{controlplane.Scheduler, controlplane.ControllerManager, controlplane.APIServer, controlplane.Etcd} {
		s.Halt(name)
	}
	s.AddAPIServerFlags("--admission-control-config-file="+dir+"/admission.yaml", "--feature-gates=ManifestBasedAdmissionControlConfig=true")
	for _, name := range []string{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager, controlplane.Scheduler} {
		if err := s.Resume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	// Without the gate nothing that it guards can be written, and what it needs itself can.
	s.Eventually("a change gets in without the gate", func() error {
		said, err := s.Kubectl("ann", "-n", "cold", "label", "deployment/web", "owner=ann")
		if err == nil || !strings.Contains(said, "failed calling webhook") {
			return because(fmt.Errorf("error: %v", err), said)
		}
		return nil
	})
	pods := s.List("v1 Pod", world.GateNamespace)
	if len(pods) == 0 {
		t.Fatal("the gate's Deployment has no Pod")
	}
	if said, err := s.Kubectl("ann", "-n", world.GateNamespace, "delete", "pod", pods[0].GetName(), "--wait=false"); err != nil {
		t.Fatal(said)
	}
	s.Eventually("the gate's own Pod does not come back", func() error {
		now := s.List("v1 Pod", world.GateNamespace)
		for _, p := range now {
			if p.GetName() == pods[0].GetName() || dig(&p, "status", "phase") != "Running" {
				return fmt.Errorf("%s is %v", p.GetName(), dig(&p, "status", "phase"))
			}
		}
		if len(now) != len(pods) {
			return fmt.Errorf("%d Pods", len(now))
		}
		return nil
	})
	if _, err := s.As("system:kube-scheduler", nil, "coordination.k8s.io/v1 Lease", "kube-system").Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": map[string]any{"name": "kube-scheduler", "namespace": "kube-system"}}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("a lease waits for the gate: %v", err)
	}
	nodesComeUp(t, s)

	s.StartGate()
	s.Guarded()
	nodesAreJudged(t, s)
	if err := s.StartFlux(); err != nil {
		t.Fatal(err)
	}
	s.applied("more", map[string]string{"web.yaml": deployment("cold", "web", 2, image)})
	s.has("apps/v1 Deployment", "web", int64(2), "status", "availableReplicas")
	static(t, s)
	upgraded(t, s, dir)
}

// upgraded is an API server of the next release beside the components of the one before. It reads manifests without being asked to.
func upgraded(t *testing.T, s *scene, manifests string) {
	s.Halt(controlplane.APIServer)
	s.UpgradeAPIServer(controlplane.Next, "--admission-control-config-file="+manifests+"/admission.yaml")
	if err := s.Resume(t.Context(), controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	said, err := s.Kubectl("ann", "get", "--raw", "/version")
	if err != nil {
		t.Fatal(said)
	}
	wantAll(t, said, `"gitVersion": "v`+controlplane.Next+".")
	s.Guarded()
	s.configure(strings.Replace(s.Repo.Git("show", "HEAD:gitgate.yaml"), `"1.36"`, `"`+controlplane.Next+`"`, 1) + "\n")
	s.applied("upgraded", map[string]string{"web.yaml": deployment("cold", "web", 1, image), "db.yaml": statefulSet("cold", "db")})
	s.has("apps/v1 StatefulSet", "db", int64(1), "spec", "updateStrategy", "rollingUpdate", "maxUnavailable") // a default that this release has
	s.has("apps/v1 Deployment", "web", int64(1), "status", "availableReplicas")
	if said, err := s.Kubectl("ann", "-n", "cold", "scale", "deployment/web", "--replicas=3"); err == nil {
		t.Errorf("it is admitted: %s", said)
	} else {
		wantAll(t, said, "gate.gitgate.dev", "spec.replicas", "apps/cold/web.yaml:7")
	}
	static(t, s)
}

func statefulSet(namespace, name string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: %s, namespace: %s}
spec:
  serviceName: %[1]s
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: db, image: registry.example.com/shop/db:1}]}
`, name, namespace)
}

// static is what only manifests for the API server itself hold.
func static(t *testing.T, s *scene) {
	for _, tc := range []struct {
		name, user string
		args       []string
		want       []string
	}{
		{"a person removes the gate's webhook", "ann", []string{"delete", "validatingwebhookconfiguration", world.WebhookName}, []string{"webhook configurations and admission policies are written by the reconciler alone"}},
		{"a person removes the policy of grants", "ann", []string{"delete", "validatingadmissionpolicybinding", "breakglass.gitgate.dev"}, []string{"written by the reconciler alone"}},
		{"the reconciler's stolen token removes the gate's webhook", world.FluxUser, []string{"delete", "validatingwebhookconfiguration", world.WebhookName}, []string{"admission.gitgate.static.k8s.io", "ValidatingWebhookConfiguration gitgate"}},
	} {
		if said, err := s.Kubectl(tc.user, tc.args...); err == nil {
			t.Errorf("%s: admitted: %s", tc.name, said)
		} else {
			wantAll(t, said, tc.want...)
		}
	}
	// The gate keeps its own authority in its own webhook configuration, and writes nothing else there.
	bundle := base64.StdEncoding.EncodeToString([]byte(s.GateCA() + "\n"))
	for patch, admitted := range map[string]bool{
		`[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"` + bundle + `"}]`: true,
		`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`:                 false,
	} {
		if said, err := s.Kubectl(world.GateUser, "patch", "validatingwebhookconfiguration", world.WebhookName, "--type=json", "-p", patch); (err == nil) != admitted {
			t.Errorf("the gate writes %s: admitted %v: %s", patch, err == nil, said)
		}
	}
}
