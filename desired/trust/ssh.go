package trust

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// AllowedSigners is a file as ssh-keygen(1) describes it under ALLOWED SIGNERS, with the keys that are revoked.
type AllowedSigners struct {
	lines   []allowedSigner
	revoked map[string]bool // by fingerprint
}

type allowedSigner struct {
	principals  []string // patterns
	key         ssh.PublicKey
	fingerprint string
	authority   bool     // key signs certificates
	namespaces  []string // patterns; nil for all
	after       time.Time
	before      time.Time // zero for no end
}

// gitNamespace is the namespace of signatures that git makes.
const gitNamespace = "git"

// ParseAllowedSigners reads an allowed-signers file and a file of revoked public keys, one a line as in authorized_keys; nil
// when there is none. Binary key revocation lists are refused. Errors name the line.
func ParseAllowedSigners(text, revoked []byte) (*AllowedSigners, error) {
	a := &AllowedSigners{revoked: map[string]bool{}}
	var errs []error
	for n, line := range fileLines(text) {
		s, err := parseSigner(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		a.lines = append(a.lines, s)
	}
	if len(a.lines) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("file names no signer"))
	}
	if bytes.HasPrefix(revoked, []byte("SSHKRL\n\x00")) {
		errs = append(errs, errors.New("revoked keys: a binary key revocation list; expected public keys, one a line"))
		revoked = nil
	}
	for n, line := range fileLines(revoked) {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			errs = append(errs, fmt.Errorf("revoked keys: line %d: %w", n, err))
			continue
		}
		a.revoked[ssh.FingerprintSHA256(key)] = true
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return a, nil
}

// fileLines visits the lines of text that say something, with their numbers from 1.
func fileLines(text []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		scanner := bufio.NewScanner(bytes.NewReader(text))
		scanner.Buffer(nil, 1<<20)
		for n := 1; scanner.Scan(); n++ {
			line := strings.TrimSpace(scanner.Text())
			if line != "" && !strings.HasPrefix(line, "#") && !yield(n, line) {
				return
			}
		}
	}
}

func parseSigner(line string) (allowedSigner, error) {
	var s allowedSigner
	principals, rest, err := cutField(line)
	if err != nil {
		return s, err
	}
	s.principals = strings.Split(principals, ",")
	for _, p := range s.principals {
		if _, err := path.Match(strings.TrimPrefix(p, "!"), ""); p == "" || err != nil {
			return s, fmt.Errorf("principal %q: no valid pattern", p)
		}
	}
	// ParseAuthorizedKey reads options before the key, as in authorized_keys: the same grammar.
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, fmt.Errorf("public key: %w", err)
	}
	s.key, s.fingerprint = key, ssh.FingerprintSHA256(key)
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "cert-authority":
			s.authority = true
		case "namespaces":
			s.namespaces = strings.Split(value, ",")
		case "valid-after":
			s.after, err = parseTime(value)
		case "valid-before":
			s.before, err = parseTime(value)
		default:
			err = fmt.Errorf("option %q: expected cert-authority, namespaces, valid-after or valid-before", name)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// cutField takes the first field off line; it may be quoted.
func cutField(line string) (field, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		field, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("a quotation mark is not closed")
		}
		return field, strings.TrimSpace(rest), nil
	}
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", "", errors.New("expected principals, options and a public key")
	}
	return line[:i], strings.TrimSpace(line[i:]), nil
}

// parseTime reads YYYYMMDD[HHMM[SS]][Z]. Without Z, ssh-keygen takes local time; that would make a verdict depend on where it
// is given, so it is UTC here.
func parseTime(s string) (time.Time, error) {
	digits := strings.TrimSuffix(s, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			if t, err := time.Parse(layout, digits); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("time %q: expected YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with or without Z", s)
}

func (a *AllowedSigners) verify(payload []byte, signature string, at time.Time) Evidence {
	sig, err := sshsig.Unarmor([]byte(signature))
	if err != nil {
		return Evidence{Reason: fmt.Sprintf("the SSH signature cannot be read: %v", err)}
	}
	e := Evidence{Key: ssh.FingerprintSHA256(sig.PublicKey)}
	if err := sshsig.Verify(bytes.NewReader(payload), sig, sig.PublicKey, sig.HashAlgorithm, gitNamespace); err != nil {
		e.Reason = fmt.Sprintf("the SSH signature does not fit the commit: %v", err)
		return e
	}
	cert, _ := sig.PublicKey.(*ssh.Certificate)
	if cert != nil {
		e.Key = ssh.FingerprintSHA256(cert.Key)
		if a.revoked[ssh.FingerprintSHA256(cert.SignatureKey)] {
			e.Reason = fmt.Sprintf("authority %s is revoked", ssh.FingerprintSHA256(cert.SignatureKey))
			return e
		}
	}
	if a.revoked[e.Key] {
		e.Reason = fmt.Sprintf("key %s is revoked", e.Key)
		return e
	}
	why := fmt.Sprintf("key %s is not among the allowed signers", e.Key)
	for _, s := range a.lines {
		signer, problem := s.match(sig.PublicKey, cert, at)
		if problem == "" && signer != "" {
			e.State, e.Signer = Trusted, signer
			return e
		}
		if problem != "" {
			why = problem
		}
	}
	e.Reason = why
	return e
}

// match says whom s takes key for, "" when it is not about key. The second result says why it does not count although it is.
func (s *allowedSigner) match(key ssh.PublicKey, cert *ssh.Certificate, at time.Time) (signer, problem string) {
	switch {
	case s.authority && cert == nil, !s.authority && cert != nil:
		return "", ""
	case s.authority && !bytes.Equal(cert.SignatureKey.Marshal(), s.key.Marshal()):
		return "", ""
	case !s.authority && !bytes.Equal(key.Marshal(), s.key.Marshal()):
		return "", ""
	}
	signer = s.principals[0]
	if s.authority {
		i := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool { return matchPrincipal(s.principals, p) })
		if i < 0 {
			return "", fmt.Sprintf("certificate %q names no principal that its authority may vouch for", cert.KeyId)
		}
		signer = cert.ValidPrincipals[i]
		checker := ssh.CertChecker{Clock: func() time.Time { return at }}
		if cert.CertType != ssh.UserCert {
			return "", fmt.Sprintf("certificate %q is no user certificate", cert.KeyId)
		}
		if err := checker.CheckCert(signer, cert); err != nil {
			return "", fmt.Sprintf("certificate %q: %v", cert.KeyId, err)
		}
	}
	switch {
	case s.namespaces != nil && !matchPrincipal(s.namespaces, gitNamespace):
		return "", fmt.Sprintf("key %s of %s is not allowed to sign for git", s.fingerprint, signer)
	case !s.after.IsZero() && at.Before(s.after):
		return "", fmt.Sprintf("key %s of %s is valid from %s on, and the commit is of %s", s.fingerprint, signer, day(s.after), day(at))
	case !s.before.IsZero() && !at.Before(s.before):
		return "", fmt.Sprintf("key %s of %s was valid before %s, and the commit is of %s", s.fingerprint, signer, day(s.before), day(at))
	}
	return signer, ""
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// matchPrincipal matches a pattern list of ssh_config(5): one pattern has to match and none with "!".
func matchPrincipal(patterns []string, name string) bool {
	matched := false
	for _, p := range patterns {
		negated := strings.HasPrefix(p, "!")
		if ok, err := path.Match(strings.TrimPrefix(p, "!"), name); err == nil && ok {
			if negated {
				return false
			}
			matched = true
		}
	}
	return matched
}
