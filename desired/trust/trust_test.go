package trust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/digitorus/pkcs7"
	"golang.org/x/crypto/ssh"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/test/gitserver"
)

// sshKey is a key pair that ssh-keygen made.
type sshKey struct{ file, public, fingerprint string }

func newSSHKey(t *testing.T) sshKey {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return sshKey{file, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), ssh.FingerprintSHA256(key)}
}

func (k sshKey) sign(t *testing.T, r *gitserver.Repo, message string, files map[string]string) git.Hash {
	t.Helper()
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingKey", k.file)
	return git.Hash(r.Commit(message, files, "-S"))
}

func open(t *testing.T, r *gitserver.Repo) *git.Repo {
	t.Helper()
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	return repo
}

func judge(t *testing.T, rules *trust.Rules, repo *git.Repo, h git.Hash) trust.Evidence {
	t.Helper()
	c, err := repo.Commit(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	e, err := rules.Commit(t.Context(), repo, c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func signers(t *testing.T, lines string, revoked string) *trust.AllowedSigners {
	t.Helper()
	a, err := trust.ParseAllowedSigners([]byte(lines), []byte(revoked))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSSHSignaturesCountAsTheAllowedSignersFileSays(t *testing.T) {
	alice, mallory := newSSHKey(t), newSSHKey(t)
	r := gitserver.NewRepo(t)
	h := alice.sign(t, r, "by alice", map[string]string{"x": "1"})
	repo := open(t, r)
	for _, tc := range []struct {
		name, lines, revoked string
		state                trust.State
		reason               string
	}{
		{"an allowed signer is trusted", "alice@example.com " + alice.public, "", trust.Trusted, ""},
		{"one of two lines is enough", "mallory@example.com " + mallory.public + "\n# comment\n\nalice@example.com " + alice.public, "", trust.Trusted, ""},
		{"another key is refused", "mallory@example.com " + mallory.public, "", trust.Refused, "not among the allowed signers"},
		{"a revoked key is refused", "alice@example.com " + alice.public, alice.public, trust.Refused, "is revoked"},
		{"another key's revocation does not matter", "alice@example.com " + alice.public, mallory.public, trust.Trusted, ""},
		{"the namespace git is enough", `alice@example.com namespaces="git,file" ` + alice.public, "", trust.Trusted, ""},
		{"another namespace is not", `alice@example.com namespaces="file" ` + alice.public, "", trust.Refused, "not allowed to sign for git"},
		{"a key that was not valid yet is refused", `alice@example.com valid-after="20990101" ` + alice.public, "", trust.Refused, "valid from 2099-01-01"},
		{"a key that was not valid any more is refused", `alice@example.com valid-before="20010101Z" ` + alice.public, "", trust.Refused, "was valid before 2001-01-01"},
		{"a key that is valid now is trusted", `alice@example.com valid-after="20010101",valid-before="20990101" ` + alice.public, "", trust.Trusted, ""},
		{"an authority's own key does not sign commits", "alice@example.com cert-authority " + alice.public, "", trust.Refused, "not among the allowed signers"},
		{"a later line that is valid counts", `alice@example.com valid-before="20010101" ` + alice.public + "\nalice@example.com " + alice.public, "", trust.Trusted, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := judge(t, &trust.Rules{SSH: signers(t, tc.lines, tc.revoked)}, repo, h)
			if e.State != tc.state || !strings.Contains(e.Reason, tc.reason) || (tc.reason == "") != (e.Reason == "") {
				t.Errorf("%s because %q, want %s because %q", e.State, e.Reason, tc.state, tc.reason)
			}
			if e.Key != alice.fingerprint {
				t.Errorf("key %s, want %s", e.Key, alice.fingerprint)
			}
			if tc.state == trust.Trusted && e.Signer != "alice@example.com" {
				t.Errorf("signer %q", e.Signer)
			}
		})
	}
}

func TestAllowedSignersThatCannotBeReadAreRefused(t *testing.T) {
	key := newSSHKey(t).public
	for name, text := range map[string]string{
		"nobody":                  "# nobody\n",
		"no key":                  "alice@example.com",
		"an unknown option":       "alice@example.com frobnicate " + key,
		"a time that is none":     `alice@example.com valid-after="tomorrow" ` + key,
		"an empty principal":      "alice@example.com,, " + key,
		"a key that is none":      "alice@example.com ssh-ed25519 AAAA",
		"a quote that is open":    `"alice@example.com ` + key,
		"a pattern that is none":  "[alice " + key,
		"an error in second line": "alice@example.com " + key + "\nbob",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := trust.ParseAllowedSigners([]byte(text), nil); err == nil {
				t.Error("the file is accepted")
			}
		})
	}
	if _, err := trust.ParseAllowedSigners([]byte("a "+key), []byte("SSHKRL\n\x00\x01")); err == nil || !strings.Contains(err.Error(), "binary key revocation list") {
		t.Errorf("a binary revocation list: %v", err)
	}
}

func TestCertificatesOfAnAuthorityCountForTheirPrincipals(t *testing.T) {
	authority, alice := newSSHKey(t), newSSHKey(t)
	if out, err := exec.Command("ssh-keygen", "-q", "-s", authority.file, "-I", "alice laptop", "-n", "alice@example.com", "-V", "-1d:+1d", alice.file+".pub").CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	r := gitserver.NewRepo(t)
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingKey", alice.file+"-cert.pub")
	h := git.Hash(r.Commit("by certificate", map[string]string{"x": "1"}, "-S"))
	repo := open(t, r)
	for _, tc := range []struct {
		name, lines, revoked string
		state                trust.State
	}{
		{"a principal of the domain is trusted", "*@example.com cert-authority " + authority.public, "", trust.Trusted},
		{"a principal of another domain is refused", "*@example.org cert-authority " + authority.public, "", trust.Refused},
		{"an excluded principal is refused", "!alice@example.com,*@example.com cert-authority " + authority.public, "", trust.Refused},
		{"an authority that is only a signer vouches for nobody", "*@example.com " + authority.public, "", trust.Refused},
		{"a revoked authority vouches for nobody", "*@example.com cert-authority " + authority.public, authority.public, trust.Refused},
		{"a revoked key is refused with its certificate", "*@example.com cert-authority " + authority.public, alice.public, trust.Refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := judge(t, &trust.Rules{SSH: signers(t, tc.lines, tc.revoked)}, repo, h)
			if e.State != tc.state {
				t.Errorf("%s because %q, want %s", e.State, e.Reason, tc.state)
			}
			if tc.state == trust.Trusted && e.Signer != "alice@example.com" {
				t.Errorf("signer %q", e.Signer)
			}
		})
	}
}

// store writes a raw commit object, as an attacker can.
func store(t *testing.T, r *gitserver.Repo, raw []byte) git.Hash {
	t.Helper()
	cmd := exec.Command("git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
	cmd.Dir, cmd.Stdin = r.Dir, bytes.NewReader(raw)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return git.Hash(strings.TrimSpace(string(out)))
}

func TestASignatureCountsOnlyForTheCommitItWasMadeFor(t *testing.T) {
	alice, mallory := newSSHKey(t), newSSHKey(t)
	r := gitserver.NewRepo(t)
	signed := alice.sign(t, r, "signed", map[string]string{"x": "1"})
	repo := open(t, r)
	rules := &trust.Rules{SSH: signers(t, "alice@example.com "+alice.public, "")}
	raw, err := repo.RawCommit(t.Context(), signed)
	if err != nil {
		t.Fatal(err)
	}
	mallorys := mallory.sign(t, r, "other", map[string]string{"x": "2"})
	evil, err := repo.RawCommit(t.Context(), mallorys)
	if err != nil {
		t.Fatal(err)
	}
	header := string(raw[bytes.Index(raw, []byte("gpgsig ")):bytes.Index(raw, []byte("\n\n"))])
	for _, tc := range []struct {
		name  string
		raw   string
		state trust.State
	}{
		{"unchanged it counts", string(raw), trust.Trusted},
		{"with another message it does not", strings.Replace(string(raw), "\n\nsigned", "\n\nsigned by me", 1), trust.Refused},
		{"with another tree it does not", strings.Replace(string(raw), string(raw[5:45]), string(evil[5:45]), 1), trust.Refused},
		{"moved to another commit it does not", strings.Replace(string(evil), string(evil[bytes.Index(evil, []byte("gpgsig ")):bytes.Index(evil, []byte("\n\n"))]), header, 1), trust.Refused},
		{"beside another signature it does not", strings.Replace(string(raw), header, header+"\n"+string(evil[bytes.Index(evil, []byte("gpgsig ")):bytes.Index(evil, []byte("\n\n"))]), 1), trust.Refused},
		{"in the message it is no signature", strings.Replace(string(raw), header+"\n", "", 1) + "\n" + header + "\n", trust.Unsigned},
		{"cut off it does not", strings.Replace(string(raw), header, header[:len(header)/2], 1), trust.Refused},
		{"of no known kind it does not", strings.Replace(string(raw), header, "gpgsig trust me", 1), trust.Refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if e := judge(t, rules, repo, store(t, r, []byte(tc.raw))); e.State != tc.state {
				t.Errorf("%s because %q, want %s", e.State, e.Reason, tc.state)
			}
		})
	}
}

func TestNobodyIsTrustedByRulesThatNameNobody(t *testing.T) {
	alice := newSSHKey(t)
	r := gitserver.NewRepo(t)
	h := alice.sign(t, r, "signed", map[string]string{"x": "1"})
	if e := judge(t, &trust.Rules{}, open(t, r), h); e.State == trust.Trusted {
		t.Errorf("evidence %+v", e)
	}
}

func TestAPlatformsKeyCountsForMergesOnly(t *testing.T) {
	alice, platform := newSSHKey(t), newSSHKey(t)
	r := gitserver.NewRepo(t)
	alice.sign(t, r, "base", map[string]string{"x": "1"})
	r.Git("checkout", "--quiet", "-b", "topic")
	alice.sign(t, r, "topic", map[string]string{"y": "1"})
	r.Git("checkout", "--quiet", "main")
	r.Git("config", "user.signingKey", platform.file)
	r.Git("merge", "--quiet", "--no-ff", "-S", "-m", "merge", "topic")
	repo := open(t, r)
	tip, err := repo.Resolve(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	file := "alice@example.com " + alice.public + "\nhost@example.com " + platform.public
	rules := &trust.Rules{SSH: signers(t, file, ""), Platforms: []trust.Platform{{Key: platform.fingerprint}}}
	all, err := rules.Range(t.Context(), repo, tip, "")
	if err != nil || len(all) != 3 {
		t.Fatalf("evidence %+v, %v", all, err)
	}
	for _, e := range all {
		if e.State != trust.Trusted {
			t.Errorf("%s is %s because %q", e.Commit.Subject, e.State, e.Reason)
		}
	}
	direct := platform.sign(t, r, "pushed with the platform's key", map[string]string{"x": "2"})
	if e := judge(t, rules, repo, direct); e.State != trust.Refused || !strings.Contains(e.Reason, "this is no merge") {
		t.Errorf("%s because %q", e.State, e.Reason)
	}
	rules.Platforms[0].Squash = true
	if e := judge(t, rules, repo, direct); e.State != trust.Trusted {
		t.Errorf("%s because %q", e.State, e.Reason)
	}
}

func TestAnUnsignedCommitInsideAMergedBranchIsFound(t *testing.T) {
	alice := newSSHKey(t)
	r := gitserver.NewRepo(t)
	base := alice.sign(t, r, "base", map[string]string{"x": "1"})
	r.Git("checkout", "--quiet", "-b", "topic")
	r.Commit("smuggled", map[string]string{"y": "1"})
	alice.sign(t, r, "cover", map[string]string{"z": "1"})
	r.Git("checkout", "--quiet", "main")
	r.Git("merge", "--quiet", "--no-ff", "-S", "-m", "merge", "topic")
	repo := open(t, r)
	tip, err := repo.Resolve(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	rules := &trust.Rules{SSH: signers(t, "alice@example.com "+alice.public, "")}
	all, err := rules.Range(t.Context(), repo, tip, base)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]trust.State{}
	for _, e := range all {
		got[e.Commit.Subject] = e.State
	}
	if len(got) != 3 || got["smuggled"] != trust.Unsigned || got["cover"] != trust.Trusted || got["merge"] != trust.Trusted {
		t.Errorf("states %v", got)
	}
}

func TestPathsMayBeChangedByTheirSignersOnly(t *testing.T) {
	alice, bob := newSSHKey(t), newSSHKey(t)
	r := gitserver.NewRepo(t)
	allowed := signers(t, "alice@example.com "+alice.public+"\nbob@example.com "+bob.public, "")
	repo := open(t, r)
	alicesOnly := []string{"alice@example.com"}
	for i, tc := range []struct {
		name, pattern, file string
		by                  sshKey
		state               trust.State
	}{
		{"its signer may", "clusters/prod", "clusters/prod/web/x.yaml", alice, trust.Trusted},
		{"another may not", "clusters/prod", "clusters/prod/web/x.yaml", bob, trust.Refused},
		{"another may elsewhere", "clusters/prod", "clusters/production/x.yaml", bob, trust.Trusted},
		{"a pattern of segments", "clusters/*/rbac", "clusters/prod/rbac/x.yaml", bob, trust.Refused},
		{"a pattern of any depth", "**/gitgate.yaml", "a/b/gitgate.yaml", bob, trust.Refused},
		{"a pattern of any depth at the root", "**/gitgate.yaml", "gitgate.yaml", bob, trust.Refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := tc.by.sign(t, r, tc.name, map[string]string{tc.file: fmt.Sprint(i)})
			rules := &trust.Rules{SSH: allowed, Paths: []trust.PathRule{{Pattern: tc.pattern, Signers: alicesOnly}}}
			if e := judge(t, rules, repo, h); e.State != tc.state {
				t.Errorf("%s because %q, want %s", e.State, e.Reason, tc.state)
			}
		})
	}
}

// signedWith appends a signature header to an unsigned raw commit.
func signedWith(raw []byte, signature string) []byte {
	header := "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ") + "\n"
	at := bytes.Index(raw, []byte("\n\n")) + 1
	return append(append(append([]byte{}, raw[:at]...), header...), raw[at:]...)
}

func TestOpenPGPSignaturesCountByTheKeyring(t *testing.T) {
	newKey := func(email string, config *packet.Config) *openpgp.Entity {
		if config == nil {
			config = &packet.Config{}
		}
		config.Algorithm = packet.PubKeyAlgoEdDSA // as quick to make as an SSH key
		key, err := openpgp.NewEntity("Somebody", "", email, config)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	public := func(key *openpgp.Entity) []byte {
		var b bytes.Buffer
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Serialize(w); err != nil {
			t.Fatal(err)
		}
		w.Close()
		return b.Bytes()
	}
	longAgo := &packet.Config{Time: func() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }, KeyLifetimeSecs: 3600}
	alice, mallory, expired := newKey("alice@example.com", nil), newKey("mallory@example.com", nil), newKey("old@example.com", longAgo)
	revoked := newKey("gone@example.com", nil)
	r := gitserver.NewRepo(t)
	unsigned := git.Hash(r.Commit("unsigned", map[string]string{"x": "1"}))
	repo := open(t, r)
	raw, err := repo.RawCommit(t.Context(), unsigned)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key *openpgp.Entity, config *packet.Config) git.Hash {
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, key, bytes.NewReader(raw), config); err != nil {
			t.Fatal(err)
		}
		return store(t, r, signedWith(raw, b.String()))
	}
	byRevoked := sign(revoked, nil)
	if err := revoked.RevokeKey(packet.KeyCompromised, "stolen", nil); err != nil {
		t.Fatal(err)
	}
	keyring := func(keys ...*openpgp.Entity) *trust.Keyring {
		var texts [][]byte
		for _, k := range keys {
			texts = append(texts, public(k))
		}
		k, err := trust.ParseKeyring(texts...)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, tc := range []struct {
		name   string
		commit git.Hash
		keys   *trust.Keyring
		state  trust.State
		reason string
	}{
		{"a key of the ring is trusted", sign(alice, nil), keyring(mallory, alice), trust.Trusted, ""},
		{"a signature made a minute after the commit is trusted", sign(alice, &packet.Config{Time: func() time.Time { return time.Now().Add(time.Minute) }}), keyring(alice), trust.Trusted, ""},
		{"another key is refused", sign(mallory, nil), keyring(alice), trust.Refused, "not in the keyring"},
		{"a key that had expired is refused", sign(expired, longAgo), keyring(expired), trust.Refused, "expired"},
		{"a revoked key is refused", byRevoked, keyring(revoked), trust.Refused, "revoked"},
		{"an unsigned commit is unsigned", unsigned, keyring(alice), trust.Unsigned, "not signed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := judge(t, &trust.Rules{OpenPGP: tc.keys}, repo, tc.commit)
			if e.State != tc.state || !strings.Contains(e.Reason, tc.reason) {
				t.Errorf("%s because %q, want %s because %q", e.State, e.Reason, tc.state, tc.reason)
			}
			if tc.state == trust.Trusted && (e.Signer != "alice@example.com" || len(e.Key) != 40) {
				t.Errorf("evidence %+v", e)
			}
		})
	}
	var private bytes.Buffer
	if err := alice.SerializePrivate(&private, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.ParseKeyring(private.Bytes()); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a private key as trusted key: %v", err)
	}
}

func TestX509SignaturesCountForTheirIdentities(t *testing.T) {
	now := time.Now()
	newCA := func() (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	ca, caKey := newCA()
	otherCA, otherKey := newCA()
	issuer, err := asn1.Marshal("https://issuer.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r := gitserver.NewRepo(t)
	unsigned := git.Hash(r.Commit("unsigned", map[string]string{"x": "1"}))
	repo := open(t, r)
	raw, err := repo.RawCommit(t.Context(), unsigned)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(signedText []byte, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, notAfter time.Time) git.Hash {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		workflow, _ := url.Parse("https://git.example.com/platform/fleet/.ci/release")
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-2 * time.Hour), NotAfter: notAfter, EmailAddresses: []string{"alice@example.com"}, URIs: []*url.URL{workflow},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer}}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		message, err := pkcs7.NewSignedData(signedText)
		if err != nil {
			t.Fatal(err)
		}
		message.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
		if err := message.AddSigner(cert, key, pkcs7.SignerInfoConfig{}); err != nil {
			t.Fatal(err)
		}
		message.Detach()
		signature, err := message.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return store(t, r, signedWith(raw, string(pem.EncodeToMemory(&pem.Block{Type: "SIGNED MESSAGE", Bytes: signature}))))
	}
	pattern, err := trust.AnchoredPattern(`https://git\.example\.com/platform/fleet/.*`)
	if err != nil {
		t.Fatal(err)
	}
	loose, err := trust.AnchoredPattern(`alice@example`)
	if err != nil {
		t.Fatal(err)
	}
	alice := trust.Identity{Issuer: "https://issuer.example.com", Subject: "alice@example.com"}
	good := sign(raw, ca, caKey, now.Add(time.Hour))
	for _, tc := range []struct {
		name     string
		commit   git.Hash
		identity trust.Identity
		state    trust.State
		reason   string
	}{
		{"the identity named is trusted", good, alice, trust.Trusted, ""},
		{"an identity by pattern is trusted", good, trust.Identity{Issuer: alice.Issuer, SubjectPattern: pattern}, trust.Trusted, ""},
		{"a pattern has to match in full", good, trust.Identity{Issuer: alice.Issuer, SubjectPattern: loose}, trust.Refused, "for nobody"},
		{"another subject is refused", good, trust.Identity{Issuer: alice.Issuer, Subject: "bob@example.com"}, trust.Refused, "for nobody"},
		{"another issuer is refused", good, trust.Identity{Issuer: "https://evil.example.com", Subject: alice.Subject}, trust.Refused, "for nobody"},
		{"an identity without issuer does not match one with", good, trust.Identity{Subject: alice.Subject}, trust.Refused, "for nobody"},
		{"another authority is refused", sign(raw, otherCA, otherKey, now.Add(time.Hour)), alice, trust.Refused, "does not count"},
		{"a certificate that had expired is refused", sign(raw, ca, caKey, now.Add(-time.Minute)), alice, trust.Refused, "does not count"},
		{"a signature of something else is refused", sign([]byte("something else"), ca, caKey, now.Add(time.Hour)), alice, trust.Refused, "does not fit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			authorities, err := trust.ParseAuthorities(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), []trust.Identity{tc.identity})
			if err != nil {
				t.Fatal(err)
			}
			e := judge(t, &trust.Rules{X509: authorities}, repo, tc.commit)
			if e.State != tc.state || !strings.Contains(e.Reason, tc.reason) {
				t.Errorf("%s because %q, want %s because %q", e.State, e.Reason, tc.state, tc.reason)
			}
		})
	}
}

func FuzzRawCommit(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\ngpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n\nmessage\n"))
	f.Add([]byte("gpgsig -----BEGIN PGP SIGNATURE-----\n\n"))
	f.Add([]byte("gpgsig -----BEGIN SIGNED MESSAGE-----\n MIIB\n -----END SIGNED MESSAGE-----\n\nx"))
	entity, err := openpgp.NewEntity("a", "", "a@example.com", nil)
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := entity.Serialize(&b); err != nil {
		f.Fatal(err)
	}
	keyring, err := trust.ParseKeyring(b.Bytes())
	if err != nil {
		f.Fatal(err)
	}
	signer, err := trust.ParseAllowedSigners([]byte("a@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbMVpT7VYYbLN1e/8WLqGOQMAP2GKFmFQ3ZJtDdbCHN\n"), nil)
	if err != nil {
		f.Fatal(err)
	}
	rules := &trust.Rules{SSH: signer, OpenPGP: keyring, X509: &trust.Authorities{}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e := trust.JudgeRaw(rules, raw); e.State == trust.Trusted {
			t.Errorf("an object that nobody signed is trusted: %q", raw)
		}
	})
}
