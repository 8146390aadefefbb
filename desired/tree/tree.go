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
	hides func(file string) bool
}

// Hide makes v show no file that hides says so of. What hides itself looks at it has to read through Beside, so that it is noted.
func (v *View) Hide(hides func(file string) bool) { v.hides = hides }

// Beside is a view of the same tree that hides nothing and notes into v.
func (v *View) Beside() *View { return &View{tree: v.tree, asked: v.asked} }

// hidden says whether an entry at a path is not to be seen.
func (v *View) hidden(e git.Entry, p string) bool {
	return v.hides != nil && e.Mode != git.Folder && e.Hash != "" && v.hides(p)
}

// Commit is the commit that is read.
func (v *View) Commit() git.Hash { return v.tree.Commit }

// step finds a name in a folder without following a link. here is the path of what is found.
func (v *View) step(ctx context.Context, folder git.Hash, name, here string) (git.Entry, bool, error) {
	e, ok, err := v.tree.child(ctx, folder, name)
	if err != nil {
		return git.Entry{}, false, err
	}
	e.Path = here
	switch _, listed := v.asked[here]; {
	case e.Mode != git.Folder:
		v.asked[here] = noted(e)
	case !listed:
		v.asked[here] = passedThrough
	}
	if ok && v.hidden(e, here) {
		return git.Entry{Path: here}, false, nil
	}
	return e, ok, nil
}

// passedThrough is noted of a folder that a path led through: that it is one was asked, not what is in it.
const passedThrough git.Hash = "folder"

// list notes that the content of a folder was asked.
func (v *View) list(folder git.Entry) { v.asked[folder.Path] = folder.Hash }

// noted is what is noted of an entry: its hash, and of a link that it is one, for a file may have the same content.
func noted(e git.Entry) git.Hash {
	if e.Mode == git.Symlink {
		return "link " + e.Hash
	}
	return e.Hash
}

// resolve finds what a path leads to, and its path without links. p is slash-separated and relative to the root.
func (v *View) resolve(ctx context.Context, p string) (git.Entry, error) {
	rest, err := inside(p)
	if err != nil {
		return git.Entry{}, err
	}
	root := git.Entry{Mode: git.Folder, Hash: v.tree.root}
	at := root
	for links := 0; rest != ""; {
		first, after, _ := strings.Cut(rest, "/")
		here := path.Join(at.Path, first)
		e, ok, err := v.step(ctx, at.Hash, first, here)
		switch {
		case err != nil:
			return git.Entry{}, err
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
			joined := path.Join("/", at.Path) // the folder of the link, rooted so that ".." shows when it leads out
			if rest, err = inside(strings.TrimPrefix(joined, "/") + "/" + string(target) + "/" + after); err != nil {
				return git.Entry{}, &fs.PathError{Op: "open", Path: here, Err: ErrOutside}
			}
			at = root
		case e.Mode != git.Folder && after != "":
			return git.Entry{}, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		default:
			at, rest = e, after
		}
	}
	return at, nil
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
	v.list(e)
	children, err := v.tree.folder(ctx, e.Hash)
	if err != nil {
		return nil, err
	}
	out := make([]DirEntry, 0, len(children))
	for _, child := range children {
		if v.hidden(child, path.Join(e.Path, child.Path)) {
			continue
		}
		d := DirEntry{Name: child.Path, Folder: child.Mode == git.Folder}
		if child.Mode == git.Symlink || child.Mode == git.Submodule {
			target, err := v.resolve(ctx, path.Join(e.Path, child.Path))
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
func (v *View) Asked() Asked { return maps.Clone(v.asked) }

// Answers is what View.Asked gives, in whichever form it is kept.
type Answers interface {
	Len() int
	Get(p string) (git.Hash, bool)
	All() map[string]git.Hash
}

// Asked is Answers as View.Asked gives them.
type Asked map[string]git.Hash

// Len implements Answers.
func (a Asked) Len() int { return len(a) }

// Get implements Answers.
func (a Asked) Get(p string) (git.Hash, bool) {
	h, ok := a[p]
	return h, ok
}

// All implements Answers.
func (a Asked) All() map[string]git.Hash { return a }

// Same says whether every question in asked has the same answer in t. A tree that cannot be read gives no same answers.
func (t *Tree) Same(ctx context.Context, asked map[string]git.Hash) bool {
	for p, h := range asked {
		if !t.sameAt(ctx, p, h) {
			return false
		}
	}
	return true
}

// SameWhere is Same of a tree that differs at the given paths only from one in which every question has the same answer.
func (t *Tree) SameWhere(ctx context.Context, asked Answers, changed []string) bool {
	if len(changed) > asked.Len() {
		return t.Same(ctx, asked.All())
	}
	for _, p := range changed {
		if h, ok := asked.Get(p); ok && !t.sameAt(ctx, p, h) {
			return false
		}
	}
	return true
}

func (t *Tree) sameAt(ctx context.Context, p string, h git.Hash) bool {
	e, _, err := t.entry(ctx, p)
	switch {
	case err != nil:
		return false
	case h == passedThrough:
		return e.Mode == git.Folder
	}
	return noted(e) == h
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

func (b *blobs) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.kept)
	b.bytes = 0
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
	v.list(e)
	var out []string
	pending := []git.Entry{e}
	for len(pending) > 0 {
		at := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		children, err := v.tree.folder(ctx, at.Hash)
		if err != nil {
			return nil, err
		}
		for _, child := range children {
			p := path.Join(at.Path, child.Path)
			switch child.Mode {
			case git.Folder:
				child.Path = p
				pending = append(pending, child)
			case git.File, git.Executable:
				if !v.hidden(child, p) {
					out = append(out, p)
				}
			}
		}
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out, nil
}

// Entry is what p leads to, with its path without links.
func (v *View) Entry(ctx context.Context, p string) (git.Entry, error) { return v.resolve(ctx, p) }

// folders keeps the listings that were read, by hash, up to a number of names.
type folders struct {
	mu    sync.RWMutex
	kept  map[git.Hash][]git.Entry
	names int
}

// maxNames bounds the names of files that are kept: some 150 bytes each.
const maxNames = 1 << 20

func newFolders() *folders { return &folders{kept: map[git.Hash][]git.Entry{}} }

func (f *folders) get(h git.Hash) ([]git.Entry, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	entries, ok := f.kept[h]
	return entries, ok
}

func (f *folders) put(h git.Hash, entries []git.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.kept[h]; ok {
		return
	}
	for old, kept := range f.kept {
		if f.names+len(entries) <= maxNames {
			break
		}
		f.names -= len(kept)
		delete(f.kept, old)
	}
	f.kept[h] = entries
	f.names += len(entries)
}
