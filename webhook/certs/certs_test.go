package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/webhook/certs"
)

const name = "gitgate.gitgate-system.svc"

func made(t *testing.T, now time.Time) certs.Authority {
	t.Helper()
	a, changed, err := certs.Authority{}.Renew([]string{name}, now)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	return a
}

func leaf(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnAuthorityIsRenewedWhenItIsDueAndNotBefore(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	a := made(t, start)
	for _, tc := range []struct {
		name          string
		change        func(certs.Authority) certs.Authority
		names         []string
		at            time.Time
		newCA, newOne bool
	}{
		{"at once", nil, []string{name}, start, false, false},
		{"after a month", nil, []string{name}, start.Add(30 * day), false, false},
		{"when two thirds of the certificate's life are over", nil, []string{name}, start.Add(61 * day), false, true},
		{"when two thirds of the authority's life are over", nil, []string{name}, start.Add(244 * day), true, true},
		{"for another name", nil, []string{name, "localhost"}, start, false, true},
		{"for an IP address beside the name", nil, []string{name, "10.96.0.50", "fd00::50"}, start, false, true},
		{"when the clock jumped back by days", nil, []string{name}, start.Add(-3 * day), true, true},
		{"when the clock is a minute behind", nil, []string{name}, start.Add(-time.Minute), false, false},
		{"when the certificate is damaged", func(a certs.Authority) certs.Authority { a.Cert = []byte("x"); return a }, []string{name}, start, false, true},
		{"when the certificate's key is another's", func(a certs.Authority) certs.Authority { a.CertKey = a.CAKey; return a }, []string{name}, start, false, true},
		{"when the authority's key is lost", func(a certs.Authority) certs.Authority { a.CAKey = nil; return a }, []string{name}, start, true, true},
		{"when the authority is no authority", func(a certs.Authority) certs.Authority { a.CA, a.CAKey = a.Cert, a.CertKey; return a }, []string{name}, start, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := a
			if tc.change != nil {
				before = tc.change(a)
			}
			after, changed, err := before.Renew(tc.names, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			if newCA := string(after.CAKey) != string(before.CAKey); newCA != tc.newCA || changed != tc.newOne {
				t.Errorf("new authority %v, new certificate %v; want %v, %v", newCA, changed, tc.newCA, tc.newOne)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(after.CA)
			for _, n := range tc.names {
				if _, err := leaf(t, after.Cert).Verify(x509.VerifyOptions{Roots: roots, DNSName: n, CurrentTime: tc.at}); err != nil {
					t.Error(err)
				}
			}
			if _, again, _ := after.Renew(tc.names, tc.at); again {
				t.Error("what was just renewed is due again")
			}
		})
	}
}

func TestANewAuthorityIsTrustedBesideTheOneBefore(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := made(t, start)
	later := start.Add(250 * 24 * time.Hour)
	before, _, err := a.Renew([]string{name}, later.Add(-10*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := before.Renew([]string{name}, later)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(after.CA)
	if _, err := leaf(t, before.Cert).Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: later}); err != nil {
		t.Errorf("the certificate that other replicas still serve is not trusted: %v", err)
	}
	if n := strings.Count(string(after.CA), "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("%d authorities are trusted, want 2", n)
	}
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFilesAreReadAgainAndAHalfWrittenPairIsNot(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	first, second := made(t, now), made(t, now)
	k := &certs.Keeper{}
	if _, err := k.Get(nil); err == nil {
		t.Error("an empty keeper has a certificate")
	}
	f := &certs.Files{Cert: write(t, dir, "tls.crt", first.Cert), Key: write(t, dir, "tls.key", first.CertKey), Keeper: k}
	if changed, err := f.Load(); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if changed, err := f.Load(); err != nil || changed {
		t.Fatal("unchanged files were read anew", err)
	}
	write(t, dir, "tls.crt", second.Cert)
	if _, err := f.Load(); err == nil {
		t.Error("a certificate with another's key was taken")
	}
	serves := func(want certs.Authority) {
		t.Helper()
		c, err := k.Get(nil)
		if err != nil || !c.Leaf.Equal(leaf(t, want.Cert)) {
			t.Errorf("another certificate is served: %v", err)
		}
	}
	serves(first)
	write(t, dir, "tls.key", second.CertKey)
	if changed, err := f.Load(); err != nil || !changed {
		t.Fatal(changed, err)
	}
	serves(second)
}

// A listener with the configuration of the webhook, and clients of all sorts.
func TestWhoMayConnect(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	server := made(t, now)
	client := made(t, now) // its certificate is one for servers
	k := &certs.Keeper{}
	pair, err := server.Pair()
	if err != nil {
		t.Fatal(err)
	}
	k.Set(pair)
	ca, key, authority := clientAuthority(t)
	apiserver := clientPair(t, ca, key, "kube-apiserver", x509.ExtKeyUsageClientAuth)
	other := clientPair(t, ca, key, "somebody", x509.ExtKeyUsageClientAuth)
	wrongUse := clientPair(t, ca, key, "kube-apiserver", x509.ExtKeyUsageServerAuth)
	foreign, err := client.Pair()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CA)
	for _, tc := range []struct {
		name   string
		names  []string
		client *tls.Certificate
		max    uint16
		ok     bool
	}{
		{"the API server", []string{"kube-apiserver"}, &apiserver, 0, true},
		{"anybody of the authority, when no names are given", nil, &other, 0, true},
		{"another name", []string{"kube-apiserver"}, &other, 0, false},
		{"a part of a name", []string{"kube"}, &apiserver, 0, false},
		{"a certificate for servers", []string{"kube-apiserver"}, &wrongUse, 0, false},
		{"a certificate of another authority", nil, foreign, 0, false},
		{"no certificate", nil, nil, 0, false},
		{"TLS 1.2", nil, &apiserver, tls.VersionTLS12, true},
		{"TLS 1.1", nil, &apiserver, tls.VersionTLS11, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clients := &certs.Clients{File: write(t, dir, "client-ca.crt", authority), Names: tc.names}
			if _, err := clients.Load(); err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
			s.Config.ErrorLog = quiet(t)
			s.TLS = certs.Config(k, clients)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			c := &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS10, MaxVersion: tc.max}
			if tc.client != nil {
				c.Certificates = []tls.Certificate{*tc.client}
			}
			resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}}).Get(s.URL)
			if (err == nil) != tc.ok {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				defer resp.Body.Close()
				if resp.ProtoMajor != 2 {
					t.Errorf("protocol %s, want HTTP/2", resp.Proto)
				}
			}
		})
	}
}

func TestAnExpiredCertificateIsNotTrustedByClients(t *testing.T) {
	a := made(t, time.Now().Add(-200*24*time.Hour))
	pair, err := a.Pair()
	if err != nil {
		t.Fatal(err)
	}
	k := &certs.Keeper{}
	k.Set(pair)
	if !k.Expires().Before(time.Now()) {
		t.Fatal("it has not expired")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ErrorLog: quiet(t), TLSConfig: certs.Config(k, nil)}
	go s.ServeTLS(l, "", "")
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA)
	_, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name})
	var invalid *tls.CertificateVerificationError
	if !errors.As(err, &invalid) {
		t.Errorf("error %v", err)
	}
	fresh, changed, err := a.Renew([]string{name}, time.Now())
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if pair, err = fresh.Pair(); err != nil {
		t.Fatal(err)
	}
	k.Set(pair)
	roots.AppendCertsFromPEM(fresh.CA)
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name})
	if err != nil {
		t.Fatalf("the renewed certificate is not served: %v", err)
	}
	conn.Close()
}
