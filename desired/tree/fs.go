package tree

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"
	"time"

	"gitgate.dev/gitgate/desired/git"
)

// FS shows a folder of the tree as a file system, for readers that know no Git: gitgate.yaml and the policies of a commit. A
// link is listed as a link and opened as what it leads to, inside the repository only. It is safe for concurrent use; the view
// notes what is asked through it. ctx ends the reading of contents.
func (v *View) FS(ctx context.Context, folder string) fs.FS {
	return &fileSystem{ctx: ctx, view: v, folder: folder}
}

type fileSystem struct {
	ctx    context.Context
	folder string

	mu   sync.Mutex
	view *View
}

var (
	_ fs.ReadFileFS = (*fileSystem)(nil)
	_ fs.ReadDirFS  = (*fileSystem)(nil)
	_ fs.StatFS     = (*fileSystem)(nil)
)

func (f *fileSystem) find(op, name string) (string, git.Entry, error) {
	if !fs.ValidPath(name) {
		return "", git.Entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	p := path.Join(f.folder, name)
	e, err := f.view.resolve(f.ctx, p)
	return p, e, err
}

func (f *fileSystem) Open(name string) (fs.File, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		entries, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openFolder{info: info, rest: entries}, nil
	}
	text, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &openFile{info: info, Reader: bytes.NewReader(text)}, nil
}

// Stat tells every size as 0: Git's listing does not always name it, and contents are bounded by MaxFile.
func (f *fileSystem) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, e, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return fileInfo{name: path.Base(name), mode: modeOf(e.Mode)}, nil
}

func (f *fileSystem) ReadFile(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, _, err := f.find("read", name)
	if err != nil {
		return nil, err
	}
	text, err := f.view.ReadFile(f.ctx, p)
	return bytes.Clone(text), err
}

func (f *fileSystem) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, e, err := f.find("list", name)
	if err != nil {
		return nil, err
	}
	if e.Mode != git.Folder {
		return nil, &fs.PathError{Op: "list", Path: name, Err: errors.New("is no folder")}
	}
	f.view.list(e)
	children, err := f.view.tree.folder(f.ctx, e.Hash)
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, 0, len(children))
	for _, child := range children {
		if f.view.hidden(child, path.Join(e.Path, child.Path)) {
			continue
		}
		out = append(out, fs.FileInfoToDirEntry(fileInfo{name: child.Path, mode: modeOf(child.Mode)}))
	}
	return out, nil
}

func modeOf(m git.Mode) fs.FileMode {
	switch m {
	case git.Folder, git.Submodule:
		return fs.ModeDir | 0o555
	case git.Symlink:
		return fs.ModeSymlink | 0o777
	default:
		return 0o444
	}
}

type fileInfo struct {
	name string
	mode fs.FileMode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return 0 }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

type openFile struct {
	info fs.FileInfo
	*bytes.Reader
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }

type openFolder struct {
	info fs.FileInfo
	rest []fs.DirEntry
}

func (o *openFolder) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFolder) Close() error               { return nil }
func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.info.Name(), Err: errors.New("is a folder")}
}

func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := o.rest
		o.rest = nil
		return out, nil
	}
	if len(o.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.rest))
	out := o.rest[:n]
	o.rest = o.rest[n:]
	return out, nil
}
