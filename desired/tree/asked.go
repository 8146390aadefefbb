package tree

import (
	"context"
	"maps"

	"gitgate.dev/gitgate/desired/git"
)

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
