package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/gitserver"
)

// signingKey makes an SSH key and returns its file and its public line.
func signingKey(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(text))
}

const trustedFleet = `apiVersion: gitgate.dev/v1alpha1
kind: Gate
sources: [{name: fleet, path: apps, trust: {ssh: {allowedSigners: .gitgate/allowed_signers}, paths: [{pattern: .gitgate/**, signers: [alice@example.com]}]}}]
`

func TestVerifySaysWhoseSignatureCounts(t *testing.T) {
	alice, alicePublic := signingKey(t)
	bob, bobPublic := signingKey(t)
	mallory, malloryPublic := signingKey(t)
	r := gitserver.NewRepo(t)
	r.Git("config", "gpg.format", "ssh")
	commit := func(key, message string, files map[string]string) string {
		r.Write(files)
		if key == "" {
			return r.Commit(message, nil)
		}
		return r.Commit(message, nil, "-S"+key)
	}
	first := commit(alice, "trust", map[string]string{
		"gitgate.yaml": trustedFleet, ".gitgate/allowed_signers": "alice@example.com " + alicePublic + "\nbob@example.com " + bobPublic + "\n", "apps/a.yaml": "a: 1\n",
	})
	byBob := commit(bob, "a change of an application", map[string]string{"apps/a.yaml": "a: 2\n"})
	r.Git("branch", "good")
	unsigned := commit("", "unsigned\x1b[31m", map[string]string{"apps/a.yaml": "a: 3\n"})
	r.Git("checkout", "-q", "-b", "bobs-keys", byBob)
	keysByBob := commit(bob, "bob lets mallory in", map[string]string{".gitgate/allowed_signers": "mallory@example.com " + malloryPublic + "\n"})
	byMallory := commit(mallory, "by mallory", map[string]string{"apps/a.yaml": "a: 4\n"})
	r.Git("checkout", "-q", "-b", "rewritten", first)
	commit(bob, "another history", map[string]string{"apps/a.yaml": "a: 5\n"})
	r.Git("checkout", "-q", "-b", "without", first)
	without := commit(alice, "no trust", map[string]string{"gitgate.yaml": "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\nsources: [{name: fleet}]\n"})
	r.Git("checkout", "-q", "main")
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string // parts of what is printed
	}{
		{"the commit that is checked out", []string{"verify"}, 1, []string{unsigned[:10] + "  unsigned", "not signed", `unsigned\x1b[31m`, "verified 1 commit by the rules of source fleet in the work tree: 0 trusted, 1 not"}},
		{"a good range", []string{"verify", first + "..good"}, 0, []string{byBob[:10] + "  trusted  bob@example.com", "in " + first[:10] + ": 1 trusted, 0 not"}},
		{"a range with an unsigned commit", []string{"verify", first + "..main"}, 1, []string{byBob[:10] + "  trusted", unsigned[:10] + "  unsigned"}},
		{"a range that lets itself in is judged by the rules of its base", []string{"verify", byBob + "..bobs-keys"}, 1, []string{keysByBob[:10] + "  refused", "bob@example.com may not change .gitgate/allowed_signers", byMallory[:10] + "  refused"}},
		{"rules of a commit that is named", []string{"verify", "--rules-from", "bobs-keys", byMallory}, 0, []string{byMallory[:10] + "  trusted  mallory@example.com"}},
		{"a branch that was rewritten", []string{"verify", "good..rewritten"}, 1, []string{"does not descend from " + byBob[:10] + ": the branch was rewritten"}},
		{"a range from the merge base", []string{"verify", "good...rewritten"}, 0, []string{"trusted  bob@example.com"}},
		{"a base without trust", []string{"verify", without + "..main"}, 2, []string{"no source in gitgate.yaml has trust"}},
		{"a revision that is not there", []string{"verify", "nowhere"}, 2, []string{"revision nowhere: not found in the repository"}},
		{"an option in place of a revision", []string{"verify", "--", "--all"}, 2, []string{"revision --all: not found"}},
		{"a source that is not there", []string{"verify", "--source", "other"}, 2, []string{"--source other: no such source; gitgate.yaml has fleet"}},
		{"no base", []string{"verify", "..main"}, 2, []string{"names no base"}},
		{"a format that is not there", []string{"verify", "-o", "xml"}, 2, []string{"expected text or json"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &out, env: func(string) string { return "" }, dir: r.Dir}
			if code := p.run(t.Context(), tc.args); code != tc.code {
				t.Errorf("exit code is %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not said", want)
				}
			}
			if t.Failed() {
				t.Logf("said:\n%s", out.String())
			}
		})
	}

	var out, said bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &said, env: func(string) string { return "" }, dir: filepath.Join(r.Dir, "apps")}
	if code := p.run(t.Context(), []string{"verify", "-o", "json", first + "..good"}); code != 0 {
		t.Fatalf("exit code is %d: %s", code, said.String())
	}
	var got verifyOutput
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Trusted || got.Rules != first || len(got.Commits) != 1 || got.Commits[0].Signer != "bob@example.com" || got.Commits[0].Method != "ssh" || !strings.HasPrefix(got.Commits[0].Key, "SHA256:") {
		t.Errorf("got %+v", got)
	}
}
