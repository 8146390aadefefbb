package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"path"
	"path/filepath"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies/bundle"
)

func newFingerprint() hash.Hash { return sha256.New() }

// repository is a configuration in Git, read at the accepted commit of a branch.
type repository struct {
	mirror *git.Mirror
	file   string // slash-separated, from the root
	tree   *tree.Tree
}

// mirrorFolder is where the copy of a branch is kept: one for each address and branch.
func mirrorFolder(state, url, branch string) string {
	sum := sha256.Sum256([]byte(url + "\x00" + branch))
	return filepath.Join(state, "mirrors", fmt.Sprintf("%x", sum[:12]))
}

func openRepository(ctx context.Context, f *serveFlags) (*repository, error) {
	file := f.file
	if file == "" {
		file = bundle.FileName
	}
	if path.IsAbs(file) || !filepath.IsLocal(filepath.FromSlash(file)) {
		return nil, fmt.Errorf("--config %s: leads out of the repository", f.file)
	}
	m, err := git.OpenMirror(ctx, mirrorFolder(f.state, f.repository, f.branch), f.repository, f.branch)
	if err != nil {
		return nil, fmt.Errorf("--repository: %w", err)
	}
	return &repository{mirror: m, file: path.Clean(file)}, nil
}

func (r *repository) refresh(ctx context.Context) error {
	tip, err := r.mirror.Fetch(ctx)
	if err == nil && tip.Rewritten {
		return fmt.Errorf("the branch was rewritten: %s does not descend from the accepted commit %s", tip.Commit.Short(), tip.Before.Short())
	}
	return err
}

func (r *repository) open(ctx context.Context) (snapshot, error) {
	commit, err := r.mirror.Accepted(ctx)
	if err != nil {
		return snapshot{}, &outageError{err}
	}
	if commit == "" {
		return snapshot{}, &outageError{errors.New("repository was never fetched")}
	}
	if r.tree == nil {
		r.tree, err = tree.Load(ctx, r.mirror.Repo, commit)
	} else {
		var next *tree.Tree
		if next, err = r.tree.At(ctx, commit); err == nil {
			r.tree = next
		}
	}
	if err != nil {
		return snapshot{}, &outageError{err}
	}
	fsys := r.tree.View().FS(ctx, path.Dir(r.file))
	return snapshot{version: string(commit), commit: string(commit), fsys: fsys, file: path.Base(r.file), close: func() {}}, nil
}

func (r *repository) close() { _ = r.mirror.Close() }
