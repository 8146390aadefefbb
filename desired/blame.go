package desired

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
)

// Blame says who last changed a line.
type Blame struct {
	Commit policies.Commit // Signer is "": whose signature counts is for the source's rules to say
	File   string          // in that commit: files are followed through renames
	Line   int             // 1-based, in that commit
}

// Blamer finds the commits that last changed lines. It remembers what it asked. Safe for concurrent use.
type Blamer struct {
	renderer *Renderer

	mu      sync.Mutex
	files   map[blamedFile][]git.BlamedLine
	commits map[git.Hash]policies.Commit
	last    *Declared
	finds   *locator // of last; nil when it is not known where it is written
}

type blamedFile struct {
	source string
	commit git.Hash
	file   string
}

// maxBlamed bounds the files and the commits that are remembered.
const maxBlamed = 1000

// Blamer makes a blamer of the renderer's sources.
func (r *Renderer) Blamer() *Blamer {
	return &Blamer{renderer: r, files: map[blamedFile][]git.BlamedLine{}, commits: map[git.Hash]policies.Commit{}}
}

// Blamer makes a blamer of the index's sources.
func (x *Index) Blamer() *Blamer { return x.renderer.Blamer() }

// Field finds the commit that last changed the line on which a field of a declared object is written, or its deepest ancestor
// that is. at is that place, and source whose file it is: another source's than the unit's where the object that declares the unit,
// or its values, lie in another repository.
func (b *Blamer) Field(ctx context.Context, d *Declared, field policies.Path) (blame Blame, at policies.Position, source string, err error) {
	u := d.Unit
	l := b.locator(d)
	if l == nil {
		return Blame{}, policies.Position{}, u.Source, fmt.Errorf("blame of %s: where it is written is not known", d.Object)
	}
	s := l.find(ctx, field, policies.AtValue)
	if s.steps == 0 && len(field) > 0 {
		s = l.find(ctx, policies.Path{"kind"}, policies.AtValue) // as policies.Object.Locate
	}
	if s.source == "" {
		s.source = u.state.sourceAt(u.Source, s.commit)
	}
	s.File = b.renderer.labelled(s.source, s.File)
	blame, err = b.Line(ctx, s.source, s.commit, s.Position)
	return blame, s.Position, s.source, err
}

// locator finds the fields of a declared object. Fields are mostly asked for one object after the other.
func (b *Blamer) locator(d *Declared) *locator {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last != d {
		b.last = d
		b.finds, _ = d.Unit.state.locator(d.Unit, d.entry, d.Object.Map()).(*locator)
	}
	return b.finds
}

// sourceAt is the source that is read at a commit; fallback when none is.
func (s *State) sourceAt(fallback string, commit git.Hash) string {
	for _, name := range slices.Sorted(maps.Keys(s.trees)) {
		if s.trees[name].Commit == commit {
			return name
		}
	}
	return fallback
}

// Line finds the commit that last changed the line at a place of a commit.
func (b *Blamer) Line(ctx context.Context, source string, commit git.Hash, pos policies.Position) (Blame, error) {
	s := b.renderer.sources[source]
	switch {
	case s == nil:
		return Blame{}, fmt.Errorf("source %s: not known", source)
	case pos.Line == 0 || pos.File == "" || commit == "":
		return Blame{}, fmt.Errorf("blame of %s: which line it is about is not known", orElse(pos.File, "an object"))
	}
	lines, err := b.file(ctx, s, blamedFile{source, commit, strings.TrimPrefix(pos.File, s.Label)})
	if err != nil {
		return Blame{}, err
	}
	if pos.Line > len(lines) {
		return Blame{}, fmt.Errorf("blame of %s: line %d is beyond its end", pos.File, pos.Line)
	}
	line := lines[pos.Line-1]
	c, err := b.commit(ctx, s, line.Commit)
	if err != nil {
		return Blame{}, err
	}
	return Blame{Commit: c, File: line.Path, Line: line.Line}, nil
}

func (b *Blamer) file(ctx context.Context, s *Source, f blamedFile) ([]git.BlamedLine, error) {
	b.mu.Lock()
	lines, ok := b.files[f]
	b.mu.Unlock()
	if ok {
		return lines, nil
	}
	lines, err := s.Repo.Blame(ctx, f.commit, f.file)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.files) >= maxBlamed {
		clear(b.files)
	}
	b.files[f] = lines
	return lines, nil
}

func (b *Blamer) commit(ctx context.Context, s *Source, h git.Hash) (policies.Commit, error) {
	b.mu.Lock()
	c, ok := b.commits[h]
	b.mu.Unlock()
	if ok {
		return c, nil
	}
	found, err := s.Repo.Commit(ctx, h)
	if err != nil {
		return policies.Commit{}, err
	}
	c = told(accepted{commit: found})
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.commits) >= maxBlamed {
		clear(b.commits)
	}
	b.commits[h] = c
	return c, nil
}
