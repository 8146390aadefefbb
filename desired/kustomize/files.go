package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"gitgate.dev/gitgate/desired/tree"
)

// files shows a revision to kustomize as a file system whose root is the repository's. It is read-only. over are files that are
// shown instead of those of the revision, by absolute path.
type files struct {
	ctx  context.Context
	view *tree.View
	over map[string][]byte
}

var _ filesys.FileSystem = (*files)(nil)

var errReadOnly = errors.New("a revision is read-only")

func (f *files) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (f *files) Mkdir(string) error                  { return errReadOnly }
func (f *files) MkdirAll(string) error               { return errReadOnly }
func (f *files) RemoveAll(string) error              { return errReadOnly }
func (f *files) WriteFile(string, []byte) error      { return errReadOnly }
func (f *files) Open(string) (filesys.File, error) {
	return nil, errors.New("a revision is read by ReadFile")
}

func relative(p string) string { return strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(p)), "/") }

func (f *files) IsDir(p string) bool { return f.view.IsDir(f.ctx, relative(p)) }

func (f *files) Exists(p string) bool {
	if _, ok := f.over["/"+relative(p)]; ok {
		return true
	}
	return f.view.Exists(f.ctx, relative(p))
}

func (f *files) ReadFile(p string) ([]byte, error) {
	if text, ok := f.over["/"+relative(p)]; ok {
		return text, nil
	}
	return f.view.ReadFile(f.ctx, relative(p))
}

func (f *files) ReadDir(p string) ([]string, error) {
	entries, err := f.view.ReadDir(f.ctx, relative(p))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
	}
	return names, nil
}

func (f *files) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	rel := relative(p)
	if _, ok := f.over["/"+rel]; ok {
		return filesys.ConfirmedDir("/" + strings.TrimPrefix(path.Dir("/"+rel), "/")), path.Base(rel), nil
	}
	real, err := f.view.Real(f.ctx, rel)
	if err != nil {
		return "", "", err
	}
	if f.view.IsDir(f.ctx, real) {
		return filesys.ConfirmedDir("/" + real), "", nil
	}
	return filesys.ConfirmedDir(path.Dir("/" + real)), path.Base(real), nil
}

func (f *files) Glob(pattern string) ([]string, error) {
	folder := path.Dir(path.Clean("/" + pattern))
	if strings.ContainsAny(folder, `*?[\`) {
		return nil, fmt.Errorf("pattern %s: wildcards are read in the last part of a path only", pattern)
	}
	entries, err := f.view.ReadDir(f.ctx, relative(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if ok, err := path.Match(path.Base(pattern), e.Name); err != nil {
			return nil, err
		} else if ok {
			out = append(out, path.Join(folder, e.Name))
		}
	}
	return out, nil
}

func (f *files) Walk(p string, visit filepath.WalkFunc) error {
	return visit(p, nil, &os.PathError{Op: "walk", Path: p, Err: errors.ErrUnsupported})
}
