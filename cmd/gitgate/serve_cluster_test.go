package main

import (
	"log/slog"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"

	"gitgate.dev/gitgate/cluster"
)

func TestAConfigurationForAnotherVersionThanTheClustersIsTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ live, configured, want string }{
		{"v1.36.3", "1.36", ""},
		{"v1.36.0-eks-a1b2c3", "1.36", ""},
		{"v1.37.1", "1.36", "kubernetes=1.36 cluster=1.37"},
		{"v1.3.6", "1.36", "kubernetes=1.36 cluster=1.3"},
		{"", "1.36", "cannot be compared"},
	} {
		kube := fake.NewClientset()
		kube.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: tc.live}
		var log strings.Builder
		g := &gate{cluster: cluster.New(cluster.Clients{Kubernetes: kube}, nil), log: slog.New(slog.NewTextHandler(&log, nil))}
		g.compareVersions(t.Context(), tc.configured)
		if got := log.String(); tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s beside %s: told %q, want %q", tc.configured, tc.live, got, tc.want)
		}
	}
}
