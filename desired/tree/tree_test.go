package tree_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/test/gitserver"
)

func open(t testing.TB, r *gitserver.Repo) *git.Repo {
	t.Helper()
	repo, _, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	return repo
}

func load(t testing.TB, repo *git.Repo, commit string) *tree.Tree {
	t.Helper()
	files, err := tree.Load(t.Context(), repo, git.Hash(commit))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func link(t *testing.T, r *gitserver.Repo, target, name string) {
	t.Helper()
	file := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
}

func TestNothingOutsideTheRepositoryIsRead(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write(map[string]string{"a/x.yaml": "x", "lfs.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"})
	link(t, r, "x.yaml", "a/good")
	link(t, r, "../a", "b/folder")
	link(t, r, "../../etc/passwd", "a/out")
	link(t, r, "/etc/passwd", "a/absolute")
	link(t, r, "loop", "a/loop")
	link(t, r, "missing", "a/nowhere")
	link(t, r, "folder/../../../etc/passwd", "b/sly")
	files := load(t, open(t, r), r.Commit("files", nil))
	for _, tc := range []struct {
		path string
		text string
		err  error
	}{
		{"a/x.yaml", "x", nil},
		{"./a/../a/x.yaml", "x", nil},
		{"/a/x.yaml", "x", nil},
		{"a/good", "x", nil},
		{"b/folder/x.yaml", "x", nil},
		{"b/folder/good", "x", nil},
		{"../a/x.yaml", "", tree.ErrOutside},
		{"a/../../etc/passwd", "", tree.ErrOutside},
		{"a/out", "", tree.ErrOutside},
		{"a/absolute", "", tree.ErrOutside},
		{"b/sly", "", tree.ErrOutside},
		{"a/loop", "", tree.ErrLinks},
		{"a/nowhere", "", fs.ErrNotExist},
		{"a/x.yaml/y", "", fs.ErrNotExist},
		{"nope", "", fs.ErrNotExist},
		{"lfs.bin", "", tree.ErrLFS},
	} {
		t.Run(tc.path, func(t *testing.T) {
			text, err := files.View().ReadFile(t.Context(), tc.path)
			if string(text) != tc.text || !errors.Is(err, tc.err) {
				t.Errorf("reads %q, %v; want %q, %v", text, err, tc.text, tc.err)
			}
		})
	}
	entries, err := files.View().ReadDir(t.Context(), "b/folder")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name
		if e.Broken != nil {
			name += " (broken)"
		}
		names = append(names, name)
	}
	if want := []string{"absolute (broken)", "good", "loop (broken)", "nowhere (broken)", "out (broken)", "x.yaml"}; !slices.Equal(names, want) {
		t.Errorf("folder has %q, want %q", names, want)
	}
}

func TestATreeMadeOfADifferenceIsTheTreeItself(t *testing.T) {
	r := gitserver.NewRepo(t)
	random := rand.New(rand.NewPCG(1, 2))
	files := map[string]string{"keep": "x"}
	r.Commit("start", files)
	repo := open(t, r)
	grown := load(t, repo, r.Git("rev-parse", "HEAD"))
	for i := range 30 {
		changes := map[string]string{}
		for range 1 + random.IntN(6) {
			name := fmt.Sprintf("%c/%c/%c", 'a'+rune(random.IntN(3)), 'a'+rune(random.IntN(3)), 'a'+rune(random.IntN(3)))
			if _, there := files[name]; there && random.IntN(2) == 0 {
				changes[name] = ""
			} else {
				changes[name] = fmt.Sprint(i, random.IntN(5))
			}
		}
		for name, content := range changes {
			if content == "" {
				delete(files, name)
			} else {
				files[name] = content
			}
		}
		commit := r.Commit(fmt.Sprint(i), changes)
		var err error
		if grown, err = grown.At(t.Context(), git.Hash(commit)); err != nil {
			t.Fatal(err)
		}
		fresh := load(t, repo, commit)
		got, err := grown.View().Files(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		want, err := fresh.View().Files(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || len(want) != len(files) {
			t.Fatalf("commit %d: files %q, want %q", i, got, want)
		}
		for _, name := range want {
			text, err := grown.View().ReadFile(t.Context(), name)
			if err != nil || string(text) != files[name] {
				t.Fatalf("commit %d: %s is %q, %v; want %q", i, name, text, err, files[name])
			}
		}
		if a, b := everything(t, grown), everything(t, fresh); !maps.Equal(a, b) {
			t.Fatalf("commit %d: answers differ:\n%v\n%v", i, a, b)
		}
	}
}

// everything asks for every file and folder.
func everything(t *testing.T, tree *tree.Tree) map[string]git.Hash {
	t.Helper()
	v := tree.View()
	var walk func(string)
	walk = func(folder string) {
		entries, err := v.ReadDir(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p := strings.TrimPrefix(folder+"/"+e.Name, "/")
			if e.Folder {
				walk(p)
			} else if _, err := v.ReadFile(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	walk("")
	return v.Asked()
}

func TestAViewKnowsWhetherAnotherCommitWouldAnswerTheSame(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("first", map[string]string{"app/x.yaml": "1", "app/y.yaml": "1", "other/z.yaml": "1"})
	repo := open(t, r)
	files := load(t, repo, first)
	for _, tc := range []struct {
		name   string
		ask    func(v *tree.View)
		change map[string]string
		same   bool
	}{
		{"a file that was read and did not change", func(v *tree.View) { v.ReadFile(t.Context(), "app/x.yaml") }, map[string]string{"app/y.yaml": "2"}, true},
		{"a file that was read and changed", func(v *tree.View) { v.ReadFile(t.Context(), "app/x.yaml") }, map[string]string{"app/x.yaml": "2"}, false},
		{"a folder that was listed and got a file", func(v *tree.View) { v.ReadDir(t.Context(), "app") }, map[string]string{"app/new.yaml": "2"}, false},
		{"a folder that was listed while another changed", func(v *tree.View) { v.ReadDir(t.Context(), "app") }, map[string]string{"other/z.yaml": "2"}, true},
		{"the root that was listed and got a file", func(v *tree.View) { v.ReadDir(t.Context(), "") }, map[string]string{"new": "2"}, false},
		{"a file that was missed and came", func(v *tree.View) { v.ReadFile(t.Context(), "app/kustomization.yaml") }, map[string]string{"app/kustomization.yaml": "x"}, false},
		{"a file in a missing folder that came", func(v *tree.View) { v.Exists(t.Context(), "base/k.yaml") }, map[string]string{"base/k.yaml": "x"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := files.View()
			tc.ask(v)
			r.Git("reset", "--quiet", "--hard", first)
			next, err := files.At(t.Context(), git.Hash(r.Commit(tc.name, tc.change)))
			if err != nil {
				t.Fatal(err)
			}
			if !files.Same(t.Context(), v.Asked()) {
				t.Error("the tree itself would not answer the same")
			}
			if got := next.Same(t.Context(), v.Asked()); got != tc.same {
				t.Errorf("same %v, want %v; asked %v", got, tc.same, v.Asked())
			}
		})
	}
}

func TestHugeFilesAndSubmodulesAreNamed(t *testing.T) {
	inner := gitserver.NewRepo(t)
	inner.Commit("inner", map[string]string{"x": "1"})
	r := gitserver.NewRepo(t)
	r.Write(map[string]string{"huge": strings.Repeat("x", tree.MaxFile+1)})
	r.Git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.Dir, "sub")
	files := load(t, open(t, r), r.Commit("files", nil))
	if _, err := files.View().ReadFile(t.Context(), "huge"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a huge file: %v", err)
	}
	if _, err := files.View().ReadFile(t.Context(), "sub/x"); !errors.Is(err, tree.ErrSubmodule) {
		t.Errorf("a submodule: %v", err)
	}
}
