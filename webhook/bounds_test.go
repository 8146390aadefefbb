package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/webhook"
)

func TestABodyThatIsTooLargeIsRefusedByItsUID(t *testing.T) {
	h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes)), MaxBody: 64 << 10})
	large := request(configMap + `,"operation":"CREATE","object":{"data":"` + strings.Repeat("x", 100<<10) + `"}`)
	for _, length := range []bool{true, false} {
		r := httptest.NewRequest(http.MethodPost, "/validate", io.MultiReader(strings.NewReader(large)))
		if length {
			r.ContentLength = int64(len(large))
		}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if a := answer(t, w); a.Allowed || a.UID != "u-1" || a.Result.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("length told %v: answer is %+v", length, a)
		}
	}
	if w := post(h, strings.Repeat(" ", 100<<10)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("without a uid: HTTP %d", w.Code)
	}
}

func TestRequestsThatTogetherAreTooLargeAreRefusedAndTheRoomComesBack(t *testing.T) {
	body := request(configMap + "," + created)
	h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes)), MaxInFlight: int64(len(body)) + 10})
	for range 3 {
		if a := answer(t, post(h, body)); !a.Allowed {
			t.Fatalf("answer is %+v", a.Result)
		}
	}
	large := body[:len(body)-1] + strings.Repeat(" ", 100) + "}"
	if w := post(h, large); w.Code != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d: %s", w.Code, w.Body)
	}
	if a := answer(t, post(h, body)); !a.Allowed {
		t.Errorf("afterwards: %+v", a.Result)
	}
}

// A judge that hangs is cut off at the deadline that the API server gives, less the reserve.
func TestAJudgeThatHangsIsUnsureInTime(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		admit     bool
		after     time.Duration
	}{
		{"the budget ends first", "/validate?timeout=30s", false, 3 * time.Second},
		{"the API server's time ends first", "/validate?timeout=2s", false, 1500 * time.Millisecond},
		{"a time that is no time", "/validate?timeout=soon", false, 3 * time.Second},
		{"a time that is less than the reserve", "/validate?timeout=400ms", false, 200 * time.Millisecond},
		{"admitted, as configured", "/validate", true, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Minute) // goroutines that are kept for the next request end
				release := make(chan struct{})
				hangs := func(context.Context, *policies.Change) (policies.Finding, error) {
					<-release
					return policies.Finding{}, nil
				}
				registry := prometheus.NewRegistry()
				metrics, err := webhook.NewMetrics(registry)
				if err != nil {
					t.Fatal(err)
				}
				h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, hangs)), AdmitUnsure: tc.admit, Metrics: metrics})
				began := time.Now()
				a := answer(t, postTo(h, tc.url, request(configMap+","+created)))
				if took := time.Since(began); took != tc.after {
					t.Errorf("answered after %s, want %s", took, tc.after)
				}
				if a.Allowed != tc.admit || a.UID != "u-1" || a.AuditAnnotations["verdict"] != "unsure" {
					t.Errorf("answer is %+v", a)
				}
				if !tc.admit && (a.Result.Code != 503 || strings.Contains(a.Result.Message, "denied") || a.Result.Details.RetryAfterSeconds == 0) {
					t.Errorf("status is %+v", a.Result)
				}
				if tc.admit && (len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "could not judge this change in time")) {
					t.Errorf("warnings are %q", a.Warnings)
				}
				want := "# HELP gitgate_admission_late_total Requests that were not judged within their time.\n# TYPE gitgate_admission_late_total counter\ngitgate_admission_late_total 1\n"
				if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gitgate_admission_late_total"); err != nil {
					t.Error(err)
				}
				close(release)
			})
		})
	}
}

func TestRequestsWaitForAPlaceAndNoneIsLost(t *testing.T) {
	const many = 500
	var running, most atomic.Int64
	busy := func(context.Context, *policies.Change) (policies.Finding, error) {
		n := running.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		time.Sleep(time.Millisecond)
		running.Add(-1)
		return policies.Finding{}, nil
	}
	registry := prometheus.NewRegistry()
	metrics, err := webhook.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, busy)), Concurrency: 16, Budget: time.Minute, Metrics: metrics})
	server := httptest.NewTLSServer(h)
	defer server.Close()
	client := server.Client()
	var wg sync.WaitGroup
	var allowed atomic.Int64
	for i := range many {
		wg.Go(func() {
			body := strings.Replace(request(configMap+","+created), "u-1", fmt.Sprintf("u-%d", i), 1)
			resp, err := client.Post(server.URL, "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var review admissionv1.AdmissionReview
			if err := json.NewDecoder(resp.Body).Decode(&review); err != nil {
				t.Error(err)
				return
			}
			if review.Response.Allowed && string(review.Response.UID) == fmt.Sprintf("u-%d", i) {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != many {
		t.Errorf("%d of %d requests were admitted", allowed.Load(), many)
	}
	if most.Load() > 16 {
		t.Errorf("%d requests were judged at once", most.Load())
	}
	want := `
		# HELP gitgate_admission_requests_total Admission requests that were answered.
		# TYPE gitgate_admission_requests_total counter
		gitgate_admission_requests_total{allowed="true",dry_run="true",operation="CREATE",resource="configmaps",verdict="allow"} 500
	`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gitgate_admission_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestWhenAllPlacesHangTheNextRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // goroutines that are kept for the next request end
		release := make(chan struct{})
		hangs := func(context.Context, *policies.Change) (policies.Finding, error) {
			<-release
			return policies.Finding{}, nil
		}
		h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, hangs)), Concurrency: 1})
		answer(t, post(h, request(configMap+","+created)))
		a := answer(t, post(h, request(configMap+","+created)))
		if a.Allowed || !strings.Contains(a.Result.Message, "too many requests were waiting") {
			t.Errorf("answer is %+v", a.Result)
		}
		close(release)
		synctest.Wait()
		if a := answer(t, post(h, request(configMap+","+created))); !a.Allowed {
			t.Errorf("afterwards: %+v", a.Result)
		}
	})
}

func TestInventedKindsDoNotGrowTheMetricsWithoutBound(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := webhook.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes)), Metrics: metrics})
	for i := range 1000 {
		answer(t, post(h, request(fmt.Sprintf(`"kind":{"group":"x","version":"v1","kind":"K%d"},"resource":{"group":"x","version":"v1","resource":"k%d"},"operation":"CREATE","object":{}`, i, i))))
	}
	if n, err := testutil.GatherAndCount(registry, "gitgate_admission_requests_total"); err != nil || n > 201 {
		t.Errorf("%d series, %v", n, err)
	}
}
