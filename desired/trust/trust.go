// Package trust says whether a commit is signed by somebody whose signature counts. It verifies OpenPGP, SSH and X.509 (gitsign)
// signatures in process, and returns evidence, not a bool. It knows nothing of Kubernetes, and of Git only commits and paths.
package trust

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitgate.dev/gitgate/desired/git"
)

// State says what a signature is worth. The zero value is worth nothing.
type State int

const (
	Refused  State = iota // there is a signature and it does not count, or none is enough
	Unsigned              // there is no signature
	Trusted               // signed by somebody whose signature counts for what the commit does
)

func (s State) String() string {
	switch s {
	case Trusted:
		return "trusted"
	case Unsigned:
		return "unsigned"
	default:
		return "refused"
	}
}

// Evidence is what is known of a commit's signature.
type Evidence struct {
	Commit git.Commit
	State  State
	Method string // "ssh", "openpgp", "x509"; "" when unsigned
	Signer string // who signed, as the rules name them: a principal, a user id, a certificate's subject; "" when not known
	Key    string // fingerprint of the key or certificate: "SHA256:…" (ssh), hexadecimal (OpenPGP, X.509)
	Reason string // why the commit is not trusted; "" when it is
}

// Rules say whose signatures count. The zero value trusts nobody.
type Rules struct {
	SSH     *AllowedSigners
	OpenPGP *Keyring
	X509    *Authorities

	// Platforms are keys of a Git host that signs merges on behalf of people. They count for merge commits only.
	Platforms []Platform

	// Paths narrow who may change what: a file that patterns match may be changed only by the signers of every rule that does.
	Paths []PathRule
}

// Platform is a Git host's own key.
type Platform struct {
	Key    string // the fingerprint as in Evidence.Key; compared in full
	Squash bool   // it counts for commits with one parent too: the host squashes or rebases, and its word is taken for the author's
}

// PathRule says who may change the files that a pattern matches.
type PathRule struct {
	Pattern string   // slash-separated; * and ? inside a segment, ** for any number of segments; a folder covers what is in it
	Signers []string // as in Evidence.Signer; compared in full
}

// Repository is what a range of commits is read from.
type Repository interface {
	Commits(ctx context.Context, tip, since git.Hash, limit int) ([]git.Commit, error)
	RawCommit(ctx context.Context, h git.Hash) ([]byte, error)
	Changed(ctx context.Context, commit git.Hash) ([]string, error)
}

// Range judges every commit that can be reached from tip and not from since, merged ones too, newest first. since "" means all
// of history. The error means "could not tell".
func (r *Rules) Range(ctx context.Context, repo Repository, tip, since git.Hash) ([]Evidence, error) {
	commits, err := repo.Commits(ctx, tip, since, 0)
	if err != nil {
		return nil, err
	}
	all := make([]Evidence, 0, len(commits))
	for _, c := range commits {
		e, err := r.Commit(ctx, repo, c)
		if err != nil {
			return nil, fmt.Errorf("commit %s: %w", c.Hash.Short(), err)
		}
		all = append(all, e)
	}
	return all, nil
}

// Commit judges one commit. The error means "could not tell".
func (r *Rules) Commit(ctx context.Context, repo Repository, c git.Commit) (Evidence, error) {
	raw, err := repo.RawCommit(ctx, c.Hash)
	if err != nil {
		return Evidence{}, err
	}
	e := r.signature(raw, c.Committer.When)
	e.Commit = c
	if e.State != Trusted {
		return e, nil
	}
	// A commit is made after its parents: an old date on a new parent does not revive a key that has expired since.
	at, err := latest(ctx, repo, c.Parents)
	if err != nil {
		return Evidence{}, err
	}
	if at.After(c.Committer.When) {
		if e = r.signature(raw, at); e.State != Trusted {
			e.Commit = c
			return e, nil
		}
		e.Commit = c
	}
	if platform, ok := r.platform(e.Key); ok {
		if len(c.Parents) < 2 && !platform.Squash {
			e.State, e.Reason = Refused, fmt.Sprintf("key %s is a platform's merge key, and this is no merge", e.Key)
			return e, nil
		}
	}
	if len(r.Paths) == 0 {
		return e, nil
	}
	changed, err := repo.Changed(ctx, c.Hash)
	if err != nil {
		return Evidence{}, err
	}
	for _, file := range changed {
		for _, rule := range r.Paths {
			if matchPath(rule.Pattern, file) && !slices.Contains(rule.Signers, e.Signer) {
				e.State = Refused
				e.Reason = fmt.Sprintf("%s may not change %s: only %s may", e.Signer, file, strings.Join(rule.Signers, ", "))
				return e, nil
			}
		}
	}
	return e, nil
}

func (r *Rules) platform(key string) (Platform, bool) {
	i := slices.IndexFunc(r.Platforms, func(p Platform) bool { return p.Key == key })
	if i < 0 {
		return Platform{}, false
	}
	return r.Platforms[i], true
}

// latest is the latest committer's date of some commits; zero for none.
func latest(ctx context.Context, repo Repository, commits []git.Hash) (time.Time, error) {
	var last time.Time
	for _, h := range commits {
		raw, err := repo.RawCommit(ctx, h)
		if err != nil {
			return time.Time{}, err
		}
		when, err := committed(raw)
		if err != nil {
			return time.Time{}, fmt.Errorf("parent %s: %w", h.Short(), err)
		}
		if when.After(last) {
			last = when
		}
	}
	return last, nil
}

// committed is the committer's date of a raw commit.
func committed(raw []byte) (time.Time, error) {
	for line := range strings.Lines(string(raw)) {
		if line == "\n" {
			break
		}
		if !strings.HasPrefix(line, "committer ") {
			continue
		}
		fields := strings.Fields(line[strings.LastIndexByte(line, '>')+1:])
		if len(fields) != 2 {
			break
		}
		seconds, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			break
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	return time.Time{}, errors.New("it has no committer's date")
}

// signature verifies the signature of a raw commit object. Validity times are compared with a date that the commit claims, as git
// does: a commit does not become untrusted because its signer's key expired afterwards.
func (r *Rules) signature(raw []byte, at time.Time) Evidence {
	payload, signature, err := split(raw)
	switch {
	case err != nil:
		return Evidence{State: Refused, Reason: err.Error()}
	case signature == "":
		return Evidence{State: Unsigned, Reason: "the commit is not signed"}
	}
	type verifier func(payload []byte, signature string, at time.Time) Evidence
	var method string
	var verify verifier
	switch {
	case strings.HasPrefix(signature, "-----BEGIN SSH SIGNATURE-----"):
		if method = "ssh"; r.SSH != nil {
			verify = r.SSH.verify
		}
	case strings.HasPrefix(signature, "-----BEGIN PGP SIGNATURE-----"):
		if method = "openpgp"; r.OpenPGP != nil {
			verify = r.OpenPGP.verify
		}
	case strings.HasPrefix(signature, "-----BEGIN SIGNED MESSAGE-----"):
		if method = "x509"; r.X509 != nil {
			verify = r.X509.verify
		}
	default:
		return Evidence{State: Refused, Reason: "the signature is of no known kind: expected SSH, OpenPGP or X.509"}
	}
	if verify == nil {
		return Evidence{State: Refused, Method: method, Reason: fmt.Sprintf("the commit has an %s signature, and the rules of this source trust none of that kind", method)}
	}
	e := verify(payload, signature, at)
	e.Method = method
	return e
}

// matchPath says whether a file is one that pattern names, or lies in a folder that it names.
func matchPath(pattern, file string) bool {
	return matchSegments(strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(file, "/"))
}

func matchSegments(pattern, file []string) bool {
	if len(pattern) == 0 {
		return true
	}
	if pattern[0] == "**" {
		for i := range len(file) + 1 {
			if matchSegments(pattern[1:], file[i:]) {
				return true
			}
		}
		return false
	}
	if len(file) == 0 {
		return false
	}
	ok, err := path.Match(pattern[0], file[0])
	return err == nil && ok && matchSegments(pattern[1:], file[1:])
}

// CheckPattern says what is wrong with a pattern of a PathRule.
func CheckPattern(pattern string) error {
	if strings.Trim(pattern, "/") == "" {
		return fmt.Errorf("path pattern %q: expected a path", pattern)
	}
	if strings.Count(pattern, "**") > 4 {
		return fmt.Errorf("path pattern %q: more than four **", pattern)
	}
	for segment := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(segment, ""); err != nil {
			return fmt.Errorf("path pattern %q: %w", pattern, err)
		}
	}
	return nil
}
