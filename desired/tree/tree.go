// Package tree reads the files of one Git commit, fenced in the repository, and notes what it was asked, so that it can be said
// which commits would have given the same answers. It knows nothing of Kubernetes.
package tree

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"gitgate.dev/gitgate/desired/git"
)

// MaxFile bounds the bytes of one file that is read from a revision.
const MaxFile = 16 << 20

// maxLinks bounds the symbolic links that one path may go through.
const maxLinks = 40

// Tree is the files of one commit. It is immutable and safe for concurrent use.
type Tree struct {
	Commit  git.Hash
	repo    *git.Repo
	blobs   *blobs
	entries map[string]git.Entry
	folders map[string][]string // names in a folder, sorted; "" is the root
}

// Load lists the files of a commit. Their content is read when it is asked for.
func Load(ctx context.Context, repo *git.Repo, commit git.Hash) (*Tree, error) {
	entries, err := repo.Tree(ctx, commit, "")
	if err != nil {
		return nil, err
	}
	t := &Tree{Commit: commit, repo: repo, blobs: newBlobs(), entries: make(map[string]git.Entry, len(entries)), folders: map[string][]string{"": nil}}
	for _, e := range entries {
		t.entries[e.Path] = e
		folder, name := split(e.Path)
		t.folders[folder] = append(t.folders[folder], name)
	}
	for _, names := range t.folders {
		slices.Sort(names)
	}
	return t, nil
}

func split(p string) (folder, name string) {
	folder, name = path.Split(p)
	return strings.TrimSuffix(folder, "/"), name
}

// At returns the tree of another commit of the same repository. It costs what the difference costs, and shares what was read.
func (t *Tree) At(ctx context.Context, commit git.Hash) (*Tree, error) {
	diffs, err := t.repo.Diff(ctx, t.Commit, commit)
	if err != nil {
		return nil, err
	}
	next := &Tree{Commit: commit, repo: t.repo, blobs: t.blobs, entries: maps.Clone(t.entries), folders: maps.Clone(t.folders)}
	touched := map[string]bool{}
	for _, d := range diffs {
		folder, name := split(d.Path)
		_, was := next.entries[d.Path]
		if d.New == "" {
			delete(next.entries, d.Path)
		} else {
			next.entries[d.Path] = git.Entry{Path: d.Path, Mode: d.NewMode, Hash: d.New, Size: -1}
		}
		if was == (d.New != "") {
			continue
		}
		if !touched[folder] {
			next.folders[folder], touched[folder] = slices.Clone(next.folders[folder]), true
		}
		if was {
			names := next.folders[folder]
			if i, ok := slices.BinarySearch(names, name); ok {
				next.folders[folder] = slices.Delete(names, i, i+1)
			}
			continue
		}
		i, _ := slices.BinarySearch(next.folders[folder], name)
		next.folders[folder] = slices.Insert(next.folders[folder], i, name)
	}
	for folder := range touched {
		if folder != "" && len(next.folders[folder]) == 0 {
			delete(next.folders, folder)
		}
	}
	return next, nil
}

// View returns a reader of the tree that notes what it is asked.
func (t *Tree) View() *View { return &View{tree: t, asked: map[string]git.Hash{}} }

// Errors of reading a tree. All wrap fs.ErrNotExist, fs.ErrInvalid or neither, as their texts say.
var (
	ErrOutside   = errors.New("leads out of the repository")
	ErrLinks     = errors.New("goes through too many symbolic links")
	ErrSubmodule = errors.New("is a submodule, whose files are in another repository")
	ErrLFS       = errors.New("is a Git LFS pointer, whose content is not in the repository")
)

// View reads the files of a tree and notes every question, so that it can be said later whether another tree would have given
// the same answers. Symbolic links are followed inside the repository only. Not safe for concurrent use.
type View struct {
	tree  *Tree
	asked map[string]git.Hash // path -> what was there, "" for nothing
}

// Commit is the commit that is read.
func (v *View) Commit() git.Hash { return v.tree.Commit }

// lookup finds an entry without following a link at its end.
func (v *View) lookup(p string) (git.Entry, bool) {
	if p == "" {
		return git.Entry{Mode: git.Folder}, true
	}
	e, ok := v.tree.entries[p]
	switch _, listed := v.asked[p]; {
	case e.Mode != git.Folder:
		v.asked[p] = e.Hash
	case !listed:
		v.asked[p] = passedThrough
	}
	return e, ok
}

// passedThrough is noted of a folder that a path led through: that it is one was asked, not what is in it.
const passedThrough git.Hash = "folder"

// list notes that the content of a folder was asked.
func (v *View) list(folder string) {
	if folder == "" {
		v.asked[""] = v.tree.rootHash()
		return
	}
	v.asked[folder] = v.tree.entries[folder].Hash
}

// resolve finds what a path leads to, and its path without links. p is slash-separated and relative to the root.
func (v *View) resolve(ctx context.Context, p string) (git.Entry, error) {
	rest, err := inside(p)
	if err != nil {
		return git.Entry{}, err
	}
	at := ""
	for links := 0; rest != ""; {
		first, after, _ := strings.Cut(rest, "/")
		here := path.Join(at, first)
		e, ok := v.lookup(here)
		switch {
		case !ok:
			return git.Entry{}, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		case e.Mode == git.Submodule:
			return git.Entry{}, &fs.PathError{Op: "open", Path: here, Err: ErrSubmodule}
		case e.Mode == git.Symlink:
			if links++; links > maxLinks {
				return git.Entry{}, &fs.PathError{Op: "open", Path: p, Err: ErrLinks}
			}
			target, err := v.tree.read(ctx, e)
			if err != nil {
				return git.Entry{}, err
			}
			if path.IsAbs(string(target)) {
				return git.Entry{}, &fs.PathError{Op: "open", Path: here, Err: ErrOutside}
			}
			joined := path.Join("/", at, "x", "..") // the folder of the link, rooted so that ".." shows when it leads out
			if rest, err = inside(strings.TrimPrefix(joined, "/") + "/" + string(target) + "/" + after); err != nil {
				return git.Entry{}, &fs.PathError{Op: "open", Path: here, Err: ErrOutside}
			}
			at = ""
		case e.Mode != git.Folder && after != "":
			return git.Entry{}, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		default:
			at, rest = here, after
		}
	}
	if at == "" {
		return git.Entry{Mode: git.Folder}, nil
	}
	return v.tree.entries[at], nil
}

// inside cleans a path and refuses one that leads out of the repository.
func inside(p string) (string, error) {
	clean := path.Clean("./" + strings.TrimLeft(p, "/"))
	switch {
	case clean == "..", strings.HasPrefix(clean, "../"):
		return "", &fs.PathError{Op: "open", Path: p, Err: ErrOutside}
	case clean == ".":
		return "", nil
	}
	return clean, nil
}

// ReadFile returns the content of a file. It is not to be changed.
func (v *View) ReadFile(ctx context.Context, p string) ([]byte, error) {
	e, err := v.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	if e.Mode == git.Folder {
		return nil, &fs.PathError{Op: "read", Path: p, Err: errors.New("is a folder")}
	}
	text, err := v.tree.read(ctx, e)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte("version https://git-lfs.github.com/spec/")) {
		return nil, &fs.PathError{Op: "read", Path: p, Err: ErrLFS}
	}
	return text, nil
}

// DirEntry is a name in a folder; a link is shown as what it leads to.
type DirEntry struct {
	Name   string
	Folder bool
	Broken error // a link that leads nowhere, a submodule; nil otherwise
}

// ReadDir lists a folder, sorted by name.
func (v *View) ReadDir(ctx context.Context, p string) ([]DirEntry, error) {
	e, err := v.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	if e.Mode != git.Folder {
		return nil, &fs.PathError{Op: "list", Path: p, Err: errors.New("is no folder")}
	}
	v.list(e.Path)
	names := v.tree.folders[e.Path]
	out := make([]DirEntry, 0, len(names))
	for _, name := range names {
		child := v.tree.entries[path.Join(e.Path, name)]
		d := DirEntry{Name: name, Folder: child.Mode == git.Folder}
		if child.Mode == git.Symlink || child.Mode == git.Submodule {
			target, err := v.resolve(ctx, path.Join(e.Path, name))
			d.Folder, d.Broken = err == nil && target.Mode == git.Folder, err
		}
		out = append(out, d)
	}
	return out, nil
}

// IsDir says whether a path leads to a folder.
func (v *View) IsDir(ctx context.Context, p string) bool {
	e, err := v.resolve(ctx, p)
	return err == nil && e.Mode == git.Folder
}

// Exists says whether a path leads to a file or folder.
func (v *View) Exists(ctx context.Context, p string) bool {
	_, err := v.resolve(ctx, p)
	return err == nil
}

// Real returns the path of the file or folder that p leads to, without links.
func (v *View) Real(ctx context.Context, p string) (string, error) {
	e, err := v.resolve(ctx, p)
	return e.Path, err
}

// Asked returns the paths that were asked for, with the hash of what was there, "" for nothing. It is for Tree.Same.
func (v *View) Asked() map[string]git.Hash { return maps.Clone(v.asked) }

// Same says whether every question in asked has the same answer in t.
func (t *Tree) Same(asked map[string]git.Hash) bool {
	for p, h := range asked {
		e := t.entries[p]
		switch {
		case p == "":
			if t.rootHash() != h {
				return false
			}
		case h == passedThrough:
			if e.Mode != git.Folder {
				return false
			}
		case e.Hash != h:
			return false
		}
	}
	return true
}

// rootHash stands for the root folder, which Git's listing does not name: the names and hashes in it.
func (t *Tree) rootHash() git.Hash {
	var b strings.Builder
	for _, name := range t.folders[""] {
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(string(t.entries[name].Hash))
		b.WriteByte(0)
	}
	return git.Hash(b.String())
}

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

// blobs keeps contents that were read, by hash, up to a number of bytes.
type blobs struct {
	mu    sync.Mutex
	kept  map[git.Hash][]byte
	bytes int
}

// maxBlobs bounds the bytes that are kept of a repository's files.
const maxBlobs = 64 << 20

func newBlobs() *blobs { return &blobs{kept: map[git.Hash][]byte{}} }

func (b *blobs) get(h git.Hash) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, ok := b.kept[h]
	return text, ok
}

// put keeps text, and forgets others at random when there is no room: which ones will be asked again is not known.
func (b *blobs) put(h git.Hash, text []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.kept[h]; ok || len(text) > maxBlobs/4 {
		return
	}
	for old, kept := range b.kept {
		if b.bytes+len(text) <= maxBlobs {
			break
		}
		b.bytes -= len(kept)
		delete(b.kept, old)
	}
	b.kept[h] = text
	b.bytes += len(text)
}

// Files lists the paths of all files below a folder, sorted, links left out. It notes the folder as asked.
func (v *View) Files(ctx context.Context, folder string) ([]string, error) {
	e, err := v.resolve(ctx, folder)
	if err != nil {
		return nil, err
	}
	if e.Mode != git.Folder {
		return nil, &fs.PathError{Op: "list", Path: folder, Err: errors.New("is no folder")}
	}
	v.list(e.Path)
	var out []string
	pending := []string{e.Path}
	for len(pending) > 0 {
		at := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		for _, name := range v.tree.folders[at] {
			p := path.Join(at, name)
			switch v.tree.entries[p].Mode {
			case git.Folder:
				pending = append(pending, p)
			case git.File, git.Executable:
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out, nil
}

// Entry is what p leads to, with its path without links.
func (v *View) Entry(ctx context.Context, p string) (git.Entry, error) { return v.resolve(ctx, p) }

// Repo is where the contents of the tree are read.
func (t *Tree) Repo() *git.Repo { return t.repo }
