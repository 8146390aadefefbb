package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/world"
)

// apiServerClient is who the API server is to webhooks.
const apiServerClient = "kube-apiserver-admission"

// gateOfOneClient has the gate ask who connects for a certificate.
func gateOfOneClient(w *world.World) {
	w.AddGateFlags("--client-ca="+w.File("client-ca.crt", string(w.CA())), "--client-name="+apiServerClient)
}

// onlyTheAPIServer is who may connect to the gate. That the world began says that it is let in.
func onlyTheAPIServer(t *testing.T, w *world.World) {
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
