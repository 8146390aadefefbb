package tree

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/git"
)

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
