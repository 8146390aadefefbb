package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/webhook"
)

// twenty are 20 policies in Rego and CEL that all look at a Deployment or its Pods.
func twenty(t testing.TB) *policies.Engine {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("gitgate.yaml", "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\ncel: {implicitBinding: true}\npolicies: [{path: policies/}]\n")
	for i := range 10 {
		write(fmt.Sprintf("policies/p%d.rego", i), fmt.Sprintf(`package p%d
import rego.v1
deny contains msg if {
	input.kind == "Deployment"
	some c in input.spec.template.spec.containers
	endswith(c.image, ":latest%d")
	msg := sprintf("%%s: image %%s", [c.name, c.image])
}
`, i, i))
		write(fmt.Sprintf("policies/v%d.yaml", i), fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: v%d}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]}
  validations:
    - expression: "object.spec.template.spec.containers.all(c, !c.image.endsWith(':latest%d'))"
      message: "no"
    - expression: "object.spec.replicas < %d"
`, i, i, 100+i))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	doors := openDoors(t, filepath.Join(dir, bundle.FileName))
	if n := len(doors.serve.Engine.Policies()); n != 20 {
		t.Fatalf("%d policies, want 20", n)
	}
	return doors.serve.Engine
}

func deploymentReview(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../webhook/testdata/reviews/argo-update-deployment.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func servedBy(t testing.TB, e *policies.Engine) *webhook.Handler {
	t.Helper()
	h, err := webhook.New(webhook.Options{State: func() *webhook.State { return &webhook.State{Engine: e, Digest: "sha256:d"} }, Tell: tell, Budget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The handler alone, with an update of a Deployment of 10 kB: with 20 policies that have nothing against it, and with what
// examples/fleet has.
func BenchmarkHandler(b *testing.B) {
	for _, bc := range []struct {
		name   string
		engine *policies.Engine
		body   string
	}{
		{"twenty-policies", twenty(b), deploymentReview(b)},
		{"example", openDoors(b, "../../examples/fleet/gitgate.yaml").serve.Engine, strings.ReplaceAll(strings.ReplaceAll(deploymentReview(b), `"labels":{"app":"web","env":"prod"}`, `"labels":{"app":"web","team":"storefront"}`), `"labels":{"app":"web"}},"spec":{`, `"labels":{"app":"web","team":"storefront"}},"spec":{`)},
	} {
		b.Run(bc.name, func(b *testing.B) { benchmarkHandler(b, servedBy(b, bc.engine), bc.body) })
	}
}

func benchmarkHandler(b *testing.B, h *webhook.Handler, body string) {
	var mu sync.Mutex
	var took []time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r := httptest.NewRequest(http.MethodPost, "/validate?timeout=10s", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		began := time.Now()
		h.ServeHTTP(w, r)
		d := time.Since(began)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
		mu.Lock()
		took = append(took, d)
		mu.Unlock()
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// Over HTTPS and HTTP/2, 16 requests at a time, beside a handler that reads the body and answers yes.
func BenchmarkServer(b *testing.B) {
	body := []byte(deploymentReview(b))
	empty := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}}`)
	})
	for _, tc := range []struct {
		name    string
		handler http.Handler
	}{{"empty", empty}, {"twenty-policies", servedBy(b, twenty(b))}} {
		b.Run(tc.name, func(b *testing.B) {
			s := httptest.NewUnstartedServer(tc.handler)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}, ForceAttemptHTTP2: true}}
			work := make(chan struct{})
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range work {
						if err := send(b.Context(), client, s.URL, body); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reviews/s")
		})
	}
}

func send(ctx context.Context, client *http.Client, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/validate?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}
