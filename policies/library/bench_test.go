package library_test

import (
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/library"
)

// benchDeployment keeps the restricted standard, or breaks much of it.
func benchDeployment(good bool) map[string]any {
	container := map[string]any{"name": "web", "image": "registry.example.com/web:1.4.2", "ports": []any{map[string]any{"containerPort": int64(8080)}},
		"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}}}
	spec := map[string]any{
		"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
		"containers":      []any{container, container}, "volumes": []any{map[string]any{"name": "cache", "emptyDir": map[string]any{}}},
	}
	if !good {
		delete(spec, "securityContext")
		spec["hostNetwork"] = true
		container["securityContext"] = map[string]any{"privileged": true}
	}
	return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web", "namespace": "shop"},
		"spec": map[string]any{"replicas": int64(1), "template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": spec}}}
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name, library string
		good          bool
	}{{"pod-security good", "pod-security/restricted", true}, {"pod-security bad", "pod-security/restricted", false}, {"best-practices good", "best-practices", true}} {
		b.Run(c.name, func(b *testing.B) {
			e := engineOf(b, c.library, library.Latest)
			content := benchDeployment(c.good)
			for b.Loop() {
				d := e.Decide(b.Context(), creation(content, policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}))
				if c.library != "best-practices" && (d.Verdict() == policies.Allow) != c.good {
					b.Fatalf("verdict %s", d.Verdict())
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compiled(b, "pod-security/restricted", library.Latest)
		compiled(b, "best-practices", library.Latest)
	}
}
