package controlplane_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/controlplane"
)

const audit = `apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata}]
`

func TestAControlPlaneServesItsUsersAndKeepsItsDataOverAnOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cp := controlplane.Start(ctx, t, controlplane.Options{AuditPolicy: audit})

	admin, err := cp.HTTPClient("root", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	if code, body := do(ctx, t, admin, "POST", cp.Endpoint()+"/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"kept"}}`); code != 201 {
		t.Fatalf("create as a member of system:masters: %d %s, expected 201", code, body)
	}
	account, err := cp.HTTPClient("system:serviceaccount:default:nobody", controlplane.ServiceAccountGroups("default")...)
	if err != nil {
		t.Fatal(err)
	}
	code, body := do(ctx, t, account, "GET", cp.Endpoint()+"/api/v1/namespaces/default/configmaps/kept", "")
	if code != 403 || !strings.Contains(body, "system:serviceaccount:default:nobody") {
		t.Fatalf("read as a service account without rights: %d %s, expected 403 that names it", code, body)
	}
	code, body = do(ctx, t, account, "POST", cp.Endpoint()+"/apis/authentication.k8s.io/v1/selfsubjectreviews", `{}`)
	var review struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &review); err != nil || code != 201 {
		t.Fatalf("self subject review: %d %s %v", code, body, err)
	}
	if got := strings.Join(review.Status.UserInfo.Groups, ","); got != "system:serviceaccounts,system:serviceaccounts:default,system:authenticated" {
		t.Errorf("groups of the service account: %s", got)
	}

	cp.Halt(controlplane.APIServer)
	cp.Halt(controlplane.Etcd)
	for _, name := range []string{controlplane.Etcd, controlplane.APIServer} {
		if err := cp.Resume(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if code, body := do(ctx, t, admin, "GET", cp.Endpoint()+"/api/v1/namespaces/default/configmaps/kept", ""); code != 200 {
		t.Errorf("object after the outage: %d %s, expected it to be kept", code, body)
	}
	log, err := os.ReadFile(cp.AuditLog())
	if err != nil || !strings.Contains(string(log), `"name":"kept"`) {
		t.Errorf("audit log: %v, expected it to tell of the object", err)
	}
}

func TestControllersAndSchedulerRunUnderTheirOwnIdentities(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts every component")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	cp := controlplane.Start(ctx, t, controlplane.Options{AuditPolicy: audit, ControllerManager: true, Scheduler: true})
	admin, err := cp.HTTPClient("root", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	code, body := do(ctx, t, admin, "POST", cp.Endpoint()+"/apis/apps/v1/namespaces/default/deployments", `{"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},
		"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:1"}]}}}}`)
	if code != 201 {
		t.Fatalf("create a Deployment: %d %s", code, body)
	}
	for {
		code, body = do(ctx, t, admin, "GET", cp.Endpoint()+"/api/v1/namespaces/default/pods", "")
		if code == 200 && strings.Contains(body, `"web:1"`) {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no Pod of the Deployment: %d %s", code, body)
		case <-time.After(100 * time.Millisecond):
		}
	}
	log, err := os.ReadFile(cp.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"system:serviceaccount:kube-system:deployment-controller", "system:serviceaccount:kube-system:replicaset-controller"} {
		if !strings.Contains(string(log), user) {
			t.Errorf("audit log does not name %s", user)
		}
	}
}

func do(ctx context.Context, t *testing.T, client *http.Client, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
