package git_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/test/gitserver"
)

// What is read without git's log is what git's log says.
func TestOneCommitOnTopIsReadAsGitReadsIt(t *testing.T) {
	r := gitserver.NewRepo(t)
	before := r.Commit("first", map[string]string{"a": "1"})
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	for i, tc := range []struct {
		name, message string
		args          []string
	}{
		{"a subject alone", "one line", nil},
		{"a subject on several lines", "one\ntwo\n\nthree", nil},
		{"a message without a subject", "\n\n", []string{"--allow-empty-message"}},
		{"spaces around", "  one  \n", []string{"--cleanup=verbatim"}},
		{"spaces in a line between", "one\n \ntwo", []string{"--cleanup=verbatim"}},
		{"a carriage return", "one\r\ntwo\r\n\r\nthree", []string{"--cleanup=verbatim"}},
		{"an author with other letters", "é", []string{"--author=Zoë O'Neil <zoe@example.com>"}},
		{"a time zone and a date", "x", []string{"--date=2001-01-02T03:04:05+0530"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := r.Commit(tc.message, map[string]string{"a": fmt.Sprint("x", i)}, tc.args...)
			got, err := repo.FirstParents(t.Context(), git.Hash(next), git.Hash(before), 0)
			if err != nil {
				t.Fatal(err)
			}
			want, err := repo.Commit(t.Context(), git.Hash(next))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			before = next
		})
	}
}

// Git takes the first of two trees, and parents at the beginning alone; others take the last, or all. What a commit changes, and so who may
// have signed it, is not told of one that can be read in two ways.
func TestACommitThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("first", map[string]string{"a": "1"})
	second := r.Commit("second", map[string]string{"a": "2"})
	repo := open(t, r)
	tree := func(commit string) string {
		c, err := repo.Commit(t.Context(), git.Hash(commit))
		if err != nil {
			t.Fatal(err)
		}
		return "tree " + string(c.Tree) + "\n"
	}
	const who = "A <a@example.com> 1700000000 +0000\n"
	author, committer, parent := "author "+who, "committer "+who, "parent "+first+"\n"
	for _, tc := range []struct {
		name, header string
		refused      bool
	}{
		{"as git writes it", tree(second) + parent + author + committer, false},
		{"with a signature", tree(second) + parent + author + committer + "gpgsig x\n tree y\n parent z\n", false},
		{"without parents", tree(second) + author + committer, false},
		{"two trees", tree(second) + tree(first) + parent + author + committer, true},
		{"a tree behind the parents", tree(second) + parent + tree(first) + author + committer, true},
		{"a parent behind the author", tree(second) + parent + author + "parent " + second + "\n" + committer, true},
		{"a parent at the end", tree(second) + parent + author + committer + "parent " + second + "\n", true},
		{"two committers", tree(second) + parent + author + committer + "committer B <b@example.com> 1800000000 +0000\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
			cmd.Dir, cmd.Stdin = r.Dir, strings.NewReader(tc.header+"\nx\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			_, err = repo.Changed(t.Context(), git.Hash(strings.TrimSpace(string(out))))
			if refused := err != nil && strings.Contains(err.Error(), "twice or out of order"); refused != tc.refused || err != nil && !refused {
				t.Errorf("got %v", err)
			}
		})
	}
}
