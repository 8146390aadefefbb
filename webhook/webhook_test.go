package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/webhook"
)

type judge func(context.Context, *policies.Change) (policies.Finding, error)

func passes(context.Context, *policies.Change) (policies.Finding, error) {
	return policies.Finding{}, nil
}

func breaks(context.Context, *policies.Change) (policies.Finding, error) {
	return policies.Finding{Violations: []policies.Violation{{Rule: "r", Message: "broken", Path: policies.Path{"spec"}}}}, nil
}

// everything matches every request.
func everything(name string, action policies.Action, j judge) *policies.Policy {
	return &policies.Policy{Name: name, Action: action, Judge: j, Match: policies.Match{
		Resources:  []policies.ResourceRule{{Groups: []string{"*"}, Versions: []string{"*"}, Resources: []string{"*/*", "*"}}},
		Operations: []policies.Operation{policies.Create, policies.Update, policies.Delete, policies.Connect},
	}}
}

func state(t testing.TB, ps ...*policies.Policy) func() *webhook.State {
	t.Helper()
	e, err := policies.New(ps, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &webhook.State{Engine: e, Digest: "sha256:d", Commit: "c0ffee"}
	return func() *webhook.State { return s }
}

func told(d *policies.Decision) webhook.Told {
	var out webhook.Told
	for i := range d.Results {
		r := &d.Results[i]
		switch {
		case r.Outcome == policies.Failed:
			out.Message += "could not judge: " + r.Err.Error()
		case r.Outcome == policies.Violated && r.Action() == policies.Deny:
			out.Message += r.Finding.Violations[0].Message
		case r.Outcome == policies.Violated && r.Action() == policies.Warn:
			out.Warnings = append(out.Warnings, r.Finding.Violations[0].Message)
		}
	}
	return out
}

func handler(t testing.TB, o webhook.Options) *webhook.Handler {
	t.Helper()
	if o.Tell == nil {
		o.Tell = told
	}
	h, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func post(h http.Handler, body string) *httptest.ResponseRecorder {
	return postTo(h, "/validate?timeout=10s", body)
}

func postTo(h http.Handler, url, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, url, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func answer(t testing.TB, w *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("HTTP %d: %s", w.Code, w.Body)
	}
	var review admissionv1.AdmissionReview
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&review); err != nil {
		t.Fatal(err)
	}
	if review.Kind != "AdmissionReview" || review.APIVersion != "admission.k8s.io/v1" || review.Response == nil {
		t.Fatalf("answer is no review: %+v", review)
	}
	return review.Response
}

func request(fields string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1",` + fields + `}}`
}

const (
	who       = `"userInfo":{"username":"ann","uid":"7","groups":["dev"],"extra":{"k":["v","w"]}}`
	configMap = `"kind":{"group":"","version":"v1","kind":"ConfigMap"},"resource":{"group":"","version":"v1","resource":"configmaps"},"namespace":"shop","name":"c"`
	created   = `"operation":"CREATE","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"shop"},"data":{"n":"1"}},"dryRun":true,"options":{"kind":"CreateOptions"}`
)

func TestARequestBecomesTheChangeThatItIs(t *testing.T) {
	for _, tc := range []struct {
		name, request string
		check         func(*policies.Change) string
	}{
		{"who, where and how", request(configMap + "," + who + "," + created), func(c *policies.Change) string {
			return fmt.Sprintf("%s %s %s %v %v %v %v %v", c.Operation, c.Object, c.Namespace, *c.Actor, c.DryRun, c.Options["kind"], c.Old == nil, c.Knows.Has(policies.KnowsActor|policies.KnowsOld))
		}},
		{"a deletion is about the old object", request(configMap + `,"operation":"DELETE","object":null,"oldObject":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`), func(c *policies.Change) string {
			return fmt.Sprintf("%v %s", c.Object == nil, c.Subject())
		}},
		{"a deletion without an object is about its name", request(configMap + `,"operation":"DELETE"`), func(c *policies.Change) string {
			return fmt.Sprintf("%s %v", c.Subject(), c.Knows.Has(policies.KnowsOld))
		}},
		{"an object of deletecollection has its own name", request(strings.Replace(configMap, `"name":"c"`, `"name":""`, 1) + `,"operation":"DELETE","oldObject":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d","namespace":"shop"}}`), func(c *policies.Change) string {
			return c.Subject().String()
		}},
		{"a Namespace is not in itself", request(`"kind":{"group":"","version":"v1","kind":"Namespace"},"resource":{"group":"","version":"v1","resource":"namespaces"},"namespace":"shop","name":"shop","operation":"CREATE","object":{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`), func(c *policies.Change) string {
			return fmt.Sprintf("%q %v %v", c.Namespace, c.Namespaced, c.Knows.Has(policies.KnowsNamespace))
		}},
		{"options of a connection are named as the request", request(`"kind":{"group":"","version":"v1","kind":"PodExecOptions"},"resource":{"group":"","version":"v1","resource":"pods"},"subResource":"exec","namespace":"shop","name":"p","operation":"CONNECT","object":{"apiVersion":"v1","kind":"PodExecOptions","command":["sh"]},"options":null`), func(c *policies.Change) string {
			return fmt.Sprintf("%s %s %v", c.Subject(), c.Resource.Subresource, c.Subject().Map()["command"])
		}},
		{"numbers are whole when they are", request(configMap + `,"operation":"CREATE","object":{"apiVersion":"v1","kind":"ConfigMap","n":9007199254740993,"f":1.5}`), func(c *policies.Change) string {
			return fmt.Sprintf("%T %v %T", c.Object.Map()["n"], c.Object.Map()["n"], c.Object.Map()["f"])
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got string
			h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, func(_ context.Context, c *policies.Change) (policies.Finding, error) {
				got = tc.check(c)
				return policies.Finding{}, nil
			}))})
			if a := answer(t, post(h, tc.request)); !a.Allowed || a.UID != "u-1" {
				t.Fatalf("answer is %+v", a)
			}
			want := map[string]string{
				"who, where and how":                               "CREATE ConfigMap shop/c shop {ann 7 [dev] map[k:[v w]]} true CreateOptions true true",
				"a deletion is about the old object":               "true ConfigMap shop/c",
				"a deletion without an object is about its name":   "ConfigMap shop/c true",
				"an object of deletecollection has its own name":   "ConfigMap shop/d",
				"a Namespace is not in itself":                     `"" false true`,
				"options of a connection are named as the request": "PodExecOptions shop/p exec [sh]",
				"numbers are whole when they are":                  "int64 9007199254740993 float64",
			}[tc.name]
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestADecisionBecomesTheAnswerThatItMeans(t *testing.T) {
	fails := func(context.Context, *policies.Change) (policies.Finding, error) {
		return policies.Finding{}, errors.New("registry is down")
	}
	panics := func(context.Context, *policies.Change) (policies.Finding, error) { panic("boom") }
	needs := everything("n", policies.Deny, passes)
	needs.Needs = policies.Online
	proof := func(context.Context, *policies.Change) (policies.Finding, error) {
		return policies.Finding{Evidence: []policies.Evidence{{Kind: "commit", Value: "abc"}, {Kind: "password", Value: "x"}}}, nil
	}
	for _, tc := range []struct {
		name    string
		ps      []*policies.Policy
		admit   bool
		allowed bool
		code    int32
		message string
		notes   string
	}{
		{"nothing is broken", []*policies.Policy{everything("p", policies.Deny, passes)}, false, true, 0, "", "map[policy-commit:c0ffee policy-digest:sha256:d verdict:allow]"},
		{"a policy that denies", []*policies.Policy{everything("p", policies.Deny, breaks)}, false, false, 403, "broken", "map[denied:p/r policy-commit:c0ffee policy-digest:sha256:d verdict:deny]"},
		{"a policy that warns", []*policies.Policy{everything("p", policies.Warn, breaks)}, false, true, 0, "", "map[policy-commit:c0ffee policy-digest:sha256:d verdict:warn warned:p/r]"},
		{"a policy that records", []*policies.Policy{everything("p", policies.Audit, breaks)}, false, true, 0, "", "map[audited:p/r policy-commit:c0ffee policy-digest:sha256:d verdict:allow]"},
		{"a policy that cannot judge", []*policies.Policy{everything("p", policies.Deny, fails)}, false, false, 503, "gitgate could not judge this change and refuses it: could not judge: registry is down", "map[failed:p policy-commit:c0ffee policy-digest:sha256:d verdict:unsure]"},
		{"the same, when the configuration admits", []*policies.Policy{everything("p", policies.Deny, fails)}, true, true, 0, "", "map[failed:p policy-commit:c0ffee policy-digest:sha256:d verdict:unsure]"},
		{"a policy that panics", []*policies.Policy{everything("p", policies.Deny, panics)}, false, false, 503, "gitgate could not judge this change and refuses it: could not judge: policy panicked: boom", "map[failed:p policy-commit:c0ffee policy-digest:sha256:d verdict:unsure]"},
		{"denied goes before unsure", []*policies.Policy{everything("p", policies.Deny, fails), everything("q", policies.Deny, breaks)}, true, false, 403, "could not judge: registry is downbroken", "map[denied:q/r failed:p policy-commit:c0ffee policy-digest:sha256:d verdict:deny]"},
		{"what is deferred is named", []*policies.Policy{needs}, false, true, 0, "", "map[deferred:n policy-commit:c0ffee policy-digest:sha256:d verdict:allow]"},
		{"evidence that is known is kept", []*policies.Policy{everything("p", policies.Deny, proof)}, false, true, 0, "", "map[commit:abc policy-commit:c0ffee policy-digest:sha256:d verdict:allow]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := handler(t, webhook.Options{State: state(t, tc.ps...), AdmitUnsure: tc.admit})
			a := answer(t, post(h, request(configMap+","+who+","+created)))
			if a.Allowed != tc.allowed || a.UID != "u-1" {
				t.Errorf("allowed %v, uid %q", a.Allowed, a.UID)
			}
			if a.Allowed != (a.Result == nil) {
				t.Fatalf("status is %+v", a.Result)
			}
			if a.Result != nil && (a.Result.Code != tc.code || a.Result.Message != tc.message) {
				t.Errorf("status %d %q, want %d %q", a.Result.Code, a.Result.Message, tc.code, tc.message)
			}
			if got := fmt.Sprint(a.AuditAnnotations); got != tc.notes {
				t.Errorf("annotations are %s, want %s", got, tc.notes)
			}
			if strings.Contains(tc.name, "warns") && fmt.Sprint(a.Warnings) != "[broken]" || tc.admit && tc.allowed && len(a.Warnings) == 0 {
				t.Errorf("warnings are %q", a.Warnings)
			}
		})
	}
}

func TestWhatIsNoReviewIsRefused(t *testing.T) {
	good := request(configMap + "," + created)
	deep := strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300)
	for _, tc := range []struct {
		name, body string
		code       int    // of HTTP
		uid        string // of the refusal, when code is 200
		want       string
	}{
		{"nothing", "", 400, "", "the text ends"},
		{"no JSON", "hello", 400, "", "cannot begin with"},
		{"no map", "[]", 400, "", "expected a map"},
		{"another kind", `{"kind":"Pod","apiVersion":"v1","request":{"uid":"u-1"}}`, 400, "", `got "v1" and "Pod"`},
		{"no request", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, 400, "", "has no request"},
		{"no uid", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"operation":"CREATE"}}`, 400, "", "no request.uid"},
		{"truncated before the uid", good[:70], 400, "", "expected a colon"},
		{"truncated after the uid", good[:len(good)-30], 200, "u-1", "the text ends"},
		{"text behind it", good + "x", 200, "u-1", "text follows"},
		{"a key twice", request(configMap + `,"operation":"CREATE","operation":"DELETE"`), 200, "u-1", `key "operation" comes twice`},
		{"too deep", request(configMap + `,"operation":"CREATE","object":` + deep), 200, "u-1", "too many levels"},
		{"broken UTF-8", request(configMap + ",\"operation\":\"CREATE\",\"object\":{\"a\":\"\xff\"}"), 200, "u-1", "not UTF-8"},
		{"an unknown operation", request(configMap + `,"operation":"PATCH","object":{}`), 200, "u-1", `request.operation is "PATCH"`},
		{"no operation", request(configMap + `,"object":{}`), 200, "u-1", `request.operation is ""`},
		{"a creation of nothing", request(configMap + `,"operation":"CREATE"`), 200, "u-1", "request.object is missing"},
		{"an update of nothing", request(configMap + `,"operation":"UPDATE","object":{}`), 200, "u-1", "request.oldObject is missing"},
		{"an object that is a list", request(configMap + `,"operation":"CREATE","object":[]`), 200, "u-1", "request.object is no map"},
		{"a user that is a number", request(configMap + `,"operation":"CREATE","object":{},"userInfo":{"username":1}`), 200, "u-1", "request.userInfo.username is no text"},
		{"an object of another kind", request(strings.Replace(configMap, "ConfigMap", "Event", 1) + `,"operation":"CREATE","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"shop"}}`), 200, "u-1", "request.object is a ConfigMap of v1, and request.kind says Event of v1"},
		{"an object of another group", request(configMap + `,"operation":"CREATE","object":{"apiVersion":"x.example.com/v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"shop"}}`), 200, "u-1", "request.object is a ConfigMap of x.example.com/v1"},
		{"an object of another namespace", request(configMap + `,"operation":"CREATE","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"kube-system"}}`), 200, "u-1", `request.object is in namespace "kube-system", and request.namespace says "shop"`},
		{"an object of another name", request(configMap + `,"operation":"CREATE","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d","namespace":"shop"}}`), 200, "u-1", `request.object is named "d", and request.name says "c"`},
		{"an old object of another name", request(configMap + `,"operation":"UPDATE","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"shop"}},"oldObject":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d","namespace":"shop"}}`), 200, "u-1", `request.oldObject is named "d"`},
		{"an old object of another kind", request(configMap + `,"operation":"DELETE","oldObject":{"apiVersion":"v1","kind":"Event","metadata":{"name":"c","namespace":"shop"}}`), 200, "u-1", "request.oldObject is a Event of v1"},
		{"no kind", request(`"operation":"CREATE","object":{},"resource":{"version":"v1","resource":"x"}`), 200, "u-1", "request.kind is missing"},
		{"no resource", request(`"operation":"CREATE","object":{},"kind":{"version":"v1","kind":"X"}`), 200, "u-1", "request.resource is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes))})
			w := post(h, tc.body)
			if w.Code != tc.code {
				t.Fatalf("HTTP %d, want %d: %s", w.Code, tc.code, w.Body)
			}
			message := w.Body.String()
			if tc.code == 200 {
				a := answer(t, w)
				if a.Allowed || string(a.UID) != tc.uid || a.Result.Code != 400 {
					t.Fatalf("answer is %+v", a)
				}
				message = a.Result.Message
			}
			if !strings.Contains(message, tc.want) {
				t.Errorf("message %q, want %q", message, tc.want)
			}
		})
	}
}

func TestAnotherVersionOfTheReviewIsRefusedInThatVersion(t *testing.T) {
	for _, version := range []string{"admission.k8s.io/v1beta1", "admission.k8s.io/v2"} {
		h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes))})
		w := post(h, strings.Replace(request(configMap+","+created), "admission.k8s.io/v1", version, 1))
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || w.Code != 200 {
			t.Fatalf("HTTP %d: %v", w.Code, err)
		}
		if review.APIVersion != version || review.Response.UID != "u-1" || review.Response.Allowed || !strings.Contains(review.Response.Result.Message, "admissionReviewVersions") {
			t.Errorf("answer is %+v", review.Response)
		}
	}
}

func TestTheHeadOfARequestIsLookedAtFirst(t *testing.T) {
	for _, tc := range []struct {
		name, method, media, coding string
		want                        int
	}{
		{"GET", http.MethodGet, "application/json", "", 405},
		{"PUT", http.MethodPut, "application/json", "", 405},
		{"no content type", http.MethodPost, "", "", 415},
		{"YAML", http.MethodPost, "application/yaml", "", 415},
		{"compressed", http.MethodPost, "application/json", "gzip", 415},
		{"with a character set", http.MethodPost, "application/json; charset=utf-8", "", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes))})
			r := httptest.NewRequest(tc.method, "/validate", strings.NewReader(request(configMap+","+created)))
			r.Header.Set("Content-Type", tc.media)
			r.Header.Set("Content-Encoding", tc.coding)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("HTTP %d, want %d", w.Code, tc.want)
			}
			if tc.want == 405 && w.Header().Get("Allow") != "POST" {
				t.Error("Allow is missing")
			}
		})
	}
}

func TestBeforePoliciesAreLoadedEverythingIsRefused(t *testing.T) {
	h := handler(t, webhook.Options{State: func() *webhook.State { return nil }})
	if a := answer(t, post(h, request(configMap+","+created))); a.Allowed || a.Result.Code != 503 || a.UID != "u-1" {
		t.Errorf("answer is %+v", a)
	}
}

func TestWhatTellsPanicsRefuses(t *testing.T) {
	h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, breaks)), Tell: func(*policies.Decision) webhook.Told { panic("boom") }})
	if a := answer(t, post(h, request(configMap+","+created))); a.Allowed || a.UID != "u-1" || a.Result.Code != 503 {
		t.Errorf("answer is %+v", a)
	}
}

func TestNamespacesComeFromTheCluster(t *testing.T) {
	holder := policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"}}, policies.Origin{}, nil, nil)
	p := everything("p", policies.Deny, breaks)
	p.Needs = policies.KnowsNamespace
	o := webhook.Options{State: state(t, p)}
	if a := answer(t, post(handler(t, o), request(configMap+","+created))); !a.Allowed || a.AuditAnnotations["deferred"] != "p" {
		t.Errorf("without a cluster: %+v", a)
	}
	o.Namespace = func(context.Context, string) (*policies.Object, error) { return nil, errors.New("down") }
	if a := answer(t, post(handler(t, o), request(configMap+","+created))); a.Allowed || a.Result.Code != 503 || !strings.Contains(a.Result.Message, "namespace shop could not be looked up: down") {
		t.Errorf("with a cluster that does not answer: %+v", a)
	}
	o.Namespace = func(_ context.Context, name string) (*policies.Object, error) {
		if name == "shop" {
			return holder, nil
		}
		return nil, nil
	}
	if a := answer(t, post(handler(t, o), request(configMap+","+created))); a.Allowed {
		t.Errorf("with one: %+v", a)
	}
}

// reviews are a few of the requests that real programs have made.
func reviews(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/reviews/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no reviews", err)
	}
	out := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(text)
	}
	return out
}

func TestRequestsOfRealProgramsAreUnderstood(t *testing.T) {
	for name, text := range reviews(t) {
		t.Run(name, func(t *testing.T) {
			var sent admissionv1.AdmissionReview
			if err := json.Unmarshal([]byte(text), &sent); err != nil {
				t.Fatal(err)
			}
			var c *policies.Change
			h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes)), Seen: func(got *policies.Change, _ *policies.Decision) { c = got }})
			if a := answer(t, post(h, text)); !a.Allowed || a.UID != sent.Request.UID {
				t.Fatalf("answer is %+v", a)
			}
			if string(c.Operation) != string(sent.Request.Operation) || c.Actor.User != sent.Request.UserInfo.Username || c.Resource.Resource != sent.Request.Resource.Resource || c.Resource.Subresource != sent.Request.SubResource {
				t.Errorf("change is %+v", c)
			}
			for _, pair := range []struct {
				got  *policies.Object
				want []byte
			}{{c.Object, sent.Request.Object.Raw}, {c.Old, sent.Request.OldObject.Raw}} {
				if pair.got == nil {
					continue
				}
				var want, got any
				text, err := pair.got.JSON()
				if err := errors.Join(err, json.Unmarshal(text, &got), json.Unmarshal(pair.want, &want)); err != nil {
					t.Fatal(err)
				}
				a, _ := json.Marshal(got)
				b, _ := json.Marshal(want)
				if !bytes.Equal(a, b) {
					t.Errorf("object is %s\nwant %s", a, b)
				}
			}
		})
	}
}

func TestWhatTheLogKeepsOfARequest(t *testing.T) {
	under := func(evidence ...policies.Evidence) judge {
		return func(context.Context, *policies.Change) (policies.Finding, error) {
			return policies.Finding{Evidence: evidence}, nil
		}
	}
	for _, tc := range []struct {
		name string
		j    judge
		want string // parts of the line, separated by spaces; "" for no line
	}{
		{"what is let in", under(policies.Evidence{Kind: "class", Value: "reconciler"}), ""},
		{"what is let in under a grant", under(policies.Evidence{Kind: "class", Value: "break-glass"}, policies.Evidence{Kind: "grant", Value: "web-7k2fq of ann until noon: INC-42"}),
			`"allowed":true "user":"ann" "namespace":"shop" "name":"c" "class":"break-glass" INC-42`},
		{"what is refused", breaks, `"allowed":false "user":"ann" "denied":"p/r"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			h := handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, tc.j)), Log: slog.New(slog.NewJSONHandler(&log, nil))})
			answer(t, post(h, request(configMap+","+who+","+created)))
			if tc.want == "" && log.Len() > 0 {
				t.Errorf("the log has %s", &log)
			}
			for part := range strings.FieldsSeq(tc.want) {
				if !strings.Contains(log.String(), part) {
					t.Errorf("the log has no %s: %s", part, &log)
				}
			}
			if strings.Contains(log.String(), "broken") || strings.Contains(log.String(), `"n"`) {
				t.Errorf("the log quotes what was judged: %s", &log)
			}
		})
	}
}
