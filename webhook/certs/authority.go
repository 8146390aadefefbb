package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority is a certificate authority of the webhook's own and the serving certificate that it made, as a Secret keeps them.
type Authority struct {
	CA      []byte // PEM: the authority that signs, and behind it the one before, as long as replicas may serve its certificates
	CAKey   []byte // PEM
	Cert    []byte // PEM
	CertKey []byte // PEM
}

// Lifetimes. An authority is renewed well before its end, and the one before is trusted until its own.
const (
	authorityLife = 365 * 24 * time.Hour
	certLife      = 90 * 24 * time.Hour
)

// Renew returns what a is to be replaced by at a moment, for a server with these DNS names and IP addresses: a itself and false when it is good for
// a third of its life and more. What is damaged is made anew.
func (a Authority) Renew(names []string, now time.Time) (next Authority, changed bool, err error) {
	if len(names) == 0 {
		return a, false, errors.New("serving certificate: no name to make it for")
	}
	ca, key, err := a.signer()
	if err != nil || dueAt(ca).Before(now) || ca.NotBefore.After(now.Add(clockSkew)) {
		old := trusted(a.CA, now)
		if a, ca, key, err = newAuthority(now); err != nil {
			return a, false, err
		}
		a.CA = append(a.CA, old...)
		changed = true
	}
	if !changed && a.good(ca, names, now) {
		return a, false, nil
	}
	a.Cert, a.CertKey, err = serving(ca, key, names, now)
	return a, true, err
}

// Pair is the serving certificate for handshakes.
func (a Authority) Pair() (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(a.Cert, a.CertKey)
	if err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	return &pair, nil
}

// clockSkew is how far clocks may differ.
const clockSkew = 5 * time.Minute

// dueAt is when two thirds of a certificate's life are over.
func dueAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3)
}

// signer reads the authority that signs.
func (a Authority) signer() (*x509.Certificate, crypto.Signer, error) {
	pair, err := tls.X509KeyPair(a.CA, a.CAKey)
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, nil, errors.New("it is no authority")
	}
	return pair.Leaf, key, nil
}

func (a Authority) good(ca *x509.Certificate, names []string, now time.Time) bool {
	pair, err := a.Pair()
	if err != nil || dueAt(pair.Leaf).Before(now) || pair.Leaf.NotBefore.After(now.Add(clockSkew)) {
		return false
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, name := range names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			return false
		}
	}
	return true
}

// trusted is the newest authority of a PEM text when it has not ended.
func trusted(text []byte, now time.Time) []byte {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA || now.After(c.NotAfter) {
		return nil
	}
	return pem.EncodeToMemory(block)
}

func newAuthority(now time.Time) (Authority, *x509.Certificate, crypto.Signer, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: fmt.Sprintf("gitgate webhook authority %s", now.UTC().Format(time.RFC3339))},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, key, err := sign(template, nil, nil)
	if err != nil {
		return Authority{}, nil, nil, fmt.Errorf("authority: %w", err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return Authority{}, nil, nil, fmt.Errorf("authority: %w", err)
	}
	a := Authority{CA: pemOf("CERTIFICATE", der)}
	if a.CAKey, err = keyPEM(key); err != nil {
		return Authority{}, nil, nil, fmt.Errorf("authority: %w", err)
	}
	return a, ca, key, nil
}

func serving(ca *x509.Certificate, caKey crypto.Signer, names []string, now time.Time) (cert, key []byte, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    earlier(now.Add(certLife), ca.NotAfter),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, signer, err := sign(template, ca, caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("serving certificate: %w", err)
	}
	if key, err = keyPEM(signer); err != nil {
		return nil, nil, fmt.Errorf("serving certificate: %w", err)
	}
	return pemOf("CERTIFICATE", der), key, nil
}

// sign makes a key and a certificate of template for it, signed by parent, or by itself when parent is nil.
func sign(template, parent *x509.Certificate, parentKey crypto.Signer) ([]byte, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	return der, key, err
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pemOf("PRIVATE KEY", der), nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Equal says whether both are the same.
func (a Authority) Equal(b Authority) bool {
	return bytes.Equal(a.CA, b.CA) && bytes.Equal(a.CAKey, b.CAKey) && bytes.Equal(a.Cert, b.Cert) && bytes.Equal(a.CertKey, b.CertKey)
}
