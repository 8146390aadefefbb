package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/world"
)

// agingAuthority puts an authority into the gate's Secret of whose life two thirds are over soon.
func agingAuthority(t *testing.T, soon time.Duration) func(*world.World) {
	return func(w *world.World) {
		t.Helper()
		begin, due := time.Now().Add(-20*time.Hour), time.Now().Add(soon)
		template := func(serial int64) *x509.Certificate {
			return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "aging"}, NotBefore: begin, NotAfter: begin.Add(due.Sub(begin) * 3 / 2), BasicConstraintsValid: true}
		}
		ca, cert := template(1), template(2)
		ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
		cert.DNSNames, cert.IPAddresses = []string{"gitgate.gitgate.svc"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		cert.KeyUsage, cert.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		caKey, certKey := newKey(t), newKey(t)
		data := map[string][]byte{
			"ca.crt": signed(t, ca, ca, caKey, caKey), "ca.key": keyPEM(t, caKey), "tls.crt": signed(t, cert, ca, certKey, caKey), "tls.key": keyPEM(t, certKey),
		}
		patch, err := json.Marshal(map[string]any{"data": data})
		if err != nil {
			t.Fatal(err)
		}
		secrets := w.As("system:admin", []string{"system:masters"}, "v1 Secret", world.GateNamespace)
		if _, err := secrets.Patch(t.Context(), "gitgate-tls", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t *testing.T, c, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// prober asks for a change that nobody declares again and again, and keeps what the API server says when it cannot ask the gate.
type prober struct {
	stop func()
	mu   sync.Mutex
	bad  []string
	n    int
}

func probing(w *world.World) *prober {
	end, ended := make(chan struct{}), make(chan struct{})
	p := &prober{stop: sync.OnceFunc(func() { close(end); <-ended })}
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(200 * time.Millisecond):
			}
			err := w.Probe()
			p.mu.Lock()
			if p.n++; err != nil && strings.Contains(err.Error(), "failed calling webhook") {
				p.bad = append(p.bad, err.Error())
			}
			p.mu.Unlock()
		}
	}()
	return p
}

// renewed is an authority that comes to its age while the gate serves: the API server trusts the next one before it is served.
func renewed(p *prober) func(*testing.T, *world.World) {
	return func(t *testing.T, w *world.World) {
		s := w.For(t)
		defer p.stop()
		s.Eventually("the authority is not renewed", func() error {
			if n := bytes.Count([]byte(s.GateCA()), []byte("BEGIN CERTIFICATE")); n != 2 {
				return fmt.Errorf("the webhook configuration trusts %d authorities", n)
			}
			if left := time.Until(time.Unix(int64(s.Metric("gitgate_certificate_expiry_timestamp_seconds")), 0)); left < 24*time.Hour {
				return fmt.Errorf("the certificate that is served ends in %s", left)
			}
			return nil
		})
		time.Sleep(time.Second) // a few more requests under the new one
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.bad) > 0 || p.n == 0 {
			t.Errorf("%d of %d requests did not reach the gate: %v", len(p.bad), p.n, p.bad)
		}
	}
}
