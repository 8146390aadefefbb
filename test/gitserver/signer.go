package gitserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Signer is a person with an SSH key that ssh-keygen made.
type Signer struct {
	Allowed string // the person's line of an allowed_signers file
	file    string
}

// NewSigner makes a key for a person.
func NewSigner(t T, principal string) *Signer {
	t.Helper()
	s := &Signer{file: filepath.Join(t.TempDir(), "key")}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", s.file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(s.file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s.Allowed = principal + ` namespaces="git" ` + strings.TrimSpace(string(public)) + "\n"
	return s
}

// Use makes s the one who signs the commits of r that are made with -S.
func (s *Signer) Use(r *Repo) {
	r.t.Helper()
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingKey", s.file)
}
