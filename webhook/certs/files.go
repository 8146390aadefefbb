// Package certs keeps the webhook's TLS certificates: files that something else renews (cert-manager), or an authority of its own
// whose key it keeps and whose certificates it renews. It also checks the client certificate of the API server. It knows no
// cluster, no policy and no HTTP.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Keeper has the serving certificate of the moment. The zero Keeper has none, and every handshake fails. Safe for concurrent use.
type Keeper struct {
	current atomic.Pointer[tls.Certificate]
}

// Get is tls.Config.GetCertificate.
func (k *Keeper) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := k.current.Load()
	if c == nil {
		return nil, errors.New("no certificate is loaded yet")
	}
	return c, nil
}

// Set makes c the certificate for handshakes from now on.
func (k *Keeper) Set(c *tls.Certificate) { k.current.Store(c) }

// Expires is when the certificate ends; zero when there is none.
func (k *Keeper) Expires() time.Time {
	c := k.current.Load()
	if c == nil || c.Leaf == nil {
		return time.Time{}
	}
	return c.Leaf.NotAfter
}

// Files reads a certificate and its key from PEM files, again whenever their content changes.
type Files struct {
	Cert, Key string
	Keeper    *Keeper

	cert, key []byte
}

// Load reads the files when they have changed. With an error the certificate of before stays: a pair that is half written is
// whole at the next look.
func (f *Files) Load() (changed bool, err error) {
	cert, err := os.ReadFile(f.Cert)
	if err != nil {
		return false, fmt.Errorf("certificate: %w", err)
	}
	key, err := os.ReadFile(f.Key)
	if err != nil {
		return false, fmt.Errorf("key of the certificate: %w", err)
	}
	if bytes.Equal(cert, f.cert) && bytes.Equal(key, f.key) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	f.cert, f.key = cert, key
	f.Keeper.Set(&pair)
	return true, nil
}

// Watch looks at the files every so often until ctx ends, and tells of each change and each failure.
func (f *Files) Watch(ctx context.Context, every time.Duration, tell func(changed bool, err error)) {
	watch(ctx, every, f.Load, tell)
}

func watch(ctx context.Context, every time.Duration, load func() (bool, error), tell func(bool, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if changed, err := load(); changed || err != nil {
				tell(changed, err)
			}
		}
	}
}

// Clients is who may connect: whoever has a certificate of one of the authorities in a PEM file and, when Names is not empty, one of
// these names as its common name or a DNS name.
type Clients struct {
	File  string
	Names []string

	text []byte
	pool atomic.Pointer[x509.CertPool]
}

// Load reads the file when it has changed. With an error the authorities of before stay.
func (c *Clients) Load() (changed bool, err error) {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return false, fmt.Errorf("authorities of clients: %w", err)
	}
	if bytes.Equal(text, c.text) {
		return false, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return false, fmt.Errorf("authorities of clients: %s has no certificate", c.File)
	}
	c.text = text
	c.pool.Store(pool)
	return true, nil
}

// Watch is Files.Watch.
func (c *Clients) Watch(ctx context.Context, every time.Duration, tell func(changed bool, err error)) {
	watch(ctx, every, c.Load, tell)
}

// verify is tls.Config.VerifyConnection.
func (c *Clients) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("client has no certificate")
	}
	leaf := s.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: c.pool.Load(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if options.Roots == nil {
		return errors.New("authorities of clients are not loaded")
	}
	for _, other := range s.PeerCertificates[1:] {
		options.Intermediates.AddCert(other)
	}
	if _, err := leaf.Verify(options); err != nil {
		return fmt.Errorf("client's certificate: %w", err)
	}
	if len(c.Names) == 0 {
		return nil
	}
	for _, name := range c.Names {
		if leaf.Subject.CommonName == name {
			return nil
		}
		for _, dns := range leaf.DNSNames {
			if dns == name {
				return nil
			}
		}
	}
	return fmt.Errorf("client %q is none of those that may connect", leaf.Subject.CommonName)
}

// Config is the TLS configuration of the webhook: TLS 1.2 with forward secrecy and authenticated encryption, or 1.3. clients is nil
// when anybody may connect.
func Config(k *Keeper, clients *Clients) *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: k.Get,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
	if clients != nil {
		// VerifyConnection and not ClientCAs: the authorities can change while connections are served. It also runs when a
		// session is resumed.
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyConnection = clients.verify
	}
	return c
}
