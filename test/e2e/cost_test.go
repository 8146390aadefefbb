package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

var (
	measure = flag.Bool("measure", false, "measure what the gate adds to a request, beside an empty webhook")
	rounds  = flag.Int("rounds", 4, "how often each side has its turn, with -measure")
	profile = flag.String("gate-profile", "", "write the gate's CPU profile of one more turn to this file, with -measure")
)

// What judges is what examples/fleet has, and the trace.
const costlyConfig = `policies:
  - path: policies/
  - library: pod-security/baseline
  - library: best-practices/plaintext-secrets
  - library: best-practices/rbac-cluster-admin
  - {library: best-practices/network-policy, action: deny}
writers: [{name: measure, users: [measure], writes: [{kinds: [ConfigMap, Deployment]}]}]
`

// It is paused, so that no controller makes Pods of it while requests are measured.
const costly = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: cost, labels: {app: web, team: platform}}
spec:
  replicas: 1
  paused: true
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, team: platform}}
    spec:
      containers:
        - name: web
          image: registry.example.com/storefront/web:2.14.0
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}}
`

// TestWhatTheGateAdds measures requests to one API server without a webhook, with one that answers at once, and with the gate, in
// turn. It asserts nothing: the figures are told with -measure -v.
func TestWhatTheGateAdds(t *testing.T) {
	if !*measure {
		t.Skip("measures only with -measure")
	}
	files := map[string]string{
		"clusters/prod/ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: cost, labels: {team: platform}}\n", "clusters/prod/web.yaml": costly,
	}
	policies, err := filepath.Glob("../../examples/fleet/policies/*")
	if err != nil || len(policies) == 0 {
		t.Fatal("policies of the example: ", err)
	}
	for _, name := range policies {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files["policies/"+filepath.Base(name)] = string(text)
	}
	w := start(t, world.Options{Config: costlyConfig, Files: files, Gate: []string{"--pprof"}})
	groups := controlplane.ServiceAccountGroups(world.FluxNamespace)
	web, err := json.Marshal(object(t, costly))
	if err != nil {
		t.Fatal(err)
	}
	w.Unguarded(func() {
		for _, args := range [][]string{{"create", "namespace", "cost"}, {"create", "clusterrolebinding", "measure", "--clusterrole=cluster-admin", "--user=measure", "--user=" + world.FluxUser}} {
			if said, err := w.Kubectl("ann", args...); err != nil {
				t.Fatal(said)
			}
		}
	})
	maps, deployments, drifting := w.As("measure", nil, "v1 ConfigMap", "cost"), w.As(world.FluxUser, groups, "apps/v1 Deployment", "cost"), w.As("measure", nil, "apps/v1 Deployment", "cost")
	n := 0
	apply := func() error {
		force := true
		_, err := deployments.Patch(t.Context(), "web", types.ApplyPatchType, web, metav1.PatchOptions{FieldManager: "kustomize-controller", Force: &force})
		return err
	}
	requests := []struct {
		name   string
		before func() error // what is not measured; nil for nothing
		do     func() error
	}{
		{"create configmap", nil, func() error {
			n++
			_, err := maps.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": fmt.Sprint("m-", n), "namespace": "cost", "labels": map[string]any{"team": "platform"}}, "data": map[string]any{"k": "v"}}}, metav1.CreateOptions{})
			return err
		}},
		{"apply deployment", nil, apply},
		{"apply deployment whose template has drifted", func() error {
			drift := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"registry.example.com/storefront/web:2.13.0"}]}}}}`)
			_, err := drifting.Patch(t.Context(), "web", types.StrategicMergePatchType, drift, metav1.PatchOptions{})
			return err
		}, apply},
	}
	emptyURL := startEmpty(t, w)

	took := map[string][]time.Duration{}
	round := func(door string) func() {
		return func() {
			for _, r := range requests {
				for i := range 220 {
					if r.before != nil {
						if err := r.before(); err != nil {
							t.Fatalf("before %s, %s: %v", r.name, door, err)
						}
					}
					began := time.Now()
					if err := r.do(); err != nil {
						t.Fatalf("%s, %s: %v", r.name, door, err)
					}
					if i >= 20 { // the first find connections and caches cold
						took[r.name+door] = append(took[r.name+door], time.Since(began))
					}
				}
			}
		}
	}
	for range *rounds {
		w.Unguarded(round("none"))
		w.GuardedBy(emptyURL, round("empty"))
		round("gate")()
	}
	if *profile != "" {
		w.ProfileGate(*profile, func() { round("gate, under the profiler")() })
	}
	for _, r := range requests {
		at := func(door string, share float64) time.Duration {
			all := took[r.name+door]
			slices.Sort(all)
			return all[int(float64(len(all)-1)*share)]
		}
		for _, share := range []float64{.5, .99} {
			none, one, gate := at("none", share), at("empty", share), at("gate", share)
			t.Logf("%s p%v: none %s, empty webhook %s, gate %s; added time %.2f of the empty webhook's", r.name, share*100, none, one, gate, float64(gate-none)/float64(one-none))
		}
	}
	if n := w.Metric("gitgate_admission_duration_seconds_count"); n > 0 {
		t.Logf("the gate, from head to answer: %v times, mean %.3f ms", n, w.Metric("gitgate_admission_duration_seconds_sum")/n*1000)
	}
	for _, stage := range []string{"read", "decode", "wait", "judge", "index", "freshness"} {
		of := `stage="` + stage + `"`
		if n := w.Metric("gitgate_admission_stage_duration_seconds_count", of); n > 0 {
			t.Logf("the gate, %s: %v times, mean %.3f ms", stage, n, w.Metric("gitgate_admission_stage_duration_seconds_sum", of)/n*1000)
		}
	}
}

// startEmpty starts the webhook that admits everything, which test/bench has, as a program of its own with the gate's certificate.
func startEmpty(t *testing.T, w *world.World) string {
	t.Helper()
	dir := t.TempDir()
	bench, address := filepath.Join(dir, "bench"), freeAddress(t)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bench, "gitgate.dev/gitgate/test/bench").CombinedOutput(); err != nil {
		t.Fatalf("building the empty webhook: %v\n%s", err, out)
	}
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, content := range map[string][]byte{cert: w.GateTLS("tls.crt"), key: w.GateTLS("tls.key")} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.Run("empty-webhook", exec.Command(bench, "-admit-everything", address+","+cert+","+key))
	return "https://" + address + "/validate"
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
