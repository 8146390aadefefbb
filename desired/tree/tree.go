// Package tree reads the files of one Git commit, fenced in the repository, and notes what it was asked, so that it can be said
// which commits would have given the same answers. It knows nothing of Kubernetes.
package tree

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/git"
)

// MaxFile bounds the bytes of one file that is read from a revision.
const MaxFile = 16 << 20

// maxLinks bounds the symbolic links that one path may go through.
const maxLinks = 40

// Tree is the files of one commit. Folders are read when they are first looked into, and shared with the trees of other commits
// that have the same. It is immutable and safe for concurrent use.
type Tree struct {
	Commit  git.Hash
	root    git.Hash
	repo    *git.Repo
	blobs   *blobs
	folders *folders
}

// Load opens the files of a commit.
func Load(ctx context.Context, repo *git.Repo, commit git.Hash) (*Tree, error) {
	t := &Tree{repo: repo, blobs: newBlobs(), folders: newFolders()}
	return t.At(ctx, commit)
}

// At returns the tree of another commit of the same repository, which shares what was read.
func (t *Tree) At(ctx context.Context, commit git.Hash) (*Tree, error) {
	root, err := t.repo.TreeOf(ctx, commit)
	if err != nil {
		return nil, err
	}
	return &Tree{Commit: commit, root: root, repo: t.repo, blobs: t.blobs, folders: t.folders}, nil
}

// Root is the hash of the root folder: trees with the same one have the same files.
func (t *Tree) Root() git.Hash { return t.root }

// Forget drops the contents of files that were read: they will hardly be asked for again.
func (t *Tree) Forget() { t.blobs.clear() }

// Repo is where the contents of the tree are read.
func (t *Tree) Repo() *git.Repo { return t.repo }

// folder lists what is directly in a folder, sorted by name.
func (t *Tree) folder(ctx context.Context, h git.Hash) ([]git.Entry, error) {
	if entries, ok := t.folders.get(h); ok {
		return entries, nil
	}
	entries, err := t.repo.Folder(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("files at %s: %w", t.Commit.Short(), err)
	}
	slices.SortFunc(entries, func(a, b git.Entry) int { return cmp.Compare(a.Path, b.Path) })
	t.folders.put(h, entries)
	return entries, nil
}

// child finds a name in a folder.
func (t *Tree) child(ctx context.Context, folder git.Hash, name string) (git.Entry, bool, error) {
	entries, err := t.folder(ctx, folder)
	if err != nil {
		return git.Entry{}, false, err
	}
	i, ok := slices.BinarySearchFunc(entries, name, func(e git.Entry, name string) int { return cmp.Compare(e.Path, name) })
	if !ok {
		return git.Entry{}, false, nil
	}
	return entries[i], true, nil
}

// entry finds what is at a clean path, following no link.
func (t *Tree) entry(ctx context.Context, p string) (git.Entry, bool, error) {
	e := git.Entry{Mode: git.Folder, Hash: t.root}
	for rest := p; rest != ""; {
		if e.Mode != git.Folder {
			return git.Entry{}, false, nil
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		child, ok, err := t.child(ctx, e.Hash, name)
		if err != nil || !ok {
			return git.Entry{}, false, err
		}
		e = child
	}
	e.Path = p
	return e, true, nil
}

// Changed lists the files and folders that differ between two trees of one repository, "" for the root itself. It looks only into
// folders that differ.
func (t *Tree) Changed(ctx context.Context, from *Tree) ([]string, error) {
	if t.root == from.root {
		return nil, nil
	}
	out := []string{""}
	var walk func(a, b git.Hash, at string) error
	walk = func(a, b git.Hash, at string) error {
		var before, after []git.Entry
		var err error
		if a != "" {
			if before, err = t.folder(ctx, a); err != nil {
				return err
			}
		}
		if b != "" {
			if after, err = t.folder(ctx, b); err != nil {
				return err
			}
		}
		for len(before) > 0 || len(after) > 0 {
			var x, y git.Entry
			switch {
			case len(after) == 0 || len(before) > 0 && before[0].Path < after[0].Path:
				x, before = before[0], before[1:]
			case len(before) == 0 || after[0].Path < before[0].Path:
				y, after = after[0], after[1:]
			default:
				x, y, before, after = before[0], after[0], before[1:], after[1:]
			}
			if x.Hash == y.Hash && x.Mode == y.Mode {
				continue
			}
			name := path.Join(at, x.Path)
			if x.Path == "" {
				name = path.Join(at, y.Path)
			}
			out = append(out, name)
			if x.Mode != git.Folder {
				x.Hash = ""
			}
			if y.Mode != git.Folder {
				y.Hash = ""
			}
			if x.Hash != "" || y.Hash != "" {
				if err := walk(x.Hash, y.Hash, name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(from.root, t.root, ""); err != nil {
		return nil, err
	}
	return out, nil
}

// View returns a reader of the tree that notes what it is asked.
func (t *Tree) View() *View { return &View{tree: t, asked: map[string]git.Hash{}} }

func (t *Tree) read(ctx context.Context, e git.Entry) ([]byte, error) {
	if text, ok := t.blobs.get(e.Hash); ok {
		return text, nil
	}
	text, err := t.repo.Blob(ctx, e.Hash, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("file %s at %s: %w", e.Path, t.Commit.Short(), err)
	}
	t.blobs.put(e.Hash, text)
	return text, nil
}
