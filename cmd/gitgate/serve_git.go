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
	gate   *gate
	mirror *git.Mirror
	file   string   // slash-separated, from the root
	anchor git.Hash // from which the first configuration is read; "" for the tip
	tree   *tree.Tree
}

// mirrorFolder is where the copy of a branch is kept: one for each address and branch.
func mirrorFolder(state, url, branch string) string {
	sum := sha256.Sum256([]byte(url + "\x00" + branch))
	return filepath.Join(state, "mirrors", fmt.Sprintf("%x", sum[:12]))
}

func (g *gate) openRepository(ctx context.Context) (*repository, error) {
	f := g.flags
	file := f.file
	if file == "" {
		file = bundle.FileName
	}
	if path.IsAbs(file) || !filepath.IsLocal(filepath.FromSlash(file)) {
		return nil, fmt.Errorf("--config %s: leads out of the repository", f.file)
	}
	m, err := g.mirror(ctx, f.repository, f.branch)
	if err != nil {
		return nil, fmt.Errorf("--repository: %w", err)
	}
	return &repository{gate: g, mirror: m, file: path.Clean(file), anchor: git.Hash(f.configAnchor)}, nil
}

// refresh looks at Git: at every source, of which the repository of the configuration is mostly one.
func (r *repository) refresh(ctx context.Context) error {
	d := r.gate.declared.Load()
	if d != nil {
		if err := d.refresh(ctx); err != nil {
			return err
		}
		if _, ok := r.source(d); ok {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	tip, err := r.mirror.Fetch(ctx)
	if err == nil && tip.Rewritten {
		err = fmt.Errorf("the branch was rewritten: %s does not descend from the accepted commit %s", tip.Commit.Short(), tip.Before.Short())
	}
	if err != nil {
		r.gate.metrics.fetchFailed()
		return err
	}
	r.gate.metrics.fetched()
	return nil
}

// source is the source of an index that is the repository of the configuration.
func (r *repository) source(d *declared) (string, bool) {
	for _, s := range d.sources {
		if s.mirror == r.mirror {
			return s.name, true
		}
	}
	return "", false
}

// commit is the one to read: what the index accepts of the repository; before there is an index, the newest one that was accepted
// here, or that a person vouches for. So a commit that nobody trusts cannot change who is trusted.
func (r *repository) commit(ctx context.Context) (git.Hash, error) {
	if d := r.gate.declared.Load(); d != nil {
		if name, ok := r.source(d); ok {
			tip, _ := d.Tip(name)
			return git.Hash(tip.Hash), nil
		}
	}
	key := followed{name: configSource, url: r.gate.flags.repository, branch: r.gate.flags.branch}
	if r.gate.current.Load() == nil {
		known, err := recalled(r.gate.flags.state, key.name, key.url, key.branch)
		if known != "" || err != nil {
			return known, err
		}
		if r.anchor != "" {
			return r.anchor, nil
		}
	}
	commit, err := r.mirror.Accepted(ctx)
	if err != nil || commit == "" || r.gate.current.Load() != nil {
		return commit, err
	}
	if floor := r.gate.floors[acceptedFile(key.name, key.url, key.branch)]; floor != "" && !follows(ctx, r.mirror, floor, commit) {
		return "", rewritten(commit, git.Hash(floor))
	}
	return commit, nil
}

// follows says whether a commit descends from another one. One that the history does not hold is no ancestor.
func follows(ctx context.Context, m *git.Mirror, from string, commit git.Hash) bool {
	descends, err := m.IsAncestor(ctx, git.Hash(from), commit)
	return err == nil && descends
}

// rewritten is the error of a branch that does not go on from what was accepted.
func rewritten(tip, accepted git.Hash) error {
	return fmt.Errorf("the branch was rewritten: %s does not descend from the accepted commit %s; a person has to accept it", tip.Short(), accepted.Short())
}

// configSource stands for the repository of the configuration where names of sources do: it is no name of one.
const configSource = "/"

func (r *repository) open(ctx context.Context) (snapshot, error) {
	commit, err := r.commit(ctx)
	if err != nil {
		return snapshot{}, &outageError{err}
	}
	if commit == "" {
		return snapshot{}, &outageError{errors.New("repository was never fetched")}
	}
	return r.at(ctx, commit)
}

// earlierCommits is how far back a configuration that compiles is looked for.
const earlierCommits = 50

// earlier lists the accepted commits before the newest, newest first.
func (r *repository) earlier(ctx context.Context) ([]git.Hash, error) {
	commit, err := r.commit(ctx)
	if err != nil {
		return nil, err
	}
	all, err := r.mirror.FirstParents(ctx, commit, "", earlierCommits+1)
	if err != nil {
		return nil, err
	}
	var out []git.Hash
	for _, c := range all[min(1, len(all)):] {
		out = append(out, c.Hash)
	}
	return out, nil
}

// at is the configuration of a commit.
func (r *repository) at(ctx context.Context, commit git.Hash) (snapshot, error) {
	var err error
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
