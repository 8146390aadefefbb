package git_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/test/gitserver"
)

func open(t *testing.T, r *gitserver.Repo) *git.Repo {
	t.Helper()
	repo, top, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	if want, _ := filepath.EvalSymlinks(r.Dir); top != want {
		t.Fatalf("work tree %s, want %s", top, want)
	}
	return repo
}

func TestARepositoryIsOpenedFromAFolderInsideIt(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("first", map[string]string{"apps/web/x.yaml": "one\n"})
	repo, top, err := git.Open(t.Context(), filepath.Join(r.Dir, "apps", "web"))
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	if want, _ := filepath.EvalSymlinks(r.Dir); top != want {
		t.Errorf("work tree %s, want %s", top, want)
	}
	if _, err := repo.Resolve(t.Context(), "HEAD"); err != nil {
		t.Error(err)
	}
}

func TestARepositoryIsReadAsItWasCommitted(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := git.Hash(r.Commit("first", map[string]string{"a/x.yaml": "one\n", "b/name with \"quotes\" and ü.yaml": "two\n"}))
	if err := os.Symlink("x.yaml", filepath.Join(r.Dir, "a/link.yaml")); err != nil {
		t.Fatal(err)
	}
	second := git.Hash(r.Commit("second\n\nbody", map[string]string{"a/x.yaml": "one\nmore\n", "c.yaml": "three\n", "b/name with \"quotes\" and ü.yaml": ""}))
	repo := open(t, r)

	entries, err := repo.Tree(t.Context(), second, "")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	byPath := map[string]git.Entry{}
	for _, e := range entries {
		if e.Mode == git.Folder {
			continue
		}
		paths = append(paths, e.Path)
		byPath[e.Path] = e
	}
	if want := []string{"a/link.yaml", "a/x.yaml", "c.yaml"}; !slices.Equal(paths, want) {
		t.Errorf("files %q, want %q", paths, want)
	}
	if byPath["a/link.yaml"].Mode != git.Symlink || byPath["a/x.yaml"].Mode != git.File || byPath["a/x.yaml"].Size != 9 {
		t.Errorf("entries %+v", entries)
	}
	if in, err := repo.Tree(t.Context(), second, "a"); err != nil || len(in) != 3 || in[0].Mode != git.Folder {
		t.Errorf("folder a has %+v, %v", in, err)
	}
	for range 3 {
		if text, err := repo.Blob(t.Context(), byPath["a/x.yaml"].Hash, 100); err != nil || string(text) != "one\nmore\n" {
			t.Errorf("content %q, %v", text, err)
		}
	}
	if _, err := repo.Blob(t.Context(), byPath["a/x.yaml"].Hash, 3); err == nil || !strings.Contains(err.Error(), "has 9 bytes") {
		t.Errorf("a blob over the limit: %v", err)
	}
	if text, err := repo.Blob(t.Context(), byPath["c.yaml"].Hash, 100); err != nil || string(text) != "three\n" {
		t.Errorf("after a refused blob: %q, %v", text, err)
	}
	if _, err := repo.Blob(t.Context(), git.Hash(strings.Repeat("1", 40)), 3); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("an unknown blob: %v", err)
	}

	diffs, err := repo.Diff(t.Context(), first, second)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, d := range diffs {
		if d.OldMode == git.Folder || d.NewMode == git.Folder {
			continue
		}
		sign := "M"
		if d.Old == "" {
			sign = "A"
		} else if d.New == "" {
			sign = "D"
		}
		changed = append(changed, sign+" "+d.Path)
	}
	if want := []string{"A a/link.yaml", "M a/x.yaml", "D b/name with \"quotes\" and ü.yaml", "A c.yaml"}; !slices.Equal(changed, want) {
		t.Errorf("differences %q, want %q", changed, want)
	}

	commit, err := repo.Commit(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if commit.Subject != "second" || commit.Author.String() != "Test Author <author@example.com>" || !slices.Equal(commit.Parents, []git.Hash{first}) {
		t.Errorf("commit %+v", commit)
	}
	blame, err := repo.Blame(t.Context(), second, "a/x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(blame) != 2 || blame[0].Commit != first || blame[1].Commit != second || blame[1].Line != 2 || blame[0].Path != "a/x.yaml" {
		t.Errorf("blame %+v", blame)
	}
}

func TestRevisionsThatAreNoneAreNotFound(t *testing.T) {
	r := gitserver.NewRepo(t)
	head := r.Commit("first", map[string]string{"x": "1"})
	repo := open(t, r)
	for _, rev := range []string{"", "nope", "--all", "-h", "main:x", "main\nmain", strings.Repeat("0", 40), "HEAD~1"} {
		if h, err := repo.Resolve(t.Context(), rev); !errors.Is(err, git.ErrNotFound) {
			t.Errorf("revision %q is %s, %v", rev, h, err)
		}
	}
	for _, rev := range []string{"main", "HEAD", head, head[:8], "HEAD^0"} {
		if h, err := repo.Resolve(t.Context(), rev); err != nil || string(h) != head {
			t.Errorf("revision %q is %s, %v", rev, h, err)
		}
	}
}

func TestFirstParentsLeaveOutWhatWasMerged(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("base", map[string]string{"x": "1"})
	r.Git("checkout", "--quiet", "-b", "topic")
	r.Commit("topic", map[string]string{"y": "1"})
	r.Git("checkout", "--quiet", "main")
	r.Git("merge", "--quiet", "--no-ff", "-m", "merge", "topic")
	repo := open(t, r)
	tip, err := repo.Resolve(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	subjects := func(commits []git.Commit, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range commits {
			out = append(out, c.Subject)
		}
		if len(out) == 3 { // made within one second, so in no particular order
			slices.Sort(out)
		}
		return strings.Join(out, " ")
	}
	if got := subjects(repo.FirstParents(t.Context(), tip, "", 0)); got != "merge base" {
		t.Errorf("first parents %q", got)
	}
	if got := subjects(repo.Commits(t.Context(), tip, "", 0)); got != "base merge topic" {
		t.Errorf("commits %q", got)
	}
	if got := subjects(repo.FirstParents(t.Context(), tip, "", 1)); got != "merge" {
		t.Errorf("newest %q", got)
	}
}

func TestAHookOfTheRepositoryIsNotRun(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("first", map[string]string{"x": "1"})
	marker := filepath.Join(t.TempDir(), "ran")
	r.Git("config", "core.fsmonitor", "touch "+marker)
	r.Git("config", "diff.external", "touch "+marker)
	r.Git("config", "filter.evil.smudge", "touch "+marker)
	r.Commit("second", map[string]string{".gitattributes": "* filter=evil diff=evil\n", "x": "2"})
	os.Remove(marker)
	repo := open(t, r)
	tip, err := repo.Resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	parent, _ := repo.Resolve(t.Context(), "HEAD~1")
	if _, err := repo.Diff(t.Context(), parent, tip); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Tree(t.Context(), tip, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Blame(t.Context(), tip, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program that the repository names was started")
	}
}

func mirror(t *testing.T, dir, url string) *git.Mirror {
	t.Helper()
	m, err := git.OpenMirror(t.Context(), dir, url, "main")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestAMirrorFollowsABranchAndHoldsARewrittenOne(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("first", map[string]string{"x": "1"})
	server := gitserver.Serve(t, r)
	dir := t.TempDir()
	m := mirror(t, dir, server.URL)
	if h, err := m.Accepted(t.Context()); err != nil || h != "" {
		t.Fatalf("accepted before the first fetch: %q, %v", h, err)
	}
	tip, err := m.Fetch(t.Context())
	if err != nil || string(tip.Commit) != first || tip.Before != "" || tip.Rewritten {
		t.Fatalf("first fetch: %+v, %v", tip, err)
	}
	second := r.Commit("second", map[string]string{"x": "2"})
	if tip, err = m.Fetch(t.Context()); err != nil || string(tip.Commit) != second || string(tip.Before) != first {
		t.Fatalf("second fetch: %+v, %v", tip, err)
	}
	r.Git("reset", "--quiet", "--hard", first)
	rewritten := r.Commit("rewritten", map[string]string{"x": "evil"})
	if tip, err = m.Fetch(t.Context()); err != nil || !tip.Rewritten || string(tip.Commit) != rewritten {
		t.Fatalf("fetch of a rewritten branch: %+v, %v", tip, err)
	}
	if h, _ := m.Accepted(t.Context()); string(h) != second {
		t.Errorf("accepted %s, want the commit before the rewrite %s", h, second)
	}
	if err := m.Accept(t.Context(), git.Hash(rewritten)); err != nil {
		t.Fatal(err)
	}
	again := mirror(t, dir, server.URL)
	if h, _ := again.Accepted(t.Context()); string(h) != rewritten {
		t.Errorf("accepted %s after a person accepted %s", h, rewritten)
	}
}

func TestWhatGoesWrongWithARemoteIsTold(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("first", map[string]string{"x": "1"})
	server := gitserver.Serve(t, r)
	withUser := strings.Replace(server.URL, "http://", "http://git:wrong-secret@", 1)
	for _, tc := range []struct {
		name   string
		branch string
		url    string
		before func()
		want   error
	}{
		{"a branch that is not there", "gone", server.URL, func() {}, git.ErrBranch},
		{"a server that is ill", "main", server.URL, func() { server.Down.Store(true) }, git.ErrUnreachable},
		{"a server that is not there", "main", "http://127.0.0.1:1/repo", func() {}, git.ErrUnreachable},
		{"wrong credentials", "main", withUser, func() { server.Password.Store("right") }, git.ErrDenied},
		{"no credentials", "main", server.URL, func() { server.Password.Store("right") }, git.ErrDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server.Down.Store(false)
			server.Password.Store("")
			tc.before()
			m, err := git.OpenMirror(t.Context(), t.TempDir(), tc.url, tc.branch)
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.Fetch(t.Context())
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-secret") {
				t.Errorf("the password is in the message: %v", err)
			}
		})
	}
}

func TestAddressesThatCouldStartAProgramAreRefused(t *testing.T) {
	for _, url := range []string{"", "--upload-pack=touch x", "ext::sh -c touch% x", "a\nb"} {
		if _, err := git.OpenMirror(t.Context(), t.TempDir(), url, "main"); err == nil {
			t.Errorf("address %q is accepted", url)
		}
	}
	for _, branch := range []string{"", "-x", "a..b", "x y", "a:b"} {
		if _, err := git.OpenMirror(t.Context(), t.TempDir(), "https://git.example.com/x", branch); err == nil {
			t.Errorf("branch %q is accepted", branch)
		}
	}
}

func TestADamagedMirrorIsMadeAnew(t *testing.T) {
	r := gitserver.NewRepo(t)
	head := r.Commit("first", map[string]string{"x": "1"})
	server := gitserver.Serve(t, r)
	for _, damage := range []struct {
		name string
		do   func(repo string) error
	}{
		{"its objects are gone", func(repo string) error { return os.RemoveAll(filepath.Join(repo, "objects")) }},
		{"its HEAD is gone", func(repo string) error { return os.Remove(filepath.Join(repo, "HEAD")) }},
		{"a pack or object is cut off", func(repo string) error {
			return filepath.WalkDir(filepath.Join(repo, "objects"), func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if err := os.Chmod(p, 0o644); err != nil {
					return err
				}
				return os.Truncate(p, 5)
			})
		}},
		{"a lock of a killed process is left", func(repo string) error {
			return os.WriteFile(filepath.Join(repo, "refs/gitgate/remote.lock"), nil, 0o644)
		}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := mirror(t, dir, server.URL).Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := damage.do(filepath.Join(dir, "repo.git")); err != nil {
				t.Fatal(err)
			}
			tip, err := mirror(t, dir, server.URL).Fetch(t.Context())
			if err != nil || string(tip.Commit) != head {
				t.Errorf("fetch after damage: %+v, %v", tip, err)
			}
		})
	}
}

func TestARewrittenBranchIsHeldEvenByAMirrorThatWasMadeAnew(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("first", map[string]string{"x": "1"})
	second := r.Commit("second", map[string]string{"x": "2"})
	server := gitserver.Serve(t, r)
	dir := t.TempDir()
	if _, err := mirror(t, dir, server.URL).Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Git("reset", "--quiet", "--hard", "HEAD~1")
	r.Commit("rewritten", map[string]string{"x": "evil"})
	if err := os.RemoveAll(filepath.Join(dir, "repo.git")); err != nil {
		t.Fatal(err)
	}
	tip, err := mirror(t, dir, server.URL).Fetch(t.Context())
	if err != nil || !tip.Rewritten || string(tip.Before) != second {
		t.Errorf("fetch: %+v, %v", tip, err)
	}
}

func TestTwoWritersTakeTurns(t *testing.T) {
	r := gitserver.NewRepo(t)
	head := r.Commit("first", map[string]string{"x": "1"})
	server := gitserver.Serve(t, r)
	dir := t.TempDir()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			m, err := git.OpenMirror(t.Context(), dir, server.URL, "main")
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			if tip, err := m.Fetch(t.Context()); err != nil || string(tip.Commit) != head {
				t.Errorf("fetch: %+v, %v", tip, err)
			}
		})
	}
	wait.Wait()
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Commit("first", map[string]string{"x": "1"})
	m := mirror(t, t.TempDir(), gitserver.Serve(t, r).URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := m.Fetch(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
