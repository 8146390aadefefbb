package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

var metricName = regexp.MustCompile("`(gitgate_[a-z_]+)`")

// TestEachMetricThatIsDocumentedIsThere asks a gate that has judged something.
func TestEachMetricThatIsDocumentedIsThere(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	g := startGate(t, "--repository", "file://"+f.bare, "--state", t.TempDir())
	if ok, said := g.asks(t, flux, "1"); !ok {
		t.Fatal(said)
	}
	if ok, _ := g.asks(t, "ann", "2"); ok {
		t.Error("a person is admitted")
	}
	if resp, err := g.client.Post("https://"+g.address+"/validate", "application/json", strings.NewReader("{}")); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("what is no review: %v", err)
	}
	_, text := g.get(t, "/metrics")
	page, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range metricName.FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = true
		if !strings.Contains(text, "\n# TYPE "+m[1]+" ") {
			t.Errorf("%s is documented, and not there", m[1])
		}
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok && strings.HasPrefix(name, "gitgate_") {
			if name, _, _ = strings.Cut(name, " "); !documented[name] {
				t.Errorf("%s is there, and not documented", name)
			}
		}
	}
	for _, line := range []string{
		`gitgate_admission_requests_total{allowed="true",dry_run="false",operation="CREATE",resource="configmaps",verdict="allow"} 1`,
		`gitgate_admission_requests_total{allowed="false",dry_run="false",operation="CREATE",resource="configmaps",verdict="deny"} 1`,
		`gitgate_traced_total{class="reconciler"} 1`, `gitgate_traced_total{class="untraced"} 1`,
		`gitgate_commit_to_admission_seconds_count 1`, `gitgate_index_objects 1`, `gitgate_bundle_failing 0`, `gitgate_admission_malformed_total 1`,
		`gitgate_source_held{source="fleet"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the metrics do not say %s", line)
		}
	}
}

func TestProfilesAreServedWhenTheyAreAskedForAlone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gitgate.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies: [{library: pod-security/baseline}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]int{"--pprof=false": http.StatusNotFound, "--pprof": http.StatusOK} {
		g := startGate(t, "--config", file, flag)
		if code, _ := g.get(t, "/debug/pprof/"); code != want {
			t.Errorf("%s: HTTP %d, want %d", flag, code, want)
		}
		if resp, err := g.client.Get("https://" + g.address + "/debug/pprof/"); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: profiles on the webhook's port: %v", flag, err)
		}
		g.stop()
	}
}

// TestEachRequestIsATraceWhereTheEnvironmentNamesACollector has a collector that keeps what it is sent.
func TestEachRequestIsATraceWhereTheEnvironmentNamesACollector(t *testing.T) {
	var mu sync.Mutex
	spans := map[string]string{} // name to trace
	var sent []byte
	c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var batch collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &batch)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, body...)
		for _, rs := range batch.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					spans[s.Name] = string(s.TraceId)
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer c.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL) // the exporter reads it itself
	file := filepath.Join(t.TempDir(), "gitgate.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies: [{library: best-practices, action: warn}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := startGateIn(t, os.Getenv, "--config", file)
	if ok, said := g.asks(t, "ann", "PRIVATEVALUE"); !ok {
		t.Fatal(said)
	}
	g.stop() // which sends what is left
	mu.Lock()
	defer mu.Unlock()
	const whole = "POST /validate"
	for _, name := range []string{whole, "decode", "judge"} {
		if spans[name] == "" || spans[name] != spans[whole] {
			t.Errorf("the collector has no span %s of the request: %q", name, spans)
		}
	}
	if strings.Contains(string(sent), "PRIVATEVALUE") {
		t.Error("a trace has a value of the object")
	}
}
