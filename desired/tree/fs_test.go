package tree_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/test/gitserver"
)

func TestAFolderOfACommitIsAFileSystem(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write(map[string]string{"gate/gitgate.yaml": "a", "gate/policies/one.rego": "b", "gate/policies/deep/two.yaml": "c", "elsewhere.yaml": "d"})
	first := load(t, open(t, r), r.Commit("files", nil))
	if err := fstest.TestFS(first.View().FS(t.Context(), "gate"), "gitgate.yaml", "policies/one.rego", "policies/deep/two.yaml"); err != nil {
		t.Error(err)
	}
	link(t, r, "../elsewhere.yaml", "gate/inside.yaml")
	link(t, r, "../../outside.yaml", "gate/outside.yaml")
	files := load(t, open(t, r), r.Commit("links", nil)).View().FS(t.Context(), "gate")
	entries, err := fs.ReadDir(files, ".")
	if err != nil || len(entries) != 4 || entries[1].Type() != fs.ModeSymlink {
		t.Errorf("got %v, %v; expected four entries, links shown as links", entries, err)
	}
	if text, err := fs.ReadFile(files, "inside.yaml"); err != nil || string(text) != "d" {
		t.Errorf("a link inside the repository: got %q, %v", text, err)
	}
	for _, name := range []string{"outside.yaml", "../elsewhere.yaml", "nowhere.yaml"} {
		if text, err := fs.ReadFile(files, name); err == nil {
			t.Errorf("%s was read: %q", name, text)
		}
	}
}

func TestWhatWasReadThroughTheFileSystemWasAsked(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write(map[string]string{"gitgate.yaml": "a", "policies/one.rego": "b"})
	repo := open(t, r)
	files := load(t, repo, r.Commit("files", nil))
	view := files.View()
	if _, err := fs.ReadFile(view.FS(t.Context(), ""), "policies/one.rego"); err != nil {
		t.Fatal(err)
	}
	r.Write(map[string]string{"gitgate.yaml": "changed"})
	other := load(t, repo, r.Commit("another file", nil))
	r.Write(map[string]string{"policies/one.rego": "changed"})
	same := load(t, repo, r.Commit("the file", nil))
	if !other.Same(t.Context(), view.Asked()) || same.Same(t.Context(), view.Asked()) {
		t.Errorf("asked %v: expected a change of the file that was read to be the one that counts", view.Asked())
	}
}
