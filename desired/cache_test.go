package desired_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/test/gitserver"
)

// cachedAt renders a commit as a process of its own would.
func cachedAt(t *testing.T, o desired.Options, dir, commit string) *desired.State {
	t.Helper()
	var err error
	if o.Cache, err = desired.OpenCache(dir, 0); err != nil {
		t.Fatal(err)
	}
	renderer, err := desired.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := renderer.At(t.Context(), map[string]git.Hash{"fleet": git.Hash(commit)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unsaved(); err != nil {
		t.Error(err)
	}
	return s
}

func TestAStateFromTheCacheIsTheRenderedOne(t *testing.T) {
	r := gitserver.NewRepo(t)
	broken := with(fleet(), map[string]string{"clusters/prod/gone.yaml": kustomization("gone", "./apps/gone", "  dependsOn: [{name: nobody}]\n")})
	first := r.Commit("one", broken)
	second := r.Commit("two", patch("4"))
	o := options(t, r)
	dir := t.TempDir()
	fresh := cachedAt(t, o, t.TempDir(), first)
	want := describe(fresh) + problems(fresh)
	cachedAt(t, o, dir, first)
	files, _ := filepath.Glob(filepath.Join(dir, "*.state"))
	if len(files) != 1 {
		t.Fatalf("cache has %q", files)
	}
	for _, tc := range []struct {
		name   string
		before func()
	}{
		{"as it was written", func() {}},
		{"its file is cut off", func() { os.Truncate(files[0], 300) }},
		{"its file is empty", func() { os.Truncate(files[0], 0) }},
		{"its file is something else", func() { os.WriteFile(files[0], []byte("gitgate state 1\nx"), 0o600) }},
		{"a byte of a content is another one", func() {
			text, _ := os.ReadFile(files[0])
			text[len(text)-3] ^= 1
			os.WriteFile(files[0], text, 0o600)
		}},
		{"it is gone", func() { os.Remove(files[0]) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.before()
			s := cachedAt(t, o, dir, first)
			if got := describe(s) + problems(s); got != want {
				t.Errorf("state:\n%s\nwant\n%s", got, want)
			}
			for _, d := range s.Find(web) {
				if stored, err := d.Object.Stored(); err != nil || stored["kind"] != "Deployment" {
					t.Errorf("stored %v, %v", stored, err)
				}
			}
		})
	}
	next := cachedAt(t, o, dir, second)
	plain := cachedAt(t, o, t.TempDir(), second)
	if got, want := describe(next)+problems(next), describe(plain)+problems(plain); got != want {
		t.Errorf("from the state before:\n%s\nwant\n%s", got, want)
	}
}

func TestProcessesShareACache(t *testing.T) {
	r := gitserver.NewRepo(t)
	first := r.Commit("one", fleet())
	o := options(t, r)
	dir := t.TempDir()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() { cachedAt(t, o, dir, first) })
	}
	wait.Wait()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("cache has %v, %v", left, err)
	}
}
