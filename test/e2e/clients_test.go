package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

const apiServerClient = "kube-apiserver-admission"

// TestOnlyTheAPIServerMayConnect has the API server show a certificate to webhooks, and the gate ask for it.
func TestOnlyTheAPIServerMayConnect(t *testing.T) {
	w := start(t, world.Options{Prepare: func(w *world.World) {
		kubeconfig := strings.NewReplacer("name: test,", `name: "*",`, "user: test}", `user: "*"}`).Replace(readFile(t, w.Kubeconfig(apiServerClient)))
		config := w.File("admission.yaml", fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionWebhook
    configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: %q}
`, w.File("webhooks.kubeconfig", kubeconfig)))
		w.Halt(controlplane.APIServer)
		w.AddAPIServerFlags("--admission-control-config-file=" + config)
		if err := w.Resume(t.Context(), controlplane.APIServer); err != nil {
			t.Fatal(err)
		}
		w.AddGateFlags("--client-ca="+w.File("client-ca.crt", string(w.CA())), "--client-name="+apiServerClient)
	}})
	// That the world began says that the API server is let in.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(w.GateCA()))
	for _, user := range []string{"", "ann", apiServerClient} {
		client := &tls.Config{RootCAs: roots}
		if user != "" {
			config := w.Config(user)
			pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
			if err != nil {
				t.Fatal(err)
			}
			client.Certificates = []tls.Certificate{pair}
		}
		answer, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: client}}).Post(w.GateURL(), "application/json", strings.NewReader("{}"))
		if err == nil {
			answer.Body.Close()
		}
		if (err == nil) != (user == apiServerClient) {
			t.Errorf("client %q: %v", user, err)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
