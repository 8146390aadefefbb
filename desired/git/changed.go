package git

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Changed lists the files that a commit itself changes. A merge changes what it has like none of its parents, and also what it takes from
// one parent although another one has changed it since they parted: by that, a merge takes a change of others back. What a merge
// without conflicts comes to by itself is no change.
func (r *Repo) Changed(ctx context.Context, commit Hash) ([]string, error) {
	raw, err := r.RawCommit(ctx, commit)
	if err != nil {
		return nil, err
	}
	parents, ok := parentsOf(raw)
	if !ok {
		return nil, fmt.Errorf("changes of commit %s: its header has fields twice or out of order, which readers of commits take differently", commit.Short())
	}
	var paths []string
	if len(parents) < 2 {
		paths, err = r.changedFiles(ctx, "--root", "--no-commit-id", string(commit))
	} else {
		paths, err = r.mergeChanged(ctx, commit, parents)
	}
	if err != nil {
		return nil, fmt.Errorf("changes of commit %s: %w", commit.Short(), err)
	}
	return paths, nil
}

// parentsOf reads the parents of a raw commit: tree, parents, author, committer, then what else there is. ok is false for a header in
// another order or with one of these twice: git takes the first of them and other programs the last, and who signs such a
// commit could show each another tree or other parents.
func parentsOf(raw []byte) (parents []Hash, ok bool) {
	order := []string{"tree", "parent", "author", "committer"}
	at := 0 // in order: the field that may come next
	for line := range strings.Lines(string(raw)) {
		if line == "\n" {
			break
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if at == 1 && key == "author" {
			at = 2
		}
		switch {
		case at < len(order) && key == order[at]:
			if key == "parent" {
				parents = append(parents, Hash(value))
				continue
			}
			at++
		case at < len(order) || slices.Contains(order, key):
			return nil, false
		}
	}
	return parents, at == len(order)
}

// changedFiles lists the files, not the folders, that differ.
func (r *Repo) changedFiles(ctx context.Context, args ...string) ([]string, error) {
	out, err := r.run(ctx, append([]string{"diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--name-only"}, args...)...)
	if err != nil {
		return nil, err
	}
	var paths []string
	for p := range strings.SplitSeq(string(out), "\x00") {
		if p != "" {
			paths = append(paths, p)
		}
	}
	return paths, nil
}

type files map[string]bool

func (r *Repo) differing(ctx context.Context, a, b Hash) (files, error) {
	paths, err := r.changedFiles(ctx, string(a), string(b))
	out := make(files, len(paths))
	for _, p := range paths {
		out[p] = true
	}
	return out, err
}

func (r *Repo) mergeChanged(ctx context.Context, commit Hash, parents []Hash) ([]string, error) {
	var err error
	from := make([]files, len(parents)) // what the merge has not as that parent has it
	all := files{}
	for i, p := range parents {
		if from[i], err = r.differing(ctx, p, commit); err != nil {
			return nil, err
		}
		for f := range from[i] {
			all[f] = true
		}
	}
	// since is what parent j has changed since it parted from parent i; nil when they have nothing in common.
	since := map[[2]int]files{}
	for i := range parents {
		for j := range parents {
			if i == j || len(from[j]) == 0 {
				continue
			}
			if since[[2]int{i, j}], err = r.since(ctx, parents[i], parents[j]); err != nil {
				return nil, err
			}
		}
	}
	var changed []string
	for f := range all {
		for j := range parents {
			if !from[j][f] {
				continue
			}
			// Some parent has it as the merge has it, and this one left it as it was.
			merged := slices.ContainsFunc(indices(parents), func(i int) bool {
				before := since[[2]int{i, j}]
				return i != j && !from[i][f] && before != nil && !before[f]
			})
			if !merged {
				changed = append(changed, f)
				break
			}
		}
	}
	slices.Sort(changed)
	return changed, nil
}

func indices(parents []Hash) []int {
	out := make([]int, len(parents))
	for i := range out {
		out[i] = i
	}
	return out
}

// since lists the files that b has otherwise than some best common ancestor of a and b; nil when there is none.
func (r *Repo) since(ctx context.Context, a, b Hash) (files, error) {
	out, err := r.run(ctx, "merge-base", "--all", string(a), string(b))
	if exitCode(err) == 1 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := files{}
	for base := range strings.FieldsSeq(string(out)) {
		differing, err := r.differing(ctx, Hash(base), b)
		if err != nil {
			return nil, err
		}
		for f := range differing {
			all[f] = true
		}
	}
	return all, nil
}
