package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/test/gitserver"
)

const chartConfig = `apiVersion: gitgate.dev/v1alpha1
kind: Gate
sources: [{name: fleet, url: "https://git.example.com/platform/fleet.git", branch: main, path: clusters/prod}]
reconcilers: [{flux: {namespace: flux-system}}]
policies: [{library: pod-security/restricted}, {library: best-practices, action: warn}]
`

const chartRelease = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 1m, url: "https://git.example.com/platform/fleet.git", ref: {branch: main}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: gitgate, namespace: gitgate}
spec:
  interval: 10m
  chart: {spec: {chart: charts/gitgate, sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}}}
  values: VALUES
`

// TestTheChartPassesItsOwnCheck renders the chart as Flux would and judges it by the schema and the Pod Security Standard.
func TestTheChartPassesItsOwnCheck(t *testing.T) {
	const git = `git: {repository: "https://git.example.com/platform/fleet.git"}`
	for _, tc := range []struct {
		name, values string
		code         int
		want         []string // parts of what diff and check say
	}{
		{"as it comes", "{" + git + "}", 0, []string{"+ ValidatingWebhookConfiguration gitgate ", "+ PodDisruptionBudget gitgate/gitgate ", "+ CustomResourceDefinition breakglasses.gitgate.dev "}},
		{"with cert-manager, monitoring and a client authority", "{" + git + ", mode: deny, tls: {source: cert-manager, certManager: {issuer: {name: ca}}, client: {secret: apiserver, names: [kube-apiserver]}}, serviceMonitor: {enabled: true}}", 0, []string{"+ Certificate gitgate/gitgate ", "+ ServiceMonitor gitgate/gitgate "}},
		{"with a Secret and credentials of Git", "{" + git + ", replicas: 1, tls: {source: secret, secret: gate-tls, caBundle: x}, git: {repository: \"ssh://git@git.example.com/fleet.git\", secret: git}}", 0, []string{"+ Deployment gitgate/gitgate "}},
		{"with its own namespace judged", "{" + git + ", webhook: {ownNamespace: true, kubeSystem: false}}", 0, []string{"+ ValidatingWebhookConfiguration gitgate "}},
		{"with owners of custom kinds", "{" + git + ", rbac: {owners: [{apiGroups: [argoproj.io], resources: [rollouts]}]}}", 0, []string{"+ ClusterRole gitgate "}},
		{"with owners that name no kinds", "{" + git + ", rbac: {owners: [{apiGroups: [argoproj.io]}]}}", 1, []string{"values of chart gitgate: they break the schema: rbac.owners.0: lacks resources"}},
		{"with anchors of trust", "{git: {repository: \"ssh://git@git.example.com/fleet.git\", configAnchor: 5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689, anchors: {fleet: 5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689}}}", 0, []string{"+ Deployment gitgate/gitgate "}},
		{"with an anchor that is no commit", "{git: {repository: \"ssh://git@git.example.com/fleet.git\", configAnchor: main}}", 1, []string{"git.configAnchor"}},
		{"with names of clients and no authority of theirs", "{" + git + ", tls: {client: {names: [kube-apiserver]}}}", 1, []string{"client.secret"}},
		{"with the addresses of API servers", "{" + git + ", networkPolicy: {apiServers: [10.0.0.1/32, \"fd00::1/128\"]}}", 0, []string{"+ NetworkPolicy gitgate/gitgate "}},
		{"with an address that is none", "{" + git + ", networkPolicy: {apiServers: [anywhere]}}", 1, []string{"networkPolicy.apiServers.0"}},
		{"without a repository", "{mode: warn}", 1, []string{"git.repository: "}},
		{"with a value that it does not have", "{" + git + ", modes: warn}", 1, []string{"values of chart gitgate: they break the schema: (root): has modes, which the schema does not know"}},
		{"with a mode that there is not", "{" + git + ", mode: enforce}", 1, []string{"mode: expected one of [audit warn deny]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			values := tc.values
			if strings.Count(values, "git: {") > 1 {
				values = strings.Replace(values, git+", ", "", 1)
			}
			r := gitserver.NewRepo(t)
			r.Commit("before", map[string]string{"gitgate.yaml": chartConfig, "clusters/prod/README.md": "empty\n"})
			r.Git("tag", "before")
			files := map[string]string{"clusters/prod/flux.yaml": strings.Replace(chartRelease, "VALUES", values, 1)}
			root := filepath.Join("..", "..", "charts")
			err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				text, err := os.ReadFile(name)
				rel, _ := filepath.Rel(filepath.Dir(root), name)
				files[filepath.ToSlash(rel)] = string(text)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			r.Commit("the chart", files)
			code, out, said := runIn(t, r.Dir, "", "check", "--base", "before", "--ignore-missing-schemas")
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			_, plan, _ := runIn(t, r.Dir, "", "diff", "--base", "before")
			wantAll(t, plan+out+said, tc.want...)
			if strings.Contains(out+said, "wildcard") {
				t.Errorf("the chart asks for more than it needs:\n%s%s", out, said)
			}
		})
	}
}

func TestTheChartHasTheManifestsOfBreakGlass(t *testing.T) {
	crds, err := os.ReadFile("../../charts/gitgate/crds/breakglass.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(crds) != breakglass.CRDs {
		t.Error("charts/gitgate/crds/breakglass.yaml is not breakglass/manifests/crds.yaml")
	}
	policy, err := os.ReadFile("../../charts/gitgate/templates/breakglass.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(breakglass.AdmissionPolicy) {
		if strings.Contains(line, "expression:") && !strings.Contains(string(policy), line) {
			t.Errorf("the chart's admission policy does not say %s", line)
		}
	}
}
