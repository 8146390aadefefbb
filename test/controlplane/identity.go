package controlplane

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// authority signs every certificate of one control plane.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
}

// identity is a user of the API server: a client certificate whose common name is the user and whose organizations are groups.
type identity struct{ certificate, key []byte } // PEM

// newAuthority makes the CA, the API server's certificate and the key that signs service account tokens, as files in dir.
// Those that are there are kept: dir may be that of an earlier control plane.
func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if a, err := readAuthority(dir); err == nil {
		return a, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gitgate test control plane"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{certificate: certificate, key: key, pem: encodePEM("CERTIFICATE", der)}
	caKey, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	serving, servingKey, err := a.sign(pkix.Name{CommonName: "kube-apiserver"}, x509.ExtKeyUsageServerAuth,
		"127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return nil, err
	}
	tokenKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tokenPEM, err := encodeKey(tokenKey)
	if err != nil {
		return nil, err
	}
	tokenPublic, err := x509.MarshalPKIXPublicKey(tokenKey.Public())
	if err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{
		"ca.crt": a.pem, "ca.key": caKey, "apiserver.crt": serving, "apiserver.key": servingKey,
		"sa.key": tokenPEM, "sa.pub": encodePEM("PUBLIC KEY", tokenPublic),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func readAuthority(dir string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"apiserver.crt", "apiserver.key", "sa.key", "sa.pub"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	return &authority{certificate: certificate, key: pair.PrivateKey.(crypto.Signer), pem: encodePEM("CERTIFICATE", certificate.Raw)}, nil
}

// sign makes a key and its certificate, both PEM. A name that is an IP address becomes one.
func (a *authority) sign(subject pkix.Name, usage x509.ExtKeyUsage, names ...string) (certificate, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, k.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(k)
	return encodePEM("CERTIFICATE", der), key, err
}

// CA is the certificate, in PEM, that signs everything of this control plane: the caBundle of a webhook that serves with
// ServingCertificate.
func (cp *ControlPlane) CA() []byte { return slices.Clone(cp.ca.pem) }

// ServingCertificate makes a server certificate for host names and IP addresses, both parts in PEM.
func (cp *ControlPlane) ServingCertificate(names ...string) (certificate, key []byte, err error) {
	return cp.ca.sign(pkix.Name{CommonName: "test server"}, x509.ExtKeyUsageServerAuth, names...)
}

// identity is made once for each user with its groups.
func (cp *ControlPlane) identity(user string, groups []string) (*identity, error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	id := user + "\x00" + strings.Join(groups, "\x00")
	if known := cp.identities[id]; known != nil {
		return known, nil
	}
	certificate, key, err := cp.ca.sign(pkix.Name{CommonName: user, Organization: groups}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, fmt.Errorf("client certificate of %s: %w", user, err)
	}
	made := &identity{certificate, key}
	cp.identities[id] = made
	return made, nil
}

// ServiceAccountGroups are the groups that the API server gives a service account of a namespace.
func ServiceAccountGroups(namespace string) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace}
}

// Config is a client configuration of a user, who need not exist anywhere: the client certificate says who it is. The group
// system:masters may do everything. It panics when the machine cannot make keys.
func (cp *ControlPlane) Config(user string, groups ...string) *rest.Config {
	id, err := cp.identity(user, groups)
	if err != nil {
		panic(err)
	}
	return &rest.Config{
		Host:            cp.Endpoint(),
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.ca.pem, CertData: id.certificate, KeyData: id.key},
		QPS:             -1, // tests are not throttled
	}
}

// Admin is the configuration of a member of system:masters.
func (cp *ControlPlane) Admin() *rest.Config { return cp.Config("system:admin", "system:masters") }

// HTTPClient is a plain client with the user's certificate, for those who speak HTTP themselves.
func (cp *ControlPlane) HTTPClient(user string, groups ...string) (*http.Client, error) {
	id, err := cp.identity(user, groups)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(id.certificate, id.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cp.ca.certificate)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
	}}, nil
}

// Kubeconfig writes a kubeconfig of a user and returns its path. It panics when the folder cannot be written.
func (cp *ControlPlane) Kubeconfig(user string, groups ...string) string {
	path, err := cp.kubeconfig(user, groups...)
	if err != nil {
		panic(err)
	}
	return path
}

func (cp *ControlPlane) kubeconfig(user string, groups ...string) (string, error) {
	id, err := cp.identity(user, groups)
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: test, user: {client-certificate-data: %s, client-key-data: %s}}]
`, cp.Endpoint(), b64(cp.ca.pem), b64(id.certificate), b64(id.key))
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, strings.Join(append([]string{user}, groups...), "+"))
	path := cp.file("kubeconfig-" + name)
	cp.writing.Lock()
	defer cp.writing.Unlock()
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, []byte(text)) {
		return path, nil // a component that runs may be reading it
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func unverifiedClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return encodePEM("EC PRIVATE KEY", der), nil
}
