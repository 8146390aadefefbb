package desired

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// State is what the sources declare at one commit each. It is immutable and safe for concurrent use.
type State struct {
	renderer *Renderer
	trees    map[string]*tree.Tree
	units    []*Unit
	byID     map[unitID]*Unit
	byKey    *table[holding]
	twice    map[policies.Key]bool // keys with more than one holder
	results  map[unitID]*made
	reached  []*made              // in the order in which they were
	replaced []*made              // roots that a unit that they declare applies
	problems []policies.Violation // of no unit
	unsaved  error

	definitions map[policies.GroupKind]*entry // CustomResourceDefinitions by the kind that they define
	set         *policies.Set                 // of the definitions
	foreign     map[policies.GroupKind]bool   // those that only a foreign unit declares
}

// holding is an entry of a unit that was rendered, in whichever state that was.
type holding struct {
	made  *made
	entry *entry
}

// owners is who declares an object in s, sorted by unit.
func (s *State) owners(key policies.Key) []owned {
	held := s.byKey.get(key)
	if len(held) == 0 {
		return nil
	}
	out := make([]owned, len(held))
	for i, h := range held {
		out[i] = owned{s.byID[h.made.unit.id()], h.entry}
	}
	return out
}

// owned is an entry of a unit.
type owned struct {
	unit  *Unit
	entry *entry
}

// Commit is the commit at which a source was read.
func (s *State) Commit(source string) git.Hash { return s.trees[source].Commit }

// Tree is the files of a source.
func (s *State) Tree(source string) *tree.Tree { return s.trees[source] }

// Units lists the units, sorted by kind, namespace and name; the roots of the sources come first.
func (s *State) Units() []*Unit { return s.units }

// Find returns what declares an object; more than one only when units are at odds, which Problems tells.
func (s *State) Find(key policies.Key) []*Declared {
	owners := s.owners(key)
	out := make([]*Declared, 0, len(owners))
	for _, o := range owners {
		out = append(out, s.declared(o.unit, o.entry))
	}
	return out
}

// Keys lists the objects that are declared, in no particular order.
func (s *State) Keys() iter.Seq[policies.Key] { return s.byKey.keys() }

// Problems lists everything that is wrong with the sources and their units, sorted by place.
func (s *State) Problems() []policies.Violation {
	all := slices.Clone(s.problems)
	for _, u := range s.units {
		all = append(all, u.Problems...)
	}
	slices.SortStableFunc(all, func(a, b policies.Violation) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		return a.Pos.Line - b.Pos.Line
	})
	return all
}

// Set returns the declared objects of the given kinds, and all CustomResourceDefinitions, for policies that refer to others.
// "*" stands for all groups or kinds. Units that are suspended or applied to another cluster are left out.
func (s *State) Set(kinds []policies.GroupKind) *policies.Set {
	want := func(gk policies.GroupKind) bool {
		return gk == kindDefinition || slices.ContainsFunc(kinds, func(k policies.GroupKind) bool {
			return (k.Group == "*" || k.Group == gk.Group) && (k.Kind == "*" || k.Kind == gk.Kind)
		})
	}
	var objects []*policies.Object
	for _, u := range s.units {
		if u.Suspended || u.Elsewhere != "" || !u.result.has(want) {
			continue
		}
		for _, e := range u.result.all() {
			if want(e.key.GroupKind) {
				objects = append(objects, s.object(u, e))
			}
		}
	}
	return policies.NewSet(objects...)
}

func (s *State) declared(u *Unit, e *entry) *Declared {
	key, _ := s.keys(e)
	return &Declared{Key: key, Object: s.object(u, e), Unit: u, Hook: e.hook, Opaque: e.opaque, entry: e}
}

// Summary counts what a state has, for people.
func (s *State) Summary() string {
	opaque := 0
	for _, u := range s.units {
		opaque += len(u.Opaque)
	}
	return fmt.Sprintf("%d objects in %d units, %d opaque", s.byKey.length, len(s.units), opaque)
}

// At renders what the sources declare at the given commits, by source. from is a state of the same renderer that has much in
// common with it, nil for none: what it rendered from the same inputs is taken over. The error means that nothing could be told
// (a repository that cannot be read, the end of ctx): what is wrong with the content of commits is in the state's problems.
func (r *Renderer) At(ctx context.Context, commits map[string]git.Hash, from *State) (*State, error) {
	if from == nil && r.o.Cache != nil {
		from = r.o.Cache.load(ctx, r, commits)
	}
	b := &build{renderer: r, ctx: ctx, from: from, trees: map[string]*tree.Tree{}, results: map[unitID]*made{}, changed: map[string][]string{}}
	for _, s := range r.o.Sources {
		h, ok := commits[s.Name]
		if !ok {
			return nil, fmt.Errorf("source %s: no commit", s.Name)
		}
		var err error
		if b.trees[s.Name], err = r.tree(ctx, s, h, from, b.trees); err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		if from != nil {
			if b.changed[s.Name], err = b.trees[s.Name].Changed(ctx, from.trees[s.Name]); err != nil {
				return nil, fmt.Errorf("source %s: %w", s.Name, err)
			}
		}
	}
	s, err := b.state()
	if err != nil {
		return nil, err
	}
	if r.o.Cache != nil && b.worth() {
		// A cache that cannot be written makes the next run slow, and this one no less right.
		s.unsaved = r.o.Cache.save(s, commits)
	}
	return s, nil
}

// Unsaved is why the state could not be kept in the cache; nil when it could, or did not have to be.
func (s *State) Unsaved() error { return s.unsaved }

// worth says whether enough was rendered for a state to be kept: writing it costs a little for every object.
func (b *build) worth() bool {
	all, anew := 0, 0
	for _, m := range b.reached {
		all += m.size()
		if b.from == nil || b.from.results[m.unit.id()] == nil || b.from.results[m.unit.id()].result != m.result {
			anew += m.size() + 1
		}
	}
	return anew > all/200
}

// tree lists the files of a commit, starting from those of a commit that is at hand.
func (r *Renderer) tree(ctx context.Context, s Source, h git.Hash, from *State, others map[string]*tree.Tree) (*tree.Tree, error) {
	for name, t := range others {
		if t.Commit == h && r.sources[name].Repo == s.Repo {
			return t, nil
		}
	}
	if from != nil {
		return from.trees[s.Name].At(ctx, h)
	}
	return tree.Load(ctx, s.Repo, h)
}
