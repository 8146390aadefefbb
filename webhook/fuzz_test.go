package webhook_test

import (
	"encoding/json"
	"net/http"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/webhook"
)

// Whatever comes in, the handler answers; and it lets in nothing that is no AdmissionReview of the same uid.
func FuzzHandler(f *testing.F) {
	for _, text := range reviews(f) {
		f.Add([]byte(text))
	}
	f.Add([]byte(request(configMap + "," + who + "," + created)))
	f.Add([]byte(request(configMap + `,"operation":"DELETE"`)))
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}`))
	h := handler(f, webhook.Options{State: state(f, everything("p", policies.Deny, passes), everything("q", policies.Warn, breaks)), MaxBody: 1 << 20})
	f.Fuzz(func(t *testing.T, body []byte) {
		w := post(h, string(body))
		if w.Code != http.StatusOK {
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("HTTP %d: %s", w.Code, w.Body)
			}
			return
		}
		var answered admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &answered); err != nil || answered.Response == nil || answered.Response.UID == "" {
			t.Fatalf("answer is no review: %v: %s", err, w.Body)
		}
		if !answered.Response.Allowed {
			if answered.Response.Result == nil || answered.Response.Result.Message == "" || answered.Response.Result.Code < 400 {
				t.Fatalf("refusal without a reason: %s", w.Body)
			}
			return
		}
		var sent admissionv1.AdmissionReview
		if err := json.Unmarshal(body, &sent); err != nil || sent.Request == nil {
			t.Fatalf("admitted what is no review: %v", err)
		}
		if sent.Request.UID != answered.Response.UID || sent.APIVersion != "admission.k8s.io/v1" {
			t.Fatalf("admitted %q by the name of %q", sent.Request.UID, answered.Response.UID)
		}
	})
}
