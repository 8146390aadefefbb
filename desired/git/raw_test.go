package git_test

import (
	"fmt"
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
