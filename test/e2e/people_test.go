package e2e

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/world"
)

// byHand is what a person with every permission of the API server tries with kubectl.
func byHand(t *testing.T, w *world.World) {
	s := newScene(t, w, "by-hand")
	commit := s.applied("web", map[string]string{
		"web.yaml":    deployment("by-hand", "web", 2, image),
		"config.yaml": configMap("by-hand", "settings", "colour", "blue"),
	})
	declared := s.File("web.yaml", deployment("by-hand", "web", 2, image))
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"scale", []string{"scale", "deployment/web", "--replicas=3"}, []string{"Deployment by-hand/web", "spec.replicas", "3", "2", "apps/by-hand/web.yaml:7", short(commit), "Test Author"}},
		{"edit", []string{"edit", "deployment/web"}, []string{"Deployment by-hand/web", "web:evil", "web:1.0.0", "apps/by-hand/web.yaml:16", short(commit), "Test Author", "merge"}},
		{"set image", []string{"set", "image", "deployment/web", "web=registry.example.com/shop/web:evil"}, []string{"Deployment by-hand/web", "web:evil", "apps/by-hand/web.yaml:16"}},
		{"label", []string{"label", "deployment/web", "owner=ann"}, []string{"Deployment by-hand/web", "metadata.labels.owner", `"ann"`, "apps/by-hand/web.yaml"}},
		{"patch of a value", []string{"patch", "configmap/settings", "--type=merge", "-p", `{"data":{"colour":"red"}}`}, []string{"ConfigMap by-hand/settings", "data.colour", `"red"`, `"blue"`, "apps/by-hand/config.yaml:6", short(commit)}},
		{"apply of the declared manifest", []string{"apply", "--server-side", "--force-conflicts", "-f", declared}, []string{"Deployment by-hand/web", "as it is written is what commit", "Flux's kustomize-controller applies it, not ann", "apps/by-hand/web.yaml:4"}},
		{"rollout restart", []string{"rollout", "restart", "deployment/web"}, []string{"Deployment by-hand/web", "kubectl.kubernetes.io/restartedAt", "web.yaml"}},
		{"delete", []string{"delete", "deployment/web", "--wait=false"}, []string{"Deployment by-hand/web", "ann may not delete", "Git declares it at apps/by-hand/web.yaml:4", "delete it in apps/by-hand/web.yaml:4 and merge", short(commit), "Test Author"}},
		{"a new object", []string{"create", "configmap", "mine", "--from-literal=a=b"}, []string{"ConfigMap by-hand/mine", "no accepted commit declares", "gitgate breakglass"}},
		{"a Pod", []string{"run", "shell", "--image=registry.example.com/shell:1"}, []string{"Pod by-hand/shell", "no accepted commit declares"}},
		{"deletion of the namespace", []string{"delete", "namespace", "by-hand", "--wait=false"}, []string{"Namespace by-hand", "apps/by-hand/_namespace.yaml:3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			said, err := s.Kubectl("ann", append([]string{"-n", "by-hand"}, tc.args...)...)
			if err == nil {
				t.Fatalf("it is admitted: %s", said)
			}
			wantAll(t, said, append(tc.want, "gate.gitgate.dev")...)
		})
	}
	web := s.Get("apps/v1 Deployment", "by-hand", "web")
	if got := dig(web, "spec", "replicas"); got != int64(2) {
		t.Errorf("replicas: %v", got)
	}
	if labels := web.GetLabels(); labels["owner"] != "" {
		t.Errorf("labels: %v", labels)
	}
}

// secretsAreNotTold looks for the values of a Secret in what a person is told and in the gate's log.
func secretsAreNotTold(t *testing.T, w *world.World) {
	s := newScene(t, w, "quiet")
	s.applied("a Secret", map[string]string{"secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: quiet}\nstringData: {password: DECLAREDSECRET}\n"})
	said, err := s.Kubectl("ann", "-n", "quiet", "patch", "secret/key", "--type=merge", "-p", `{"stringData":{"password":"INTRUDERSECRET"}}`)
	if err == nil {
		t.Fatalf("it is admitted: %s", said)
	}
	wantAll(t, said, "Secret quiet/key", "data.password", "apps/quiet/secret.yaml:4")
	for _, value := range []string{"DECLAREDSECRET", "INTRUDERSECRET", "REVDTEFSRURTRUNSRVQ", "SU5UUlVERVJTRUNSRVQ"} {
		if strings.Contains(said, value) {
			t.Errorf("a value of the Secret is told: %s", said)
		}
		for _, line := range s.GateLog() {
			if strings.Contains(line, value) {
				t.Errorf("a value of the Secret is in the log: %s", line)
			}
		}
	}
}
