package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/digitorus/pkcs7"
)

// Authorities are the certificate authorities whose certificates count, and for whom.
type Authorities struct {
	roots         *x509.CertPool
	intermediates *x509.CertPool
	identities    []Identity
}

// Identity is who a certificate may be for. One of Subject and SubjectPattern is set.
type Identity struct {
	Issuer         string         // the OIDC issuer that the certificate names (Fulcio's extension); "" when the authority names none
	Subject        string         // the e-mail address or URI of the certificate, compared in full
	SubjectPattern *regexp.Regexp // matches all of it; see AnchoredPattern
}

// AnchoredPattern compiles a regular expression that has to match all of a text.
func AnchoredPattern(expression string) (*regexp.Regexp, error) {
	return regexp.Compile(`^(?:` + expression + `)$`)
}

// ParseAuthorities reads PEM certificates: self-signed ones are roots, the others intermediates.
func ParseAuthorities(text []byte, identities []Identity) (*Authorities, error) {
	a := &Authorities{roots: x509.NewCertPool(), intermediates: x509.NewCertPool(), identities: identities}
	roots := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
		if cert.CheckSignatureFrom(cert) == nil {
			a.roots.AddCert(cert)
			roots++
		} else {
			a.intermediates.AddCert(cert)
		}
	}
	if roots == 0 {
		return nil, errors.New("authorities: no root certificate")
	}
	if len(identities) == 0 {
		return nil, errors.New("authorities: no identity, so everybody whom the authority knows would count")
	}
	return a, nil
}

// verify checks the certificate at the time that the commit claims: without a transparency log's or a time-stamping authority's
// word there is no other.
func (a *Authorities) verify(payload []byte, signature string, at time.Time) Evidence {
	block, _ := pem.Decode([]byte(signature))
	if block == nil {
		return Evidence{Reason: "the X.509 signature cannot be read: no PEM"}
	}
	message, err := pkcs7.Parse(block.Bytes)
	if err != nil {
		return Evidence{Reason: fmt.Sprintf("the X.509 signature cannot be read: %v", err)}
	}
	if len(message.Content) > 0 {
		return Evidence{Reason: "the X.509 signature carries a content of its own; expected a detached one"}
	}
	cert := message.GetOnlySigner()
	if cert == nil {
		return Evidence{Reason: fmt.Sprintf("the X.509 signature has %d signers; expected one with its certificate", len(message.Signers))}
	}
	sum := sha256.Sum256(cert.Raw)
	e := Evidence{Key: hex.EncodeToString(sum[:])}
	message.Content = payload
	intermediates := a.intermediates.Clone()
	for _, c := range message.Certificates {
		intermediates.AddCert(c)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}); err != nil {
		e.Reason = fmt.Sprintf("the signer's certificate does not count: %v", err)
		return e
	}
	if err := message.VerifyWithOpts(x509.VerifyOptions{Roots: a.roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}); err != nil {
		e.Reason = fmt.Sprintf("the X.509 signature does not fit the commit: %v", err)
		return e
	}
	issuer := oidcIssuer(cert)
	subjects := append([]string{}, cert.EmailAddresses...)
	for _, u := range cert.URIs {
		subjects = append(subjects, u.String())
	}
	for _, subject := range subjects {
		for _, id := range a.identities {
			if id.Issuer == issuer && id.is(subject) {
				e.State, e.Signer = Trusted, subject
				return e
			}
		}
	}
	e.Reason = fmt.Sprintf("certificate of %q from issuer %q is for nobody whose signature counts", subjects, issuer)
	return e
}

func (id Identity) is(subject string) bool {
	if id.SubjectPattern != nil {
		return id.SubjectPattern.MatchString(subject)
	}
	return id.Subject != "" && id.Subject == subject
}

// Fulcio's OIDs of the OIDC issuer: 1.3.6.1.4.1.57264.1.8 (a DER string) and, in older certificates, .1.1 (raw text).
var (
	issuerV2 = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	issuerV1 = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
)

func oidcIssuer(cert *x509.Certificate) string {
	old := ""
	for _, x := range cert.Extensions {
		switch {
		case x.Id.Equal(issuerV2):
			var s string
			if rest, err := asn1.Unmarshal(x.Value, &s); err == nil && len(rest) == 0 {
				return s
			}
			return "unreadable"
		case x.Id.Equal(issuerV1):
			old = string(x.Value)
		}
	}
	return old
}
