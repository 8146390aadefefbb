package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
)

// maxTrustFile bounds one file of keys.
const maxTrustFile = 4 << 20

// trustRules are the rules of source i with the keys that files hold. files is the folder of gitgate.yaml. The result is nil for a
// source without trust. Errors stand at the field that names the file.
func trustRules(c *bundle.Config, i int, files fs.FS) (*trust.Rules, error) {
	t := c.Sources[i].Trust
	if t == nil {
		return nil, nil
	}
	r := &trust.Rules{}
	var errs []error
	fail := func(err error, steps ...any) {
		errs = append(errs, policies.ErrorAt(c.Position(append([]any{"sources", i, "trust"}, steps...)...), err))
	}
	read := func(name string, steps ...any) ([]byte, bool) {
		text, err := readTrustFile(files, name)
		if err != nil {
			fail(err, steps...)
		}
		return text, err == nil
	}
	if s := t.SSH; s != nil {
		signers, ok := read(s.AllowedSigners, "ssh", "allowedSigners")
		var revoked []byte
		if s.Revoked != "" {
			text, read := read(s.Revoked, "ssh", "revoked")
			revoked, ok = text, ok && read
		}
		if ok {
			var err error
			if r.SSH, err = trust.ParseAllowedSigners(signers, revoked); err != nil {
				fail(fmt.Errorf("%s: %w", s.AllowedSigners, err), "ssh", "allowedSigners")
			}
		}
	}
	if s := t.OpenPGP; s != nil {
		var texts [][]byte
		for j, name := range s.Keys {
			if text, ok := read(name, "openpgp", "keys", j); ok {
				texts = append(texts, text)
			}
		}
		if len(texts) == len(s.Keys) {
			var err error
			if r.OpenPGP, err = trust.ParseKeyring(texts...); err != nil {
				fail(err, "openpgp", "keys")
			}
		}
	}
	if s := t.X509; s != nil {
		if text, ok := read(s.Roots, "x509", "roots"); ok {
			identities, err := trustedIdentities(s.Identities)
			if err == nil {
				r.X509, err = trust.ParseAuthorities(text, identities)
			}
			if err != nil {
				fail(err, "x509")
			}
		}
	}
	for _, p := range t.Platforms {
		r.Platforms = append(r.Platforms, trust.Platform{Key: p.Key, Squash: p.Squash})
	}
	for j, p := range t.Paths {
		if err := trust.CheckPattern(p.Pattern); err != nil {
			fail(err, "paths", j, "pattern")
		}
		r.Paths = append(r.Paths, trust.PathRule{Pattern: p.Pattern, Signers: p.Signers})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

func trustedIdentities(all []bundle.Identity) ([]trust.Identity, error) {
	var out []trust.Identity
	for _, id := range all {
		identity := trust.Identity{Issuer: id.Issuer, Subject: id.Subject}
		if id.SubjectPattern != "" {
			pattern, err := trust.AnchoredPattern(id.SubjectPattern)
			if err != nil {
				return nil, fmt.Errorf("pattern of a subject: %w", err)
			}
			identity.SubjectPattern = pattern
		}
		out = append(out, identity)
	}
	return out, nil
}

func readTrustFile(files fs.FS, name string) ([]byte, error) {
	file, err := files.Open(path.Clean(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := readBounded(file, maxTrustFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// configAt reads gitgate.yaml, and nothing that it names, from a file system.
func configAt(ctx context.Context, files fs.FS, name string) (*bundle.Config, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := readBounded(file, maxTrustFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bundle.Decode(name, text)
}

// decodeConfig reads gitgate.yaml, and nothing that it names. What is wrong with it has been told when the error is.
func (p *program) decodeConfig(file string) (*bundle.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	c, err := bundle.Decode(filepath.Base(file), text)
	if err != nil {
		p.printError(err, p.shown(filepath.Dir(file)))
		return nil, exitWith(exitUsage, nil)
	}
	return c, nil
}
